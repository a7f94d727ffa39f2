// `Snapshot`: an open `.near` file, its collections, and the session behind them (`Channel`). Returned by `open` of
// the package.

import { Channel } from './channel.js';
import { Collection } from './collection.js';
import { checkOptions, describe } from './asked.js';
import { refusal } from './errors.js';

const STAGES = ['codes', 'rows', 'all'];
const NO_NETWORK = { bytes: 0, requests: 0, cachedBytes: 0, offlineReady: true, complete: true };

/** A file that can be searched. */
export class Snapshot {
  #channel;
  #storage;

  /** Made by `open`. */
  constructor(channel, info, storage) {
    this.#channel = channel;
    this.info = info;
    this.#storage = storage;
  }

  /** Where fetched bytes are kept. @type {'memory' | 'opfs'} */
  get storage() {
    return this.#storage;
  }

  /**
   * Opens over a channel of its own.
   * @param {(link: {call: Function}) => Promise<object>} open
   */
  static async over(worker, open, storage) {
    const channel = new Channel(worker, open);
    const info = await channel.ready();
    return new Snapshot(channel, info, info.storage ?? storage);
  }

  /** A collection by name; the only one if none is named. */
  collection(name) {
    const { collections } = this.info;
    const names = collections.map((collection) => collection.name);
    const only = name === undefined && collections.length === 1 ? collections[0] : undefined;
    const found = only ?? collections.find((collection) => collection.name === name);
    if (!found) {
      const got = name === undefined ? 'no name' : JSON.stringify(name);
      throw refusal('NOT_FOUND', 'collection', `one of ${JSON.stringify(names)}`, got);
    }
    return new Collection(this.#channel, found);
  }

  /**
   * Fetches a stage of a file at a URL in the background; `'all'` makes it a whole file. Goes on where it ended before.
   * @param {'codes' | 'rows' | 'all'} stage
   * @param {{signal?: AbortSignal}} [options]
   */
  async download(stage, options = {}) {
    checkOptions(options, ['signal']);
    const { signal } = options;
    if (!STAGES.includes(stage)) throw refusal('PARAMETER', 'stage', `one of ${STAGES.join(', ')}`, describe(stage));
    if (this.#remote) await this.#channel.call('download', { stage }, { signal });
  }

  /** Removes the kept bytes of a file at a URL from disk. What is in memory goes on answering. */
  async evict() {
    if (this.#remote) this.#storage = await this.#channel.call('evict', {});
  }

  /** Bytes and requests so far, what is here and what is kept; of a file at a URL. */
  async stats() {
    if (this.#remote) return this.#channel.call('netStats', {});
    const { bytes } = this.info;
    return { ...NO_NETWORK, storage: this.storage, residentBytes: bytes, totalBytes: bytes };
  }

  get #remote() {
    return this.info.storage !== undefined;
  }

  /** Ends the worker and frees the memory. Later calls reject with CLOSED. */
  async close() {
    // The cache of a file at a URL is free for others once its worker closed it.
    if (this.#remote) await this.#channel.call('close', {}).catch(() => {});
    this.#channel.close();
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.close();
  }
}
