// `Channel`: sends calls from the page to a session, in a worker or by a direct call. It starts the session at
// `ready` or the first call, and after a fatal error again at the next one. Used by `Snapshot` and
// `LocalCollection`. The meaning of the calls is not here.

import { NearfieldError, aborted, fromPlain } from './errors.js';
import { Session } from './session.js';

const NO_WORKER =
  'nearfield/worker.js and the scripts it imports have to be served; the option worker names another place, worker: false goes without';

/** A session in a worker. */
class WorkerLink {
  #worker;
  #waiting = new Map();
  #last = 0;
  #died;
  /** The error of every call from then on. */
  #death;
  #onProgress;

  constructor(worker, died) {
    this.#worker = worker;
    this.#died = died;
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = ({ message }) => {
      const unloaded = { message: 'the worker stopped: its script could not be loaded', hint: NO_WORKER };
      this.#die({ code: 'WASM', ...(message === undefined ? unloaded : { message: `the worker stopped: ${message}` }) });
    };
  }

  call(method, arguments_, { signal, onProgress, transfer = [] } = {}) {
    if (this.#death) return Promise.reject(fromPlain(this.#death));
    if (signal?.aborted) return Promise.reject(aborted(signal));
    const call = (this.#last += 1);
    // Progress after a call has ended goes to the listener that was given last.
    this.#onProgress = onProgress ?? this.#onProgress;
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(call);
        this.#worker.postMessage({ abort: call });
        reject(aborted(signal));
      };
      signal?.addEventListener('abort', abort, { once: true });
      const settled = (settle) => (value) => {
        signal?.removeEventListener('abort', abort);
        settle(value);
      };
      const waiting = { resolve: settled(resolve), reject: settled(reject), onProgress };
      this.#waiting.set(call, waiting);
      this.#worker.postMessage({ call, method, arguments_ }, transfer);
    });
  }

  #receive({ call, result, error, progress }) {
    const waiting = this.#waiting.get(call);
    if (progress !== undefined) {
      (waiting?.onProgress ?? this.#onProgress)?.(progress);
      return;
    }
    this.#waiting.delete(call);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(fromPlain(error));
    if (error?.fatal) this.#die(error);
  }

  /** Rejects all pending calls; no call is answered by a broken instance. */
  #die(error) {
    if (this.#death) return;
    this.#death = error;
    this.#worker.terminate();
    this.#died();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(fromPlain(error));
  }

  close() {
    this.#died = () => {};
    this.#die({ code: 'CLOSED', message: 'it was closed before the call was answered' });
  }
}

/** A session in this realm. */
class DirectLink {
  #session = new Session();
  #died;
  #closed = false;

  constructor(died) {
    this.#died = died;
  }

  async call(method, arguments_, { signal, onProgress } = {}) {
    // As with a worker: an abort that is made before the turn ends is seen.
    await Promise.resolve();
    if (signal?.aborted) throw aborted(signal);
    if (this.#closed) throw new NearfieldError('CLOSED', 'it was closed before the call was answered');
    try {
      return await this.#session.run(method, arguments_, { signal, progress: onProgress });
    } catch (plain) {
      if (plain.fatal) this.#died();
      throw fromPlain(plain);
    }
  }

  close() {
    this.#closed = true;
    this.#session.run('close', {});
  }
}

/** Calls to a session that is started when needed. */
export class Channel {
  #makeLink;
  #open;
  #link;
  #ready;
  #closed = false;

  /**
   * @param {boolean | Worker | (() => Worker)} worker where the session is; `false`: here
   * @param {(link: {call: Function}) => Promise<unknown>} open what makes a new session usable
   */
  constructor(worker, open) {
    this.#makeLink = linkMaker(worker);
    this.#open = open;
  }

  /** Carries out one call; the first one opens. */
  async call(method, arguments_, options = {}) {
    if (options.signal?.aborted) throw aborted(options.signal);
    await this.ready();
    if (options.signal?.aborted) throw aborted(options.signal);
    if (this.#closed) throw closed();
    // It may have died between opening and now, of another call.
    return this.#link ? this.#link.call(method, arguments_, options) : this.call(method, arguments_, options);
  }

  /** A call to the present session without waiting for its answer; starts no session. */
  tell(method, arguments_) {
    this.#link?.call(method, arguments_).catch(() => {});
  }

  /** Opens if need be; what opening returned. */
  ready() {
    if (this.#closed) return Promise.reject(closed());
    this.#ready ??= this.#start();
    return this.#ready;
  }

  async #start() {
    const died = () => {
      if (this.#link === link) this.#ready = this.#link = undefined;
    };
    const link = this.#makeLink(died);
    this.#link = link;
    try {
      return await this.#open(link);
    } catch (error) {
      link.close();
      died();
      throw error;
    }
  }

  /** Ends the session; all later calls reject. */
  close() {
    this.#closed = true;
    this.#link?.close();
    this.#link = undefined;
  }
}

function closed() {
  return new NearfieldError('CLOSED', 'it was closed');
}

function linkMaker(worker) {
  if (worker === false || (worker === undefined && typeof Worker === 'undefined')) {
    return (died) => new DirectLink(died);
  }
  let given = worker instanceof Object && typeof worker !== 'function' ? worker : undefined;
  const make = typeof worker === 'function' ? worker : ownWorker;
  return (died) => {
    const next = given ?? make();
    given = undefined;
    return new WorkerLink(next, died);
  };
}

function ownWorker() {
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'nearfield' });
}
