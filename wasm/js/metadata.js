// `metadataTexts`: metadata of new points, columns or rows of values, to one JSON text for each point. Called
// by `LocalCollection`. What JSON would change silently (NaN, undefined, dates) is refused by row and field;
// the engine checks the rest.

import { describe } from './asked.js';
import { NearfieldError, refusal } from './errors.js';

/** Values inside each other; the engine allows no more. */
const DEPTH_MAX = 64;

/**
 * One text for each point, or `undefined` for one without metadata.
 * @param {undefined | Array<object | null | undefined> | Record<string, ArrayLike<unknown>>} metadata rows, or columns
 * @param {number} count
 * @returns {Array<string | undefined> | undefined}
 */
export function metadataTexts(metadata, count) {
  if (metadata === undefined || metadata === null) return undefined;
  if (Array.isArray(metadata)) {
    checkLength('metadata', metadata, count);
    return metadata.map((row, index) => (row === null || row === undefined ? undefined : objectText(row, index)));
  }
  if (typeof metadata !== 'object') {
    throw refusal('METADATA', 'metadata', 'an array of objects, or an object of arrays', describe(metadata));
  }
  const columns = Object.entries(metadata);
  for (const [name, column] of columns) checkLength(`metadata.${name}`, column, count);
  return Array.from({ length: count }, (_none, row) => {
    // A value that is not there is no field; null is a value.
    const fields = columns.filter(([, column]) => column[row] !== undefined);
    return objectText(Object.fromEntries(fields.map(([name, column]) => [name, column[row]])), row);
  });
}

function checkLength(what, values, count) {
  const length = Array.isArray(values) || ArrayBuffer.isView(values) ? values.length : undefined;
  if (length !== count) {
    throw refusal('METADATA', what, `an array of ${count}, one for each vector`, describe(values));
  }
}

function objectText(row, index) {
  if (typeof row !== 'object' || Array.isArray(row)) {
    throw refusal('METADATA', `metadata[${index}]`, 'an object', describe(row), index);
  }
  return valueText(row, index, `metadata[${index}]`, 0);
}

function valueText(value, row, place, depth) {
  if (depth > DEPTH_MAX) throw refusal('METADATA', place, `at most ${DEPTH_MAX} levels`, 'more', row);
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value === 'boolean' || typeof value === 'string' || Number.isFinite(value)) {
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map((item, index) => valueText(item, row, `${place}[${index}]`, depth + 1)).join(',')}]`;
  }
  const isPlain = typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value));
  if (!isPlain) {
    const expected = 'a string, finite number, BigInt, boolean, null, array or plain object';
    const message = `${place}: expected ${expected}, got ${describe(value)}`;
    throw new NearfieldError('METADATA', message, { expected, got: describe(value), position: row });
  }
  const field = ([name, item]) => `${JSON.stringify(name)}:${valueText(item, row, `${place}.${name}`, depth + 1)}`;
  return `{${Object.entries(value).map(field).join(',')}}`;
}
