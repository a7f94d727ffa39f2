// What one open snapshot does, where the engine is: in a worker, or in the page with `worker: false`.
// Methods take and return what can be posted. Errors leave as plain objects; after a fatal one the session
// is dead, and whoever owns it starts another from the source.

import { forgetEngine, loadEngine } from './engine.js';
import { toPlain } from './errors.js';
import { Store } from './store.js';

/** The engine of one snapshot. */
export class Session {
  #engine;
  #upload;
  #open;
  #store;

  /** Carries out `method`; `arguments_` is one object. Rejects with a plain object. */
  async run(method, arguments_) {
    try {
      return await METHODS[method].call(this, arguments_);
    } catch (error) {
      const plain = toPlain(error);
      if (plain.fatal) this.#give_up();
      throw plain;
    }
  }

  #give_up() {
    // Neither freed nor closed: nothing may enter a module that trapped.
    this.#store?.abandon();
    this.#engine = this.#upload = this.#open = this.#store = undefined;
    forgetEngine();
  }

  /** Makes room for a file of `length` bytes. */
  async begin({ length, wasmUrl }) {
    this.#engine = await loadEngine(wasmUrl);
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

  /** Opens a store that is written here. */
  async create({ wasmUrl, ...options }) {
    this.#engine = await loadEngine(wasmUrl);
    this.#store = await Store.open(this.#engine, options);
    this.#open = this.#store.engine;
    return this.#open.info();
  }

  /** Frees its memory for other snapshots of this realm, and gives lock and files of a store back. */
  async close() {
    const store = this.#store;
    if (store) {
      this.#store = this.#open = undefined;
      await store.close();
    }
    this.#open?.free();
    this.#upload?.free();
    this.#open = this.#upload = undefined;
  }

  /** What is open. */
  get open() {
    return this.#open;
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
  search({ collection, vectors, asked }) {
    return this.open.search(collection, vectors, asked);
  },
  get({ collection, ids, asked }) {
    return this.open.get(collection, ids, asked);
  },
  scan({ collection, place, count, asked }) {
    return this.open.scan(collection, place[0], place[1], count, asked);
  },
  count({ collection, asked }) {
    return this.open.count(collection, asked);
  },
  recall({ collection, vectors, asked }) {
    return this.open.recall(collection, vectors, asked);
  },
  explain({ collection, vectors, asked }) {
    return this.open.explain(collection, vectors, asked);
  },
  stats({ collection }) {
    return this.open.stats(collection);
  },
};
