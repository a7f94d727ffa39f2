// Requests on their way and those that wait: at most six at once, and in the background two, when no other is under way.
//
// A read of bytes that are already requested waits for that request; a request without a waiting read is aborted.
// The caller of `launch` says what a request does.

import { aborted } from './errors.js';
import { intersect } from './ranges.js';

const AT_ONCE = 6;
const BACKGROUND_AT_ONCE = 2;

/** The request of one range, with the number of reads that wait for it. */
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

export class Flights {
  #all = new Set();
  #queue = [];
  #running = [];

  /**
   * The requests of bytes of `ranges`. A read in the foreground leaves out background requests that have not started.
   * @param {import('./ranges.js').Range[]} ranges merged
   */
  bringing(ranges, background) {
    return [...this.#all].filter(
      (flight) =>
        !flight.controller.signal.aborted &&
        (background || !flight.background || this.#running.includes(flight)) &&
        intersect(ranges, [flight.range]).length > 0,
    );
  }

  /** Carries out `carry(flight)` in its turn; `flight.done` is its promise. */
  launch(range, background, carry) {
    const flight = new Flight(range, background);
    this.#all.add(flight);
    this.#queue.push(flight);
    flight.done = flight.started
      .then(() => carry(flight))
      .finally(() => {
        this.#all.delete(flight);
        this.#queue = this.#queue.filter((other) => other !== flight);
        this.#running = this.#running.filter((other) => other !== flight);
        this.#pump();
      });
    this.#pump();
    return flight;
  }

  /**
   * Resolves when all of `flights` have; a request without a waiting read is aborted.
   * @param {Flight[]} flights @param {AbortSignal} [signal]
   */
  async wait(flights, signal) {
    flights.forEach((flight) => (flight.waiting += 1));
    let stop;
    try {
      await new Promise((resolve, reject) => {
        stop = () => reject(aborted(signal));
        signal?.addEventListener('abort', stop);
        Promise.all(flights.map((flight) => flight.done)).then(resolve, reject);
      });
    } finally {
      signal?.removeEventListener('abort', stop);
      flights.forEach((flight) => flight.leave());
    }
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
}
