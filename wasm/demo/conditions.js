// Filters between the rows of the builder and their JSON. Pure; what a filter means is the engine's.

/** Operators of the builder, with their words. */
export const OPERATORS = {
  eq: 'is', ne: 'is not', lt: 'is less than', lte: 'is at most', gt: 'is more than', gte: 'is at least',
  in: 'is one of', contains: 'contains', exists: 'is there',
};

/** @typedef {{field: string, operator: string, value: string}} Condition a row of the builder, as typed */

/** The value that a typed text stands for: a number, true or false, else the text; quotes keep it a text. */
export function valueOf(text) {
  const trimmed = text.trim();
  if (/^".*"$/.test(trimmed)) return trimmed.slice(1, -1);
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  if (trimmed !== '' && Number.isFinite(Number(trimmed))) return Number(trimmed);
  return trimmed;
}

/** The text that `valueOf` takes for a value. */
function textOf(value) {
  return typeof value === 'string' && valueOf(value) !== value ? `"${value}"` : String(value);
}

function condition({ field, operator, value }) {
  if (operator === 'exists') return { [field]: { exists: valueOf(value) !== false } };
  if (operator === 'in') return { [field]: { in: value.split(',').map(valueOf).filter((item) => item !== '') } };
  return { [field]: { [operator]: valueOf(value) } };
}

/**
 * The filter of the rows that name a field; nothing if none does.
 * @param {Condition[]} rows
 * @param {'and' | 'or'} joiner
 */
export function toFilter(rows, joiner) {
  const filters = rows.filter(({ field }) => field.trim() !== '').map(condition);
  if (filters.length === 0) return undefined;
  return filters.length === 1 ? filters[0] : { [joiner]: filters };
}

/**
 * The rows that make this filter.
 * @returns {{rows: Condition[], joiner: 'and' | 'or'} | undefined} nothing if it is beyond the builder
 */
export function fromFilter(filter) {
  if (filter === undefined) return { rows: [], joiner: 'and' };
  const joiner = ['and', 'or'].find((name) => Array.isArray(filter?.[name]) && Object.keys(filter).length === 1);
  const rows = (joiner ? filter[joiner] : [filter]).map(row);
  return rows.includes(undefined) ? undefined : { rows, joiner: joiner ?? 'and' };
}

function row(filter) {
  const single = (object) => {
    const isObject = typeof object === 'object' && object !== null && !Array.isArray(object);
    return isObject && Object.keys(object).length === 1 ? Object.entries(object)[0] : [];
  };
  const [field, test] = single(filter);
  const [operator, value] = single(test);
  if (field === undefined || !(operator in OPERATORS)) return undefined;
  const isList = Array.isArray(value);
  if (isList !== (operator === 'in') || (!isList && typeof value === 'object')) return undefined;
  return { field, operator, value: isList ? value.map(textOf).join(', ') : textOf(value) };
}

/** The filter that the user typed; an empty text is none. @throws SyntaxError with the position in words */
export function readFilter(text) {
  return text.trim() === '' ? undefined : JSON.parse(text);
}
