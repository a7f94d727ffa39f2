// Checks the reply of a server to a range request, before any byte of it is used: status, headers, length, compression
// (`checkHeaders`, `readBody`). Used by `Fetcher`.
//
// Knows nothing of the format but magic and length. Whether bytes are the right ones, checksums decide elsewhere; what
// is tried again, `Fetcher` does.

import { NearfieldError, aborted } from './errors.js';

const MAGIC = 'NEAREXP\n';

export const COMPRESSED =
  'the server compresses this file on its way; serve .near files as they are, without Content-Encoding';
const NO_RANGES =
  'serve the file from a server that answers Range requests with 206, or pass allowFullDownload: true';

/** A server that has no ranges, or gets them wrong. */
export const unsupported = (message, details) =>
  new NearfieldError('RANGE_UNSUPPORTED', message, { hint: NO_RANGES, ...details });

/** A transfer that broke off and may be tried once more. */
const broke = (message, details) =>
  Object.assign(new NearfieldError('NETWORK', message, details), { retry: true });

/** `bytes a-b/total` as `[a, b + 1, total | undefined]`; undefined if it is unreadable here. */
function contentRange(headers) {
  const parts = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  return parts && [+parts[1], +parts[2] + 1, parts[3] === '*' ? undefined : +parts[3]];
}

/** A reply of another status than 206 and 200. */
export function statusError(status) {
  const details = { got: status, expected: 206 };
  if (status === 401 || status === 403) details.hint = 'pass headers or credentials that may read it';
  return Object.assign(new NearfieldError('NETWORK', `the server answered ${status}`, details), {
    retry: status >= 500,
  });
}

/** Length of the file as its own header says it. @param {Uint8Array} bytes the first of the file */
export function lengthInHeader(bytes) {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b)
    throw unsupported('the bytes are gzip, not a .near file', { hint: COMPRESSED });
  const begin = String.fromCharCode(...bytes.subarray(0, 8));
  if (bytes.length < 64 || begin !== MAGIC)
    throw new NearfieldError('FORMAT', 'not a .near export: it does not begin with the magic of one', {
      expected: MAGIC,
      got: begin,
      position: 0,
    });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Number(view.getBigUint64(24, true));
}

/** A file of another length than it had. */
export function changed(expected, got) {
  const details = { expected, got, hint: 'open it again to read the new file' };
  return new NearfieldError('CHANGED', 'the file was replaced by one of another length', details);
}

/** An empty file, as a server without anything to send says it. */
export const empty = () => new NearfieldError('FORMAT', 'the file is empty', { expected: MAGIC, got: '' });

/** What failed without a reply. */
export function lost(cause, signal) {
  if (signal?.aborted) return aborted(signal);
  const offline = globalThis.navigator?.onLine === false;
  const hint = offline ? 'this device is offline; parts in the cache still answer' : undefined;
  return broke(offline ? 'offline' : `the connection failed: ${cause.message}`, { hint, cause });
}

/**
 * Compares the headers with the request.
 * @param {Response} response @param {import('./ranges.js').Range} range
 * @param {number} [fileLength] if it is known
 * @returns {[number, number, number | undefined] | null} what Content-Range says, if it can be read
 */
export function checkHeaders(response, [start, end], fileLength) {
  const refuse = (error) => {
    response.body?.cancel().catch(() => {});
    throw error;
  };
  const encoding = response.headers.get('content-encoding');
  if (encoding && encoding !== 'identity')
    refuse(unsupported(`a range with Content-Encoding ${encoding}`, { got: encoding, hint: COMPRESSED }));
  if (response.status === 200) return null;
  const said = contentRange(response.headers);
  if (said && fileLength !== undefined && (said[2] ?? fileLength) !== fileLength) refuse(changed(fileLength, said[2]));
  const last = Math.min(end, said?.[2] ?? end);
  if (said && (said[0] !== start || said[1] !== last))
    refuse(
      unsupported('a reply with another range than asked for', {
        expected: `bytes ${start}-${last - 1}`,
        got: response.headers.get('content-range'),
      }),
    );
  const length = response.headers.get('content-length');
  if (length !== null && (+length > end - start || (said && +length !== last - start)))
    refuse(wrongLength(last - start, +length));
  return said;
}

/** A body of another length than asked for. */
export const wrongLength = (expected, got) =>
  unsupported('a reply of another length than asked for', { expected, got });

/**
 * The body; at most the requested range. Bytes before a broken connection are `kept` if their place is certain.
 * @param {Response} response @param {import('./ranges.js').Range} range
 * @param {number} [said] where it ends, if the headers say so
 * @param {(count: number) => void} count called with the length of each piece that arrives
 */
export async function readBody(response, [start, end], said, count) {
  const bytes = new Uint8Array((said ?? end) - start);
  const reader = response.body.getReader();
  let at = 0;
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) break;
      count(value.length);
      if (at + value.length > bytes.length) {
        reader.cancel().catch(() => {});
        throw unsupported('a reply longer than asked for', { expected: bytes.length, got: at + value.length });
      }
      bytes.set(value, at);
      at += value.length;
    }
  } catch (error) {
    if (error instanceof NearfieldError) throw error;
    throw Object.assign(lost(error), said && { kept: bytes.subarray(0, at) });
  }
  const kept = bytes.subarray(0, at);
  if (said && at < bytes.length)
    throw Object.assign(broke('the reply ended early', { expected: bytes.length, got: at }), { kept });
  return kept;
}
