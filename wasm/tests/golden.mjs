// The questions of the golden file (tests/golden/answers.json), asked of a collection; runs in Node and in the page.

const K = 7;
const EF = 12;
/** Whether the graphs of a case like `l2 f16 codes` are walked by codes. */
const hasCodes = (name) => name.endsWith(' codes');
/** Elements of the vectors of a case. */
export const dimOf = (name) => (hasCodes(name) ? 250 : 43);
/** The file of its queries. */
export const queriesOf = (name) => (hasCodes(name) ? 'queries-codes' : 'queries');
/** Those whose answers do not depend on the graphs there are. */
export const EXACT = {
  exact: { mode: 'exact' },
  'filtered exact': { mode: 'exact', where: { n: { lt: 90 } } },
};
/** All. */
export const KINDS = {
  graph: {},
  'filtered graph': { where: { n: { lt: 90 } } },
  ...EXACT,
};

/**
 * Asks the questions of some kinds.
 * @param {{searchMany: Function}} collection
 * @param {Float32Array} queries row-major
 * @param {Record<string, object>} kinds
 * @returns {Promise<Record<string, string[]>>} by `kind, query number` the hits as `id` and the bits of the score
 */
export async function askGolden(collection, queries, kinds) {
  const found = {};
  for (const [kind, options] of Object.entries(kinds)) {
    const answers = await collection.searchMany(queries, { k: K, ef: EF, ...options });
    answers.forEach((hits, query) => {
      found[`${kind}, query ${query}`] = hits.map(({ id, score }) => `${id} ${hex(score)}`);
    });
  }
  return found;
}

/** What the golden file says of a case like `l2 f16`; it has distances, of which the scores are made. */
export function goldenOf(file, name, kinds) {
  const toScore = name.startsWith('l2') ? (distance) => Math.fround(Math.sqrt(distance)) : (distance) => 0 - distance;
  const expected = {};
  for (const [question, lines] of Object.entries(file)) {
    const [of, kind, query] = question.split(', ');
    if (of !== name || kinds[kind] === undefined) continue;
    expected[`${kind}, ${query}`] = lines.map((line) => {
      const [, id, bits] = /^(.*) ([0-9a-f]{8})$/.exec(line);
      return `${id} ${hex(toScore(floatOf(bits)))}`;
    });
  }
  return expected;
}

function hex(score) {
  if (Math.fround(score) !== score) return `no float: ${score}`;
  return new Uint32Array(Float32Array.of(score).buffer)[0].toString(16).padStart(8, '0');
}

function floatOf(bits) {
  return new Float32Array(Uint32Array.of(Number.parseInt(bits, 16)).buffer)[0];
}
