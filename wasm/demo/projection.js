// Two dimensions of many: the two principal components, by power iteration. Pure; the same rows always give
// the same picture.

const ITERATIONS = 40;

/**
 * @param {Float32Array[]} rows all of one length
 * @returns {{place: (row: Float32Array) => [number, number]}} where any row lies, also one that was not among them
 */
export function project(rows) {
  const dim = rows[0].length;
  const mean = new Float64Array(dim);
  for (const row of rows) for (let d = 0; d < dim; d += 1) mean[d] += row[d] / rows.length;
  const centred = rows.map((row) => Float64Array.from(row, (value, d) => value - mean[d]));
  const first = component(centred, []);
  const second = component(centred, [first]);
  const place = (row) => [first, second].map((axis) => axis.reduce((sum, value, d) => sum + value * (row[d] - mean[d]), 0));
  return { place };
}

/** The direction in which the rows vary most, at right angles to those that are taken. */
function component(rows, taken) {
  const dim = rows[0].length;
  let axis = unit(Float64Array.from({ length: dim }, (_, d) => 1 + ((d * 37) % 17) / 17), taken);
  for (let round = 0; round < ITERATIONS; round += 1) {
    const next = new Float64Array(dim);
    for (const row of rows) {
      const along = dot(row, axis);
      for (let d = 0; d < dim; d += 1) next[d] += along * row[d];
    }
    axis = unit(next, taken);
  }
  // A sign of its own: otherwise the picture could be mirrored by rounding.
  const largest = axis.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return largest < 0 ? axis.map((value) => -value) : axis;
}

function unit(vector, taken) {
  for (const axis of taken) {
    const along = dot(vector, axis);
    vector = vector.map((value, d) => value - along * axis[d]);
  }
  const length = Math.sqrt(dot(vector, vector)) || 1;
  return vector.map((value) => value / length);
}

function dot(a, b) {
  let sum = 0;
  for (let d = 0; d < a.length; d += 1) sum += a[d] * b[d];
  return sum;
}
