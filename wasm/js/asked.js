// Checks the arguments of calls and writes them as the one JSON text that the engine reads (`searchAsked`,
// `rowsAsked`; `checkVectors`, `checkOptions`, …). Used by `Collection`, `LocalCollection` and `Snapshot`. Filters are
// checked by the engine.

import { NearfieldError, refusal } from './errors.js';

/** Most results of one query. */
const K_MAX = 1_000_000;
/** Candidates of a graph search that `mode: 'fast'` keeps; the default of the engine is 96. */
const EF_FAST = 32;
/** Cells of a file at a URL that `mode: 'fast'` reads. */
const CELLS_FAST = 8;
const MODES = ['fast', 'balanced', 'exact'];
const PARTS = ['metadata', 'vector'];
/** Filters inside each other; the engine allows no more. */
const DEPTH_MAX = 64;

/**
 * One vector, or several in row-major order.
 * @param {Float32Array | number[]} vectors
 * @param {number} dim
 * @param {boolean} many
 * @returns {Float32Array}
 */
export function checkVectors(vectors, dim, many = false) {
  const isList = Array.isArray(vectors) || (ArrayBuffer.isView(vectors) && 'length' in vectors);
  if (!isList) throw refusal('DIMENSION', 'vector', `a Float32Array of ${dim} elements`, describe(vectors));
  const { length } = vectors;
  if (many ? length % dim !== 0 : length !== dim) {
    const expected = many ? `rows of ${dim} elements` : `${dim} elements`;
    throw refusal('DIMENSION', 'vector', expected, length);
  }
  const elements = vectors instanceof Float32Array ? vectors : toFloats(vectors);
  for (let index = 0; index < length; index += 1) {
    if (!Number.isFinite(elements[index])) {
      throw refusal('NON_FINITE', `vector[${index}]`, 'a finite 32-bit float', describe(vectors[index]), index);
    }
  }
  return elements;
}

function toFloats(numbers) {
  const strange = Array.prototype.findIndex.call(numbers, (value) => typeof value !== 'number');
  if (strange >= 0) {
    throw refusal('NON_FINITE', `vector[${strange}]`, 'a number', describe(numbers[strange]), strange);
  }
  return Float32Array.from(numbers);
}

/** Refuses options that a call does not have: a name that is misspelt would change nothing without a word. */
export function checkOptions(options, names) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw refusal('PARAMETER', 'options', 'an object', describe(options));
  }
  const strange = Object.keys(options).find((name) => !names.includes(name));
  if (strange !== undefined) throw refusal('PARAMETER', 'option', `one of ${names.join(', ')}`, strange);
}

/** An integer from `min` to `max`. */
export function checkCount(name, value, min = 1, max = K_MAX) {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw refusal('PARAMETER', name, `an integer from ${min} to ${max}`, describe(value));
  }
  return value;
}

/** The ids of a call: an array, each a number, BigInt or string; the engine reads them. */
export function checkIds(ids) {
  if (!Array.isArray(ids) && !ArrayBuffer.isView(ids)) {
    throw refusal('ID', 'ids', 'an array of numbers, BigInts or strings', describe(ids));
  }
  return Array.from(ids);
}

/** The JSON of `search`, `searchMany`, `recall` and `explain`. */
export function searchAsked(options = {}) {
  const { field, k = 10, where, mode = 'balanced', ef, nprobe, rerank, include = [] } = options;
  checkCount('k', k);
  if (nprobe !== undefined) checkCount('nprobe', nprobe);
  if (rerank !== undefined) checkCount('rerank', rerank, 0);
  if (ef !== undefined) checkCount('ef', ef);
  if (!MODES.includes(mode)) throw refusal('PARAMETER', 'mode', `one of ${MODES.join(', ')}`, describe(mode));
  const strange = Array.isArray(include) ? include.find((part) => !PARTS.includes(part)) : include;
  if (strange !== undefined) {
    throw refusal('PARAMETER', 'include', `an array of ${PARTS.join(', ')}`, describe(strange));
  }
  const exact = mode === 'exact';
  return write({
    field,
    k,
    ef: ef ?? (mode === 'fast' ? Math.max(k, EF_FAST) : undefined),
    exact,
    cells: nprobe ?? (mode === 'fast' ? CELLS_FAST : undefined),
    rerank,
    filter: where,
    metadata: include.includes('metadata'),
    vectors: include.includes('vector'),
    sample: options.sample === undefined ? undefined : checkCount('sample', options.sample),
    seed: options.seed === undefined ? undefined : checkCount('seed', options.seed, 0, Number.MAX_SAFE_INTEGER),
  });
}

/** The JSON of `get`, `scan` and `count`. */
export function rowsAsked({ field, where, vectors = false, metadata = true } = {}) {
  return write({ field, filter: where, vectors: Boolean(vectors), metadata: Boolean(metadata) });
}

function write(fields) {
  const parts = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    parts.push(`"${name}":${name === 'filter' ? filterText(value, '', 1) : JSON.stringify(value)}`);
  }
  return `{${parts.join(',')}}`;
}

/** A filter as JSON. Unlike JSON.stringify it takes BigInts and refuses what would silently become null. */
function filterText(value, position, depth) {
  if (depth > 2 * DEPTH_MAX) throw filterRefusal(position, `at most ${DEPTH_MAX} filters inside each other`, 'more');
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value === 'boolean' || typeof value === 'string' || Number.isFinite(value)) {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map((item, index) => filterText(item, `${position}[${index}]`, depth + 1)).join(',')}]`;
  }
  const isPlain = typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value));
  if (!isPlain) throw filterRefusal(position, 'a string, finite number, BigInt, boolean, null, array or plain object', describe(value));
  const entry = ([key, item]) =>
    `${JSON.stringify(key)}:${filterText(item, position ? `${position}.${key}` : key, depth + 1)}`;
  return `{${Object.entries(value).map(entry).join(',')}}`;
}

function filterRefusal(position, expected, got) {
  const place = position ? `filter at ${position}` : 'filter';
  return new NearfieldError('FILTER', `${place}: expected ${expected}, got ${got}`, { expected, got, position });
}

/** A value in words, short. */
export function describe(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'object' && value !== null) {
    return Array.isArray(value) ? `an array of ${value.length}` : `a ${value.constructor?.name ?? 'object'}`;
  }
  return typeof value === 'function' ? 'a function' : String(value);
}
