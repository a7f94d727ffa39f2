// `openBytes`: a file that is given as bytes, read in pieces, so that no second copy of the whole ever exists. Called
// by `open` of the package. The source is kept, not its bytes: after a trap the engine is filled from it again.

import { NearfieldError, aborted, refusal } from './errors.js';

/** Bytes of a piece: large enough that messages cost nothing, small enough for a lively page. */
const PIECE_BYTES = 4 << 20;

/** Whether `open` takes it as bytes. */
export function isBytes(source) {
  return source instanceof ArrayBuffer || ArrayBuffer.isView(source) || source instanceof Blob;
}

/**
 * Fills a new session with the bytes of `source` and opens it.
 * @param {{call: Function}} link
 * @param {ArrayBuffer | ArrayBufferView | Blob} source
 * @param {{wasmUrl?: string, onProgress?: Function, signal?: AbortSignal}} options
 */
export async function openBytes(link, source, { wasmUrl, onProgress, signal }) {
  const bytes = viewOf(source);
  const totalBytes = bytes.size ?? bytes.byteLength;
  if (totalBytes === 0) throw refusal('FORMAT', 'source', 'a .near file', 'no bytes');
  await link.call('begin', { length: totalBytes, wasmUrl }, { signal });
  const report = (stage, done, offlineReady) =>
    onProgress?.({ stage, bytes: done, totalBytes, requests: 0, offlineReady });
  let written = Promise.resolve();
  for (let offset = 0; offset < totalBytes; offset += PIECE_BYTES) {
    if (signal?.aborted) throw aborted(signal);
    const end = Math.min(offset + PIECE_BYTES, totalBytes);
    const piece = await pieceOf(bytes, offset, end);
    await written;
    written = link.call('write', { offset, bytes: piece }, { signal, transfer: [piece.buffer] });
    // Awaited one piece later; until then a failure must not count as unhandled.
    written.catch(() => {});
    report('all', end, false);
  }
  await written;
  const info = await link.call('finish', { name: source.name ?? 'snapshot' }, { signal });
  report('ready', totalBytes, true);
  return info;
}

function viewOf(source) {
  if (ArrayBuffer.isView(source)) {
    return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  }
  return source instanceof ArrayBuffer ? new Uint8Array(source) : source;
}

/** A copy of some bytes, in a buffer of its own. */
async function pieceOf(bytes, start, end) {
  if (bytes instanceof Uint8Array) return bytes.slice(start, end);
  try {
    return new Uint8Array(await bytes.slice(start, end).arrayBuffer());
  } catch (error) {
    const name = bytes.name ?? 'the file';
    const hint = 'choose it again';
    throw new NearfieldError('CHANGED', `${name} can no longer be read: ${error.message}`, { cause: error, hint });
  }
}
