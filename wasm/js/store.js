// `Store`: a written store in the worker, with its lock, the pool of files (`SlotPool`), and one change after the
// other. Used by `Session` for `LocalCollection`. Before each change it makes room for new files; after it, it runs
// background work step by step, so that searches run in between. What the changes mean is in wasm/src/store.rs.

import { NearfieldError, isTyped } from './errors.js';
import { lockName, takeLock } from './locks.js';
import { SlotPool } from './slots.js';

/** The engine's collection and what it stands on. */
export class Store {
  #engine;
  #pool;
  #release;
  #news;
  #last = Promise.resolve();
  #upkeep = false;
  /** The error that stopped the engine, perhaps in background work; the next call reports it and does not enter it. */
  #broken;

  /**
   * Opens a store.
   * @param {object} module what `loadEngine` gives
   * @param {{name: string, storage: 'memory' | 'opfs', restarting: boolean, dim: number, metric: string,
   *   store: string, fields: string}} options
   */
  static async open(module, { name, storage, restarting, dim, metric, store: encoding, fields }) {
    const store = new Store();
    try {
      if (storage === 'opfs') {
        store.#release = await takeLock(name, restarting);
        store.#pool = await SlotPool.open(name);
        store.#news = new BroadcastChannel(lockName(name));
      }
      const seed = crypto.getRandomValues(new Uint32Array(1))[0];
      store.#engine = module.Store.open(store.#pool, name, dim, metric, encoding, fields, Date.now(), seed);
    } catch (error) {
      store.#giveBack();
      throw error;
    }
    return store;
  }

  /** What answers questions. Throws what it died of. */
  get engine() {
    if (this.#broken) throw this.#broken;
    return this.#engine;
  }

  upsert({ ids, vectors, texts }) {
    return this.#change(() => this.engine.upsert(ids, vectors, texts, Date.now()));
  }

  delete({ ids }) {
    return this.#change(() => this.engine.delete(ids, Date.now()));
  }

  flush() {
    return this.#inOrder(() => this.engine.flush(Date.now()));
  }

  /** The bytes of a `.near` file. */
  export() {
    return this.#inOrder(() => this.engine.export());
  }

  /** A page of a scan. All pages of one are of the same moment, which is kept for them. */
  scan(scan, [segment, row], count, asked) {
    const found = this.engine.scan(scan, segment, row, count, asked);
    if (found === undefined) {
      const hint = 'begin it again';
      throw new NearfieldError('WASM', 'the engine stopped, and with it the scan', { hint });
    }
    if (found.next === undefined) this.endScan(scan);
    return found;
  }

  /** Gives up what is kept for a scan, if anything is. */
  endScan(scan) {
    this.engine.end_scan(scan);
  }

  /** Waits for the change under way, then gives lock and files back. What was acknowledged is durable. */
  async close() {
    this.#upkeep = false;
    await this.#last;
    try {
      this.engine.free();
    } finally {
      this.#giveBack();
    }
  }

  /** After the engine died: nothing may enter it again. */
  abandon() {
    this.#upkeep = false;
    this.#broken ??= new Error('another call of it failed');
    this.#giveBack();
  }

  #giveBack() {
    this.#pool?.close();
    this.#news?.close();
    this.#release?.();
  }

  async #change(act) {
    const report = await this.#inOrder(act);
    this.#news?.postMessage({ lsn: report.lsn, size: report.size });
    this.#beginUpkeep();
    return report;
  }

  /** Runs `act` after all earlier calls, with enough files for it. */
  #inOrder(act) {
    const done = this.#last.then(async () => {
      await this.#pool?.reserve(() => this.engine.free_slots());
      return act();
    });
    this.#last = done.catch((error) => {
      if (!isTyped(error)) this.#broken = error;
    });
    return done;
  }

  #beginUpkeep() {
    if (this.#upkeep) return;
    this.#upkeep = true;
    const step = async () => {
      if (!this.#upkeep) return;
      try {
        const isMore = await this.#inOrder(() => this.#upkeep && this.engine.step(Date.now()));
        this.#upkeep &&= isMore;
      } catch {
        // Begins again after the next change; the next call reports an engine that has stopped.
        this.#upkeep = false;
      }
      // A turn for others.
      if (this.#upkeep) setTimeout(step);
    };
    setTimeout(step);
  }
}
