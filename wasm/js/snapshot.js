// An open `.near` file: its collections, and the life of the session behind them.

import { Channel } from './channel.js';
import { Collection } from './collection.js';
import { refusal } from './errors.js';

/** A file that can be searched. */
export class Snapshot {
  #channel;

  /** Made by `open`. */
  constructor(channel, info, storage) {
    this.#channel = channel;
    this.info = info;
    this.storage = storage;
  }

  /**
   * Opens over a channel of its own.
   * @param {(link: {call: Function}) => Promise<object>} open
   */
  static async over(worker, open, storage) {
    const channel = new Channel(worker, open);
    return new Snapshot(channel, await channel.ready(), storage);
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

  /** Ends the worker and frees the memory. Later calls reject with CLOSED. */
  async close() {
    this.#channel.close();
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.close();
  }
}
