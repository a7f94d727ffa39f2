// `Fetcher`: reads byte ranges of one URL with `fetch`. Adjacent ranges become one request, an interrupted request is
// resumed once, and a read that would exceed the budget (`maxBytes`) is refused. Used by `opening.js` and `Remote`.
//
// GETs with one `bytes=a-b` range, which need no CORS preflight; nothing but the body must be readable. (Only after a
// failure without a reason a HEAD or two find out which: CORS, compression or the network.) The
// browser's cache is left out (`no-store`): it asks twice for a range while another of the same URL is under way.
// Keeps nothing: `deliver` gets each byte range once. `RequestsInFlight` keeps the requests and the reads that wait for them;
// `replies.js` checks the replies.

import { NearfieldError, aborted } from './errors.js';
import { RequestsInFlight } from './in_flight.js';
import { merge, subtract, total } from './ranges.js';
import {
  COMPRESSED, changed, checkHeaders, empty, lengthInHeader, lost, readBody, statusError, unsupported, wrongLength,
} from './replies.js';

/** Bytes of the first request. */
export const FIRST_BYTES = 65536;
/** Ranges closer than this are one request. */
export const GAP_BYTES = 32768;
const ATTEMPTS = 2;

export class Fetcher {
  /** Body bytes received, and requests made. */
  bytes = 0;
  requests = 0;
  /** Length of the file, once known. @type {number | undefined} */
  length;
  #url;
  #options;
  #reserved = 0;
  #inFlight = new RequestsInFlight();

  /**
   * @param {string} url absolute
   * @param {{ fetch?: typeof fetch, headers?: HeadersInit, credentials?: RequestCredentials, maxBytes?: number,
   *   deliver: (offset: number, bytes: Uint8Array) => void }} options `deliver` is called before a read resolves
   */
  constructor(url, options) {
    this.#url = url;
    this.#options = { ...options, maxBytes: options.maxBytes ?? Infinity };
  }

  /** Bytes that may still be requested. */
  get left() {
    return this.#options.maxBytes - this.bytes - this.#reserved;
  }

  /**
   * The first bytes of the file; sets `length`, or rejects with CHANGED if it was known and is another now. If the
   * server sends the file whole, its reply instead, unread, where that is allowed: pass it to `whole`.
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
      // Some servers answer 200 when the range is the whole file: that is no more than was requested.
      if (whole && !(+(response.headers.get('content-length') ?? NaN) <= range[1])) {
        controller.abort();
        throw unsupported('the server ignores Range requests: it answered 200 with the whole file', {
          expected: 206,
          got: 200,
        });
      }
      const said = checkHeaders(response, range, this.length);
      const bytes = await readBody(response, range, said?.[1], this.#counter(wire));
      const length = said?.[2] ?? lengthInHeader(bytes);
      if (bytes.length !== Math.min(range[1], length)) throw wrongLength(Math.min(range[1], length), bytes.length);
      if (length !== (this.length ?? length)) throw changed(this.length, length);
      this.length = length;
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
        throw lost(error, signal);
      });
      if (signal?.aborted) throw aborted(signal);
      if (done) return;
      this.bytes += value.length;
      yield value;
    }
  }

  /**
   * Fetches `ranges` and delivers them. It waits for bytes that another read has already requested. Bytes that
   * arrived before an error or abort were delivered and need not be fetched again.
   * @param {import('./ranges.js').Range[]} ranges
   * @param {{ signal?: AbortSignal, background?: boolean }} [options] background waits until no other read is
   *   under way
   * @returns {Promise<{ bytes: number, requests: number }>} what it asked the server for itself
   */
  async read(ranges, { signal, background = false } = {}) {
    if (signal?.aborted) throw aborted(signal);
    const wanted = merge(ranges);
    const joined = this.#inFlight.pendingFor(wanted, background);
    const runs = merge(subtract(wanted, merge(joined.map((request) => request.range))), GAP_BYTES);
    this.afford(total(runs));
    const launched = runs.map((range) => this.#launch(range, background));
    await this.#inFlight.wait([...joined, ...launched], signal);
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
    const wire = { left: range[1] - range[0] };
    this.#reserve(wire.left);
    const request = this.#inFlight.launch(range, background, (begun) => this.#send(begun, wire));
    request.done = request.done.finally(() => (this.#reserved -= wire.left));
    return request;
  }

  /** Counts what comes: no longer reserved, but received. */
  #counter(wire) {
    return (count) => {
      this.bytes += count;
      const counted = Math.min(count, wire.left);
      wire.left -= counted;
      this.#reserved -= counted;
    };
  }

  /** One range, with a second attempt for what is missing if the first broke off. */
  async #send(request, wire) {
    const { signal } = request.controller;
    let [start, end] = request.range;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await this.#get([start, end], signal);
        if (response.status === 200)
          throw unsupported('the server answered 200 to a range', { expected: 206, got: 200 });
        const said = checkHeaders(response, [start, end], this.length);
        const bytes = await readBody(response, [start, end], said?.[1], this.#counter(wire));
        if (bytes.length !== end - start) throw wrongLength(end - start, bytes.length);
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
      throw Object.assign(lost(error, signal), { blind: true });
    }
    if (response.status === 206 || response.status === 200) return response;
    response.body?.cancel().catch(() => {});
    if (response.status === 416) throw this.length === undefined ? empty() : changed(this.length, undefined);
    throw statusError(response.status);
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
