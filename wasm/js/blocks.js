// `BlockCache`: the disk cache of one snapshot's fetched bytes, its two files (`kept.js`) open while the snapshot is.
// Opened by `opening.js`, used by `Resident`.
//
// Only in a worker, where files can be written at once; one tab at a time has a snapshot's files open, others go
// without. It is a hint: no call but `open` fails. What cannot be read is not there, what cannot be written is not kept,
// and a cache that fails is empty from then on. Nothing here is trusted: the checksums of the format find what a
// crash or a disk has torn.

import { PAGE_BYTES, directory, forgetKept, parse, takeRoom } from './kept.js';
import { align, intersect, merge, subtract, total } from './ranges.js';

/** Bytes of all snapshots together, unless `cacheBytes` says otherwise. */
const CACHE_BYTES = 2 ** 30;
/** Room for so much is made at a time. */
const STEP_BYTES = 64 << 20;
/** URLs by which a snapshot is found again, the newest last: signed ones differ at each visit. */
const URLS = 8;

export class BlockCache {
  /** Nothing more is kept, for want of space; what was kept before still serves. */
  #full = false;
  #key;
  #url;
  #data;
  #map;
  #record;
  /** Bytes of all snapshots, and those that this one may have of them. */
  #most;
  #room;
  #giveBack;
  #makingRoom = false;

  /**
   * Opens the files of a snapshot, empty if they are new, and removes what `url` was before.
   * @param {string} key @param {number | undefined} length undefined: only if it is there already
   * @param {string} url
   * @param {number} [most] bytes that all snapshots keep together
   * @returns {Promise<BlockCache>}
   * @throws a DOMException, `NoModificationAllowedError` if another tab has them open
   */
  static async open(key, length, url, most = CACHE_BYTES) {
    const cache = new BlockCache();
    [cache.#key, cache.#url, cache.#most] = [key, url, most];
    const files = await directory();
    const handle = async (name) =>
      (await files.getFileHandle(name, { create: length !== undefined })).createSyncAccessHandle();
    try {
      cache.#map = await handle(`${key}.map`);
      cache.#data = await handle(`${key}.data`);
      cache.#read(length);
      await cache.#makeRoom();
      return cache;
    } catch (error) {
      cache.#close();
      throw error;
    }
  }

  #read(length) {
    const bytes = new Uint8Array(this.#map.getSize());
    this.#map.read(bytes, { at: 0 });
    const record = parse(new TextDecoder().decode(bytes)) ?? { urls: [], length, have: [] };
    if (record.length === undefined) throw new Error('its record is torn');
    if (total(record.have) > this.#most) record.have = [];
    // What no record tells of would keep its space: of a torn one, or more than there may be.
    if (record.have.length === 0) this.#data.truncate(0);
    const others = record.urls.filter((url) => url !== this.#url);
    this.#record = { ...record, urls: [...others, this.#url].slice(-URLS), used: Date.now() };
    // The record is written before the first bytes arrive, so that every file with bytes can be found.
    this.flush();
  }

  /** False once it failed. */
  get alive() {
    return this.#data !== undefined;
  }

  get length() {
    return this.#record.length;
  }

  get bytes() {
    return total(this.#record.have);
  }

  /** Which parts of `ranges` are here; both merged. @param {import('./ranges.js').Range[]} ranges */
  covered(ranges) {
    return intersect(ranges, this.#record.have);
  }

  /** Bytes of a covered range; undefined, and they are no longer covered, if they cannot be read. */
  read(start, end) {
    const bytes = new Uint8Array(end - start);
    try {
      if (this.#data.read(bytes, { at: start }) === bytes.length) return bytes;
      // The file is shorter than its record says.
      this.forget([start, end]);
    } catch {
      this.#fail();
    }
    return undefined;
  }

  /** Keeps the whole pages of `bytes`. They are on disk after `flush`. */
  write(offset, bytes) {
    const { length, have } = this.#record;
    const first = Math.ceil(offset / PAGE_BYTES) * PAGE_BYTES;
    const end = offset + bytes.length;
    const last = end === length ? end : Math.floor(end / PAGE_BYTES) * PAGE_BYTES;
    if (this.#full || last <= first) return;
    const grown = merge([...have, [first, last]]);
    if (total(grown) > this.#room) {
      this.#makeMoreRoom();
      return;
    }
    try {
      if (this.#data.write(bytes.subarray(first - offset, last - offset), { at: first }) < last - first)
        throw new Error('written in part');
      this.#record.have = grown;
    } catch {
      this.#full = true;
    }
  }

  /** Takes room for what is here and a step more; others give way. */
  async #makeRoom() {
    const wanted = Math.min(this.length, this.bytes + STEP_BYTES, this.#most);
    this.#giveBack?.();
    [this.#room, this.#giveBack] = await takeRoom(this.#key, this.#url, wanted, this.#most);
    if (!this.alive) this.#giveBack();
  }

  /** What comes before others gave way is not kept; nothing is, if they do not. */
  async #makeMoreRoom() {
    if (this.#makingRoom) return;
    this.#makingRoom = true;
    const before = this.#room;
    await this.#makeRoom().catch(() => {});
    this.#makingRoom = false;
    this.#full ||= this.#room <= before;
  }

  /** Takes out the pages that `range` touches, so that they are fetched again. */
  forget(range) {
    const { length, have } = this.#record;
    this.#record.have = subtract(have, align([range], PAGE_BYTES, length));
    this.flush();
  }

  /** Makes what was written last. */
  flush() {
    if (!this.alive) return;
    const text = new TextEncoder().encode(JSON.stringify(this.#record));
    try {
      this.#data.flush();
      this.#map.write(text, { at: 0 });
      this.#map.truncate(text.length);
      this.#map.flush();
    } catch {
      this.#full = true;
    }
  }

  /** From now on it is empty; the files are left to the next visit. */
  #fail() {
    this.#full = true;
    this.#record.have = [];
    this.#close();
  }

  #close() {
    this.#full = true;
    for (const handle of [this.#data, this.#map]) {
      try {
        handle?.close();
      } catch {
        // The file is gone; so is what it held open.
      }
    }
    this.#data = this.#map = undefined;
    this.#giveBack?.();
  }

  close() {
    this.flush();
    this.#close();
  }

  /** Closes and removes the files. */
  async evict() {
    this.#close();
    await forgetKept(this.#key).catch(() => {});
  }
}
