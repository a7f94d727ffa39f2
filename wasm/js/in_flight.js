// In-flight range requests (`RequestsInFlight`): which bytes are already requested, and when a queued request may
// start. Used by `Fetcher.read`.
//
// At most six run at once. Background requests start only while no foreground request runs, at most two. A read of
// bytes that are already requested waits for that request; a request without a waiting read is aborted. Not here:
// sending a request, which the caller of `launch` passes as a function.

import { aborted } from './errors.js';
import { intersect } from './ranges.js';

const AT_ONCE = 6;
const BACKGROUND_AT_ONCE = 2;

/** A range request, in flight or queued, with the number of reads that wait for it. */
class RangeRequest {
  controller = new AbortController();
  waiting = 0;

  constructor(range, background) {
    this.range = range;
    this.background = background;
    // `this.start()` resolves `started`: `#pump` calls it when the request may run.
    this.started = new Promise((resolve, reject) => Object.assign(this, { start: resolve, reject }));
    this.controller.signal.addEventListener('abort', () => this.reject(aborted(this.controller.signal)));
  }

  stopWaiting() {
    this.waiting -= 1;
    if (this.waiting === 0) this.controller.abort();
  }
}

export class RequestsInFlight {
  #all = new Set();
  #queue = [];
  #running = [];

  /**
   * The requests of bytes of `ranges`. A read in the foreground leaves out background requests that have not started.
   * @param {import('./ranges.js').Range[]} ranges merged
   */
  pendingFor(ranges, background) {
    return [...this.#all].filter(
      (request) =>
        !request.controller.signal.aborted &&
        (background || !request.background || this.#running.includes(request)) &&
        intersect(ranges, [request.range]).length > 0,
    );
  }

  /** Calls `send(request)` when the request may start; `request.done` is its promise. */
  launch(range, background, send) {
    const request = new RangeRequest(range, background);
    this.#all.add(request);
    this.#queue.push(request);
    request.done = request.started
      .then(() => send(request))
      .finally(() => {
        this.#all.delete(request);
        this.#queue = this.#queue.filter((other) => other !== request);
        this.#running = this.#running.filter((other) => other !== request);
        this.#pump();
      });
    this.#pump();
    return request;
  }

  /**
   * Resolves when all of `requests` have; a request without a waiting read is aborted.
   * @param {RangeRequest[]} requests @param {AbortSignal} [signal]
   */
  async wait(requests, signal) {
    requests.forEach((request) => (request.waiting += 1));
    let stop;
    try {
      await new Promise((resolve, reject) => {
        stop = () => reject(aborted(signal));
        signal?.addEventListener('abort', stop);
        Promise.all(requests.map((request) => request.done)).then(resolve, reject);
      });
    } finally {
      signal?.removeEventListener('abort', stop);
      requests.forEach((request) => request.stopWaiting());
    }
  }

  /** Starts queued requests, foreground before background, as far as the limits allow. */
  #pump() {
    const busy = () => this.#running.some((request) => !request.background);
    while (this.#running.length < AT_ONCE) {
      const next =
        this.#queue.find((request) => !request.background) ??
        (busy() || this.#running.length >= BACKGROUND_AT_ONCE ? undefined : this.#queue[0]);
      if (!next) return;
      this.#queue = this.#queue.filter((request) => request !== next);
      this.#running.push(next);
      next.start();
    }
  }
}
