// Makes hits (`hitsOf`) and rows (`rowsOf`), as users see them, of the arrays that the engine returns. Called
// by `Collection`.

/** Strings and numbers, whole: digits behind a point are no integer. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Before the digits of a BigInt on its way through JSON.parse; no text can know it. */
const BIG = crypto.getRandomValues(new Uint32Array(4)).join('-') + ' ';

/** The metadata of a text; integers beyond 2^53 become BigInts. */
export function parseMetadata(text) {
  if (text === undefined) return undefined;
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const keep = (token) => {
    const rounded = /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token));
    return rounded ? `"${BIG}${token}"` : token;
  };
  const revive = (_key, value) =>
    typeof value === 'string' && value.startsWith(BIG) ? BigInt(value.slice(BIG.length)) : value;
  return JSON.parse(text.replace(TOKENS, keep), revive);
}

/** Element `index` of a result of the engine, without its score. */
function row(found, index, dim) {
  const { ids, metadata, vectors } = found;
  const one = { id: ids[index] };
  if (metadata) one.metadata = parseMetadata(metadata[index]);
  if (vectors) one.vector = vectors.slice(index * dim, (index + 1) * dim);
  return one;
}

/** Rows in order. */
export function rowsOf(found, dim) {
  return found.ids.map((_id, index) => row(found, index, dim));
}

/**
 * One array of hits for each query.
 * @param {{coverage: number, approx: boolean, stats: object}} facts what is the same for all of them
 */
export function hitsOf(found, { dim, scoreKind }, facts) {
  let index = 0;
  return Array.from(found.counts, (count) => {
    const hits = [];
    for (const end = index + count; index < end; index += 1) {
      const { id, ...parts } = row(found, index, dim);
      hits.push({ id, score: found.scores[index], scoreKind, ...parts });
    }
    return Object.assign(hits, facts);
  });
}
