// `atUrl`: a file that is given as a URL; checks the options of `open` and says how a session opens it.
// Called by `open` of the package. The session fetches.

import { describe } from './asked.js';
import { refusal } from './errors.js';

const STORAGES = ['auto', 'opfs', 'memory'];
const PREFETCHES = ['codes', 'rows', 'all', 'none'];

function oneOf(name, value, allowed) {
  if (allowed.includes(value)) return value;
  throw refusal('PARAMETER', name, `one of ${allowed.join(', ')}`, describe(value));
}

/** What is posted to the session; functions only where it is in this realm. */
function checked(options) {
  const { storage = 'auto', prefetch = 'codes', maxBytes = Infinity, headers, credentials, fetch, wasmUrl } = options;
  for (const [name, bytes] of Object.entries({ maxBytes, cacheBytes: options.cacheBytes ?? 0 }))
    if (typeof bytes !== 'number' || !(bytes >= 0)) throw refusal('PARAMETER', name, 'a number of bytes', describe(bytes));
  if (fetch !== undefined && typeof fetch !== 'function') {
    throw refusal('PARAMETER', 'fetch', 'a function', describe(fetch));
  }
  const given = { maxBytes, cacheBytes: options.cacheBytes, credentials, allowFullDownload: options.allowFullDownload === true };
  given.storage = oneOf('storage', storage, STORAGES);
  given.prefetch = oneOf('prefetch', prefetch, PREFETCHES);
  if (headers !== undefined) given.headers = [...new Headers(headers)];
  if (wasmUrl !== undefined) given.wasmUrl = absolute('wasmUrl', wasmUrl);
  if (fetch !== undefined) given.fetch = fetch;
  return given;
}

/** The URL of an argument, absolute: a worker knows nothing of the page it is relative to. */
export function absolute(name, url) {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw refusal('PARAMETER', name, 'a URL, absolute or relative to this page', describe(url));
  }
}

/**
 * Where the session of a URL runs, and what opens it there.
 * @param {string | URL} source
 * @param {import('./index.d.ts').OpenOptions} options
 */
export function atUrl(source, options) {
  const [url, given] = [absolute('source', source), checked(options)];
  const { onProgress } = options;
  let { signal } = options;
  const open = (link) => {
    const opening = signal;
    // It belongs to the first opening, not to one after a trap.
    signal = undefined;
    return link.call('openUrl', { url, options: given }, { signal: opening, onProgress });
  };
  // A function cannot be posted to a worker.
  return { worker: given.fetch ? false : options.worker, open };
}
