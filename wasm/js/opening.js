// Opens a file at a URL: from the cache if the file is unchanged, else by its header from the network.
// `Opening` ends with a `Resident` that has the header, or the whole file where ranges cannot be had. Used by
// `Remote`. Searches nothing.

import { BlockCache } from './blocks.js';
import { NearfieldError } from './errors.js';
import { cachePossible, keyOf, lastSeen } from './kept.js';

/** Enough of a file to know which one it is: the checksum of its front and its length. */
const HEADER_BYTES = 64;
/** Most of a front that is read from disk before anything is known of it. */
const FRONT_BYTES = 1 << 20;
const ATTEMPTS = 2;

/**
 * True if the first bytes at the URL are still those of `key`.
 * @param {import('./fetcher.js').Fetcher} fetcher @param {string} key
 * @param {AbortSignal} signal @param {boolean} [orAway] true also if the network is away
 */
export async function isStill(fetcher, key, signal, orAway = false) {
  try {
    const { bytes } = await fetcher.first({ bytes: HEADER_BYTES, signal });
    return keyOf(bytes) === key;
  } catch (error) {
    // A reply with a status comes from a server that is there.
    if (orAway && error.code === 'NETWORK' && error.got === undefined) return true;
    if (error.code === 'CHANGED' || error.code === 'FORMAT') return false;
    if (orAway && error.code === 'RANGE_UNSUPPORTED') return false;
    throw error;
  }
}

/** The opening of one file. */
export class Opening {
  #url;
  #options;
  #fetcher;
  #resident;
  #ask;
  #signal;

  /**
   * @param {string} url
   * @param {import('./index.d.ts').OpenOptions} options
   * @param {{ fetcher: import('./fetcher.js').Fetcher, resident: import('./resident.js').Resident,
   *   ask: () => Promise<object>, signal: AbortSignal }} parts `ask` answers `info` from what is here, and fetches
   *   what that lacks
   */
  constructor(url, options, { fetcher, resident, ask, signal }) {
    this.#url = url;
    this.#options = options;
    this.#fetcher = fetcher;
    this.#resident = resident;
    this.#ask = ask;
    this.#signal = signal;
  }

  /** @returns {Promise<object>} the answer of `info` */
  async run() {
    const { storage = 'auto', allowFullDownload } = this.#options;
    const [fetcher, resident, signal] = [this.#fetcher, this.#resident, this.#signal];
    const keep = storage !== 'memory' && cachePossible();
    if (storage === 'opfs' && !keep)
      throw new NearfieldError('QUOTA', 'files of the browser (OPFS) cannot be written here', {
        hint: "they need a worker and a secure page (https or localhost); storage: 'auto' goes without",
      });
    const info = keep && (await this.#fromDisk());
    if (info) return info;
    for (let attempt = 1; ; attempt += 1) {
      // Each attempt is of whatever file is there.
      fetcher.length = undefined;
      const { bytes, whole } = await fetcher.first({ allowFullDownload, signal });
      if (whole) {
        await fetcher.whole(whole, (length) => resident.beginWhole(length), signal);
        resident.finish();
        return this.#ask();
      }
      if (keep) await this.#openCache(keyOf(bytes), storage);
      resident.begin(bytes, fetcher.length);
      try {
        return await this.#ask();
      } catch (error) {
        // A front that was replaced between its two requests; the second attempt reads one file.
        if (error.code !== 'CHECKSUM' || attempt === ATTEMPTS) throw error;
        await resident.evict();
      }
    }
  }

  /** Opens what is kept of this URL, if the file is still that one or the network is away. */
  async #fromDisk() {
    const [fetcher, resident] = [this.#fetcher, this.#resident];
    const cache = (resident.cache = await this.#keptOfUrl());
    const [front] = cache?.covered([[0, cache.length]]) ?? [];
    const bytes = front?.[0] === 0 ? cache.read(0, Math.min(front[1], FRONT_BYTES)) : undefined;
    if (bytes?.length >= HEADER_BYTES && (await isStill(fetcher, keyOf(bytes), this.#signal, true))) {
      fetcher.length = cache.length;
      resident.begin(bytes, cache.length);
      try {
        return await this.#ask();
      } catch (error) {
        if (error.code !== 'CHECKSUM') throw error;
        await resident.evict();
      }
    }
    resident.cache?.close();
    resident.cache = undefined;
    return undefined;
  }

  /** The open cache of the file that this URL was; whatever fails here is as if there were none. */
  async #keptOfUrl() {
    try {
      const key = await lastSeen(this.#url);
      return key && (await BlockCache.open(key, undefined, this.#url, this.#options.cacheBytes));
    } catch {
      return undefined;
    }
  }

  async #openCache(key, storage) {
    try {
      const { cacheBytes } = this.#options;
      this.#resident.cache = await BlockCache.open(key, this.#fetcher.length, this.#url, cacheBytes);
    } catch (error) {
      if (storage === 'auto') return;
      const locked = error.name === 'NoModificationAllowedError';
      throw new NearfieldError(
        locked ? 'LOCKED' : 'QUOTA',
        locked ? 'another tab has the kept bytes of this file open' : `the cache cannot be opened: ${error.message}`,
        { hint: "storage: 'auto' goes without", cause: error },
      );
    }
  }
}
