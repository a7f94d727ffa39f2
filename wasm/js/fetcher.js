// Byte ranges of one URL by `fetch`: every reply is checked to be what was asked for, at most six are under way,
// neighbours become one request, and who asks for bytes that are on their way waits for those.
//
// GETs with one `bytes=a-b` range, which need no CORS preflight; nothing but the body must be readable. (Only after a
// failure without a reason a HEAD or two find out which: CORS, compression or the network.) The
// browser's cache is left out (`no-store`): it asks twice for a range while another of the same URL is under way.
// Knows nothing of the format but magic and length, and keeps nothing: `deliver` gets each byte range once.

import { NearfieldError, aborted } from './errors.js';
import { intersect, merge, subtract, total } from './ranges.js';

/** Bytes of the first request. */
export const FIRST_BYTES = 65536;
/** Ranges closer than this are one request. */
export const GAP_BYTES = 32768;
const AT_ONCE = 6;
const BACKGROUND_AT_ONCE = 2;
const ATTEMPTS = 2;
const MAGIC = 'NEAREXP\n';

const COMPRESSED =
  'the server compresses this file on its way; serve .near files as they are, without Content-Encoding';
const NO_RANGES =
  'serve the file from a server that answers Range requests with 206, or pass allowFullDownload: true';

const unsupported = (message, details) =>
  new NearfieldError('RANGE_UNSUPPORTED', message, { hint: NO_RANGES, ...details });

/** A transfer that broke off and may be tried once more. */
const broke = (message, details) =>
  Object.assign(new NearfieldError('NETWORK', message, details), { retry: true });

/** `bytes a-b/total` as `[a, b + 1, total | undefined]`; undefined if it is unreadable here. */
function contentRange(headers) {
  const parts = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  return parts && [+parts[1], +parts[2] + 1, parts[3] === '*' ? undefined : +parts[3]];
}

function statusError(status) {
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

/** One range on its way, for all who wait for it. */
class Flight {
  controller = new AbortController();
  waiting = 0;

  constructor(range, background) {
    this.range = range;
    this.background = background;
    this.started = new Promise((resolve, reject) => Object.assign(this, { start: resolve, reject }));
    this.controller.signal.addEventListener('abort', () => this.reject(aborted(this.controller.signal)));
  }

  leave() {
    this.waiting -= 1;
    if (this.waiting === 0) this.controller.abort();
  }
}

export class Fetcher {
  /** Body bytes received, and requests made. */
  bytes = 0;
  requests = 0;
  /** Length of the file, once known. @type {number | undefined} */
  length;
  #url;
  #options;
  #reserved = 0;
  #flights = new Set();
  #queue = [];
  #running = [];

  /**
   * @param {string} url absolute
   * @param {{ fetch?: typeof fetch, headers?: HeadersInit, credentials?: RequestCredentials, maxBytes?: number,
   *   deliver: (offset: number, bytes: Uint8Array) => void }} options `deliver` is called before a read resolves
   */
  constructor(url, options) {
    this.#url = url;
    this.#options = { ...options, maxBytes: options.maxBytes ?? Infinity };
  }

  /** Bytes that may still be asked for. */
  get left() {
    return this.#options.maxBytes - this.bytes - this.#reserved;
  }

  /**
   * The first bytes of the file; sets `length`. If the server sends the file whole, its reply instead, unread,
   * where that is allowed: pass it to `whole`.
   * @param {{ bytes?: number, allowFullDownload?: boolean, signal?: AbortSignal }} options
   * @returns {Promise<{ bytes: Uint8Array, whole?: undefined } | { whole: Response, bytes?: undefined }>}
   */
  async first({ bytes: count = FIRST_BYTES, allowFullDownload = false, signal } = {}) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#first([0, count], allowFullDownload, signal);
      } catch (error) {
        if (signal?.aborted) throw aborted(signal);
        if (!error.retry || attempt === ATTEMPTS) throw await this.#diagnosed(error);
      }
    }
  }

  async #first(range, allowFullDownload, signal) {
    const controller = new AbortController();
    const stop = () => controller.abort();
    signal?.addEventListener('abort', stop);
    this.#reserve(range[1]);
    const wire = { left: range[1] };
    try {
      if (signal?.aborted) throw aborted(signal);
      const response = await this.#get(range, controller.signal);
      const whole = response.status === 200;
      if (whole && allowFullDownload) return { whole: response };
      // Some servers answer 200 when the range is the whole file: that is no more than was asked for.
      if (whole && !(+(response.headers.get('content-length') ?? NaN) <= range[1])) {
        controller.abort();
        throw unsupported('the server ignores Range requests: it answered 200 with the whole file', {
          expected: 206,
          got: 200,
        });
      }
      const said = this.#check(response, range);
      const bytes = await this.#body(response, range, wire, said?.[1]);
      this.length = said?.[2] ?? lengthInHeader(bytes);
      if (bytes.length !== Math.min(range[1], this.length))
        throw unsupported('a reply of another length than asked for', {
          expected: Math.min(range[1], this.length),
          got: bytes.length,
        });
      return { bytes };
    } finally {
      this.#reserved -= wire.left;
      signal?.removeEventListener('abort', stop);
    }
  }

  /**
   * Reads a whole file to its end.
   * @param {Response} response from `first`
   * @param {(length: number) => void} begin gets the length of the file before the first `deliver`
   * @param {AbortSignal} [signal]
   */
  async whole(response, begin, signal) {
    const reader = response.body.getReader();
    const stop = () => reader.cancel();
    signal?.addEventListener('abort', stop);
    let head = new Uint8Array(0);
    let at = 0;
    try {
      for await (const chunk of this.#chunks(reader, signal)) {
        let bytes = chunk;
        if (this.length === undefined) {
          head = new Uint8Array([...head, ...chunk]);
          if (head.length < 64) continue;
          this.length = lengthInHeader(head);
          this.afford(this.length - head.length);
          begin(this.length);
          bytes = head;
        }
        if (at + bytes.length > this.length) break;
        this.#options.deliver(at, bytes);
        at += bytes.length;
      }
      if (this.length === undefined) lengthInHeader(head);
      if (at !== this.length)
        throw new NearfieldError('NETWORK', 'the file ended early, or is longer than it says', {
          expected: this.length,
          got: at,
        });
    } finally {
      signal?.removeEventListener('abort', stop);
      reader.cancel().catch(() => {});
    }
  }

  async *#chunks(reader, signal) {
    while (true) {
      if (signal?.aborted) throw aborted(signal);
      const { done, value } = await reader.read().catch((error) => {
        throw this.#lost(error, signal);
      });
      if (signal?.aborted) throw aborted(signal);
      if (done) return;
      this.bytes += value.length;
      yield value;
    }
  }

  /**
   * Fetches `ranges` and delivers them. Bytes that are on their way for somebody else are waited for. What
   * arrived before an error or abort was delivered and need not be fetched again.
   * @param {import('./ranges.js').Range[]} ranges
   * @param {{ signal?: AbortSignal, background?: boolean }} [options] background waits until no other read is
   *   under way
   * @returns {Promise<{ bytes: number, requests: number }>} what it asked the server for itself
   */
  async read(ranges, { signal, background = false } = {}) {
    if (signal?.aborted) throw aborted(signal);
    const wanted = merge(ranges);
    const joined = [...this.#flights].filter(
      (flight) =>
        !flight.controller.signal.aborted &&
        (background || !flight.background || this.#running.includes(flight)) &&
        intersect(wanted, [flight.range]).length > 0,
    );
    const runs = merge(subtract(wanted, merge(joined.map((flight) => flight.range))), GAP_BYTES);
    this.afford(total(runs));
    const mine = [...joined, ...runs.map((range) => this.#launch(range, background))];
    mine.forEach((flight) => (flight.waiting += 1));
    let stop;
    try {
      await new Promise((resolve, reject) => {
        stop = () => reject(aborted(signal));
        signal?.addEventListener('abort', stop);
        Promise.all(mine.map((flight) => flight.done)).then(resolve, reject);
      });
    } finally {
      signal?.removeEventListener('abort', stop);
      mine.forEach((flight) => flight.leave());
    }
    return { bytes: total(runs), requests: runs.length };
  }

  /** Refuses what would exceed `maxBytes`. @param {number} count */
  afford(count) {
    if (count <= this.left) return;
    const { maxBytes } = this.#options;
    throw new NearfieldError('BUDGET', `${count} more bytes are needed, ${this.left} of maxBytes are left`, {
      expected: maxBytes,
      got: maxBytes - this.left + count,
      hint: 'raise maxBytes, or ask for less: fewer cells (nprobe), no rerank, no metadata',
    });
  }

  #reserve(count) {
    this.afford(count);
    this.#reserved += count;
  }

  #launch(range, background) {
    const flight = new Flight(range, background);
    const wire = { left: range[1] - range[0] };
    this.#reserve(wire.left);
    this.#flights.add(flight);
    this.#queue.push(flight);
    flight.done = flight.started
      .then(() => this.#carry(flight, wire))
      .finally(() => {
        this.#reserved -= wire.left;
        this.#flights.delete(flight);
        this.#queue = this.#queue.filter((other) => other !== flight);
        this.#running = this.#running.filter((other) => other !== flight);
        this.#pump();
      });
    this.#pump();
    return flight;
  }

  /** Starts what may start: others before those in the background, which wait until no other is running. */
  #pump() {
    const busy = () => this.#running.some((flight) => !flight.background);
    while (this.#running.length < AT_ONCE) {
      const next =
        this.#queue.find((flight) => !flight.background) ??
        (busy() || this.#running.length >= BACKGROUND_AT_ONCE ? undefined : this.#queue[0]);
      if (!next) return;
      this.#queue = this.#queue.filter((flight) => flight !== next);
      this.#running.push(next);
      next.start();
    }
  }

  /** One range, with a second attempt for what is missing if the first broke off. */
  async #carry(flight, wire) {
    const { signal } = flight.controller;
    let [start, end] = flight.range;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await this.#get([start, end], signal);
        if (response.status === 200)
          throw unsupported('the server answered 200 to a range', { expected: 206, got: 200 });
        const said = this.#check(response, [start, end]);
        const bytes = await this.#body(response, [start, end], wire, said?.[1]);
        if (bytes.length !== end - start)
          throw unsupported('a reply of another length than asked for', {
            expected: end - start,
            got: bytes.length,
          });
        this.#options.deliver(start, bytes);
        return;
      } catch (error) {
        if (error.kept) {
          this.#options.deliver(start, error.kept);
          start += error.kept.length;
        }
        if (!error.retry || attempt === ATTEMPTS || signal.aborted) throw error;
        this.afford(end - start - wire.left);
        this.#reserved += end - start - wire.left;
        wire.left = end - start;
      }
    }
  }

  /** A reply of status 206 or 200; everything else is an error. */
  async #get([start, end], signal) {
    const { fetch = globalThis.fetch, credentials } = this.#options;
    const headers = new Headers(this.#options.headers);
    headers.set('range', `bytes=${start}-${end - 1}`);
    this.requests += 1;
    const init = { headers, cache: 'no-store', signal, ...(credentials && { credentials }) };
    let response;
    try {
      response = await fetch(this.#url, init);
    } catch (error) {
      throw Object.assign(this.#lost(error, signal), { blind: true });
    }
    if (response.status === 206 || response.status === 200) return response;
    response.body?.cancel().catch(() => {});
    if (response.status === 416)
      throw this.length === undefined
        ? new NearfieldError('FORMAT', 'the file is empty', { expected: MAGIC, got: '' })
        : this.#changed(undefined);
    throw statusError(response.status);
  }

  #changed(got) {
    const details = { expected: this.length, got, hint: 'open it again to read the new file' };
    return new NearfieldError('CHANGED', 'the file was replaced by one of another length', details);
  }

  /** What the headers say against what was asked. @returns {[number, number, number | undefined] | null} */
  #check(response, [start, end]) {
    const refuse = (error) => {
      response.body?.cancel().catch(() => {});
      throw error;
    };
    const encoding = response.headers.get('content-encoding');
    if (encoding && encoding !== 'identity')
      refuse(unsupported(`a range with Content-Encoding ${encoding}`, { got: encoding, hint: COMPRESSED }));
    if (response.status === 200) return null;
    const said = contentRange(response.headers);
    if (said && this.length !== undefined && (said[2] ?? this.length) !== this.length)
      refuse(this.#changed(said[2]));
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
      refuse(unsupported('a reply of another length than asked for', { expected: last - start, got: +length }));
    return said;
  }

  /** The body; at most what was asked for. What came before it broke off is `kept` if its place is certain. */
  async #body(response, [start, end], wire, said) {
    const bytes = new Uint8Array((said ?? end) - start);
    const reader = response.body.getReader();
    let at = 0;
    try {
      while (true) {
        const { done, value } = await reader.read();
        if (done) break;
        this.bytes += value.length;
        const counted = Math.min(value.length, wire.left);
        wire.left -= counted;
        this.#reserved -= counted;
        if (at + value.length > bytes.length) {
          reader.cancel().catch(() => {});
          throw unsupported('a reply longer than asked for', { expected: bytes.length, got: at + value.length });
        }
        bytes.set(value, at);
        at += value.length;
      }
    } catch (error) {
      if (error instanceof NearfieldError) throw error;
      throw Object.assign(this.#lost(error, undefined), said && { kept: bytes.subarray(0, at) });
    }
    if (said && at < bytes.length)
      throw Object.assign(broke('the reply ended early', { expected: bytes.length, got: at }), {
        kept: bytes.subarray(0, at),
      });
    return bytes.subarray(0, at);
  }

  #lost(cause, signal) {
    if (signal?.aborted) return aborted(signal);
    const offline = globalThis.navigator?.onLine === false;
    const hint = offline ? 'this device is offline; parts in the cache still answer' : undefined;
    return broke(offline ? 'offline' : `the connection failed: ${cause.message}`, { hint, cause });
  }

  /** A page cannot see why a request failed; which others succeed tells it. */
  async #diagnosed(error) {
    const page = globalThis.location?.origin;
    if (!error.blind || this.#options.fetch || !page || navigator.onLine === false) return error;
    const answers = (mode) =>
      fetch(this.#url, { method: 'HEAD', mode, cache: 'no-store' }).then(() => true, () => false);
    if (await answers('cors')) return unsupported('the server answers, but its range cannot be read', { hint: COMPRESSED });
    if (!(await answers('no-cors'))) return error;
    const hint = `the server must send Access-Control-Allow-Origin: ${page} (or *); no other header is needed`;
    return new NearfieldError('CORS', `the server does not allow pages of ${page} to read this file`, { hint });
  }
}
