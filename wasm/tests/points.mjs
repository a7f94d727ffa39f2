// Points that are a function of their number, the same in Node and in a page.

export const DIM = 64;

/** The vector of point `id`: DIM numbers between -1 and 1. */
export function vectorOf(id, dim = DIM) {
  const vector = new Float32Array(dim);
  let state = (id * 2_654_435_761 + 12_345) >>> 0;
  for (let index = 0; index < dim; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    vector[index] = state / 2 ** 31 - 1;
  }
  return vector;
}

/** Points `start` to `end`, as `upsert` takes them. */
export function rowsOf(start, end, dim = DIM) {
  const ids = Array.from({ length: end - start }, (_none, index) => start + index);
  const vectors = new Float32Array(ids.length * dim);
  ids.forEach((id, index) => vectors.set(vectorOf(id, dim), index * dim));
  return { ids, vectors, metadata: { parity: ids.map((id) => (id % 2 === 0 ? 'even' : 'odd')), n: ids } };
}
