// `Resident`: the bytes of a file at a URL that are present, in the module that searches them, in the buffer of a
// whole file, or on disk. Made by `opening.js`, used by `Remote`.
//
// Fetches nothing and asks nothing of the module: that is `Remote`. Which bytes are in the module the module says; what
// the cache says it has is tried, and is missing if it cannot be read.

import { keyOf } from './kept.js';
import { intersect, merge, split, subtract } from './ranges.js';

const PIECE_BYTES = 1 << 20;

/** `[start, end]` of each range in a flat list, as the module gives them. */
export const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

export class Resident {
  /** Checksum and length of the file, by which it is known again. @type {string} */
  key;
  /** What is kept on disk. @type {import('./blocks.js').BlockCache | undefined} */
  cache;
  /** What answers while bytes are missing. */
  part;
  /** What answers once all bytes are here. */
  whole;
  #module;
  #url;
  #length;
  /** Where a whole file is gathered, and the ranges that are there. */
  #upload;
  #filled = [];
  #freed = false;

  constructor(module, url) {
    this.#module = module;
    this.#url = url;
  }

  /** Starts with the first bytes of a file of `length` bytes, and without any of another. */
  begin(bytes, length) {
    this.part?.free();
    this.key = keyOf(bytes);
    this.#length = length;
    this.part = new this.#module.NearFile(this.#url, length);
    this.deliver(0, bytes);
  }

  /** Starts with memory for all of a file of `length` bytes. */
  beginWhole(length) {
    this.#length = length;
    this.#upload = new this.#module.Upload(length);
  }

  /** Takes bytes that came over the network. */
  deliver(offset, bytes) {
    // What was under way when the file became whole, or was closed, comes too late.
    if (this.#freed || this.whole) return;
    if (this.#upload) this.#fill(offset, bytes);
    else this.part.supply(offset, bytes);
    this.cache?.write(offset, bytes);
  }

  #fill(offset, bytes) {
    this.#upload.write(offset, bytes);
    this.#filled = merge([...this.#filled, [offset, offset + bytes.length]]);
  }

  /** What is in memory. @returns {import('./ranges.js').Range[]} */
  get held() {
    if (this.whole) return this.#all;
    return merge([...this.#answering, ...this.#filled]);
  }

  /** What is in memory or on disk. */
  get here() {
    return merge([...this.held, ...(this.cache?.covered(this.#all) ?? [])]);
  }

  get #all() {
    return [[0, this.#length]];
  }

  get #answering() {
    return this.part ? pairs(this.part.held()) : [];
  }

  /** Copies into the part what is here already of `ranges`; returns the rest. */
  take(ranges) {
    const missing = () => subtract(ranges, this.#answering);
    const supply = (offset, bytes) => this.part.supply(offset, bytes);
    if (this.#upload) this.#copy(intersect(missing(), this.#filled), this.#upload, supply);
    if (this.cache) this.#copy(this.cache.covered(missing()), this.cache, supply);
    return missing();
  }

  #copy(ranges, source, put) {
    for (const [start, end] of split(ranges, PIECE_BYTES)) {
      const bytes = source.read(start, end);
      if (bytes) put(start, bytes);
    }
  }

  /** Takes bytes out, everywhere, so that they are fetched again. */
  forget(range) {
    this.part.forget(...range);
    this.#filled = subtract(this.#filled, [range]);
    this.cache?.forget(range);
  }

  /** Gathers a whole file from now on; returns what is missing of it. */
  gather() {
    if (!this.#upload) {
      this.#upload = new this.#module.Upload(this.#length);
      this.part.copy_to(this.#upload);
      this.#filled = this.#answering;
    }
    const missing = () => subtract(this.#all, this.#filled);
    if (this.cache) this.#copy(this.cache.covered(missing()), this.cache, (...piece) => this.#fill(...piece));
    return missing();
  }

  /** What is there of the whole file that is gathered. */
  get gathered() {
    return this.#filled;
  }

  /** Blocks of a gathered file that are not what was written. */
  get damaged() {
    return pairs(this.part.damaged(this.#upload));
  }

  /** All is here: the whole file answers. */
  finish() {
    const upload = this.#upload;
    this.#upload = undefined;
    this.#filled = [];
    this.whole = upload.finish(this.#url);
    this.part?.free();
    this.part = undefined;
  }

  /** Removes the kept bytes from disk; what is in memory stays. */
  async evict() {
    const { cache } = this;
    this.cache = undefined;
    await cache?.evict();
  }

  /** Lets go of all without freeing it: nothing may enter a module that trapped. */
  abandon() {
    this.#freed = true;
    this.cache?.close();
    this.cache = this.part = this.whole = this.#upload = undefined;
  }

  free() {
    const owned = [this.part, this.whole, this.#upload];
    this.abandon();
    for (const one of owned) one?.free();
  }
}
