// The question in the address of the page, behind the #, so that it can be shared. A file of this device
// cannot be: then only the question is there.

/** Most characters: longer ones do not survive being sent around. */
const LENGTH_MAX = 4000;

/**
 * @typedef {{url?: string, by?: string, id?: string, vector?: number[], k?: number, mode?: string, where?: object}} Shared
 * @returns {Shared} what an address says; what is not understood is left out
 */
export function read(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ''));
  const shared = {};
  for (const name of ['url', 'id']) if (fields.has(name)) shared[name] = fields.get(name);
  const vector = fields.get('vector')?.split(',').map(Number) ?? [];
  if (vector.length > 0 && vector.every(Number.isFinite)) shared.vector = vector;
  const k = Number(fields.get('k'));
  if (Number.isInteger(k) && k >= 1 && k <= 100) shared.k = k;
  if (['fast', 'balanced', 'exact'].includes(fields.get('mode'))) shared.mode = fields.get('mode');
  try {
    if (fields.has('where')) shared.where = JSON.parse(fields.get('where'));
  } catch {
    // Not a filter: the question without it is still one.
  }
  return shared;
}

/** The address of a question; without its vector if that is too long. @param {Shared} shared */
export function write({ url, id, vector, k, mode, where }) {
  const fields = new URLSearchParams();
  if (url !== undefined) fields.set('url', url);
  if (id !== undefined) fields.set('id', id);
  else if (vector !== undefined) fields.set('vector', Array.from(vector, (value) => String(value)).join(','));
  fields.set('k', k);
  fields.set('mode', mode);
  if (where !== undefined) fields.set('where', JSON.stringify(where));
  // Both are allowed there, and long vectors stay legible and short.
  const text = () => `#${fields.toString().replaceAll('%2C', ',').replaceAll('%3A', ':')}`;
  if (text().length > LENGTH_MAX) fields.delete('vector');
  return text();
}
