// `Session`: carries out the calls on one open snapshot, where the engine is: in a worker, or in the page with
// `worker: false`. Called through `Channel` (`worker.js` in a worker). Methods take and return what can be posted.
// Errors leave as plain objects; after a fatal one the session is dead, and its owner starts another from the source.

import { forgetEngine, loadEngine } from './engine.js';
import { NearfieldError, toPlain } from './errors.js';
import { Remote } from './remote.js';
import { Store } from './store.js';

/** The engine of one snapshot. */
export class Session {
  #engine;
  #upload;
  #open;
  #store;
  #isClosed = false;
  /** The error it died of. */
  #death;

  /** Carries out `method`; `arguments_` is one object. Rejects with a plain object. `progress` may be called afterwards. */
  async run(method, arguments_, { signal, progress } = {}) {
    try {
      if (this.#isClosed && method !== 'close') throw new NearfieldError('CLOSED', 'it was closed');
      return await METHODS[method].call(this, arguments_, signal, progress);
    } catch (error) {
      // What was under way when it died ends of that, whatever it says.
      const plain = this.#death ?? toPlain(error);
      if (plain.fatal && !this.#death) this.#give_up(plain);
      throw plain;
    }
  }

  #give_up(death) {
    this.#death = death;
    // Neither freed nor closed: nothing may enter a module that trapped.
    this.#store?.abandon();
    this.#open?.abandon?.();
    this.#engine = this.#upload = this.#open = this.#store = undefined;
    forgetEngine();
  }

  /** Makes room for a file of `length` bytes. */
  async begin({ length, wasmUrl }) {
    this.#engine = await loadEngine('reading', wasmUrl);
    this.#upload = new this.#engine.Upload(length);
  }

  /** Takes a piece of it. */
  write({ offset, bytes }) {
    this.#upload.write(offset, bytes);
  }

  /** Opens it. */
  finish({ name }) {
    const upload = this.#upload;
    this.#upload = undefined;
    this.#open = upload.finish(name);
    return { ...this.#open.info(), engine: this.#engine.about() };
  }

  /** Opens the file at a URL, of which only the front is fetched. */
  async openUrl({ url, options }, signal, onProgress) {
    this.#engine = await loadEngine('reading', options.wasmUrl);
    this.#open = await Remote.open(this.#engine, url, { ...options, signal, onProgress });
    const { storage } = this.#open;
    return { ...this.#open.info(), engine: this.#engine.about(), storage };
  }

  /** Opens a store that is written here. */
  async create({ wasmUrl, ...options }) {
    this.#engine = await loadEngine('writing', wasmUrl);
    this.#store = await Store.open(this.#engine, options);
    return this.#store.engine.info();
  }

  /** Frees its memory for other snapshots of this realm, and gives lock and files of a store back. */
  async close() {
    this.#isClosed = true;
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
    this.#open?.free();
    this.#upload?.free();
    this.#open = this.#upload = undefined;
  }

  /** What is open. */
  get open() {
    return this.#store?.engine ?? this.#open;
  }

  /** What is written, if it is. */
  get store() {
    return this.#store;
  }
}

const METHODS = {
  begin: Session.prototype.begin,
  write: Session.prototype.write,
  finish: Session.prototype.finish,
  openUrl: Session.prototype.openUrl,
  close: Session.prototype.close,
  create: Session.prototype.create,
  upsert(rows) {
    return this.store.upsert(rows);
  },
  delete(rows) {
    return this.store.delete(rows);
  },
  flush() {
    return this.store.flush();
  },
  export() {
    return this.store.export();
  },
  search({ collection, vectors, asked }, signal) {
    return this.open.search(collection, vectors, asked, signal);
  },
  get({ collection, ids, asked }, signal) {
    return this.open.get(collection, ids, asked, signal);
  },
  scan({ collection, scan, place, count, asked }, signal) {
    if (this.store) return this.store.scan(scan, place, count, asked);
    return this.open.scan(collection, place[0], place[1], count, asked, signal);
  },
  endScan({ scan }) {
    this.store?.endScan(scan);
  },
  count({ collection, asked }, signal) {
    return this.open.count(collection, asked, signal);
  },
  recall({ collection, vectors, asked }, signal) {
    return this.open.recall(collection, vectors, asked, signal);
  },
  explain({ collection, vectors, asked }, signal) {
    return this.open.explain(collection, vectors, asked, signal);
  },
  stats({ collection }, signal) {
    return this.open.stats(collection, signal);
  },
  download({ stage }, signal) {
    return this.open.download(stage, { signal });
  },
  async evict() {
    await this.open.evict();
    return this.open.storage;
  },
  netStats() {
    return this.open.netStats();
  },
};
