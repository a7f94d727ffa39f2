// The package, imported by a page: `open` opens a `.near` file, at a URL or as bytes, and returns a `Snapshot` to
// search, in a worker by default. No dependencies and no build step; docs/browser.md is the manual.

import { checkOptions, describe } from './asked.js';
import { hasSimd } from './engine.js';
import { refusal } from './errors.js';
import { Snapshot } from './snapshot.js';
import { isBytes, openBytes } from './source.js';
import { absolute, atUrl } from './url.js';

export { forgetKept, kept } from './kept.js';
export { NearfieldError } from './errors.js';
export { LocalCollection, create, deleteStore, stores } from './local.js';

const OPTIONS = [
  'worker', 'wasmUrl', 'onProgress', 'signal', 'storage', 'prefetch', 'maxBytes', 'cacheBytes', 'allowFullDownload', 'fetch',
  'headers', 'credentials',
];

/**
 * Opens a `.near` file.
 * @param {string | URL | ArrayBuffer | ArrayBufferView | Blob | File} source
 * @param {import('./index.d.ts').OpenOptions} [options]
 * @returns {Promise<Snapshot>}
 */
export async function open(source, options = {}) {
  checkOptions(options, OPTIONS);
  if (typeof source === 'string' || source instanceof URL) {
    const { worker, open } = atUrl(source, options);
    return Snapshot.over(worker, open);
  }
  if (!isBytes(source)) {
    throw refusal('PARAMETER', 'source', 'a URL, File, Blob or ArrayBuffer', describe(source));
  }
  const wasmUrl = options.wasmUrl === undefined ? undefined : absolute('wasmUrl', options.wasmUrl);
  let { onProgress, signal } = options;
  const fill = async (link) => {
    const given = { wasmUrl, onProgress, signal };
    // They belong to the first opening, not to one after a trap.
    onProgress = signal = undefined;
    return openBytes(link, source, given);
  };
  return Snapshot.over(options.worker, fill, 'memory');
}

/** What this browser can do. */
export async function capabilities() {
  const storage = globalThis.navigator?.storage;
  const [estimate, persisted] = await Promise.all([storage?.estimate?.(), storage?.persisted?.()]);
  return {
    simd: hasSimd(),
    threads: Boolean(globalThis.crossOriginIsolated) && typeof SharedArrayBuffer === 'function',
    opfs: typeof storage?.getDirectory === 'function',
    persisted: persisted ?? false,
    quotaBytes: estimate?.quota ?? 0,
    usageBytes: estimate?.usage ?? 0,
  };
}
