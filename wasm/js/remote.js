// A `.near` file at a URL, searched while most of it is still there: the module is asked, says which bytes it wants,
// gets them from the cache or the network, and is asked again.
//
// Answers the same questions as a file in memory (`Whole`), with promises. Once every byte is here it *is* one, with
// its answers. Bytes that fail their checksum are fetched once more; if that fails too, the file has changed (its
// front differs) or is damaged. What was fetched is kept, also by calls that fail.

import { BlockCache, PAGE_BYTES, cachePossible, keyOf, lastSeen } from './blocks.js';
import { NearfieldError } from './errors.js';
import { Fetcher } from './fetcher.js';
import { align, intersect, merge, split, subtract, total } from './ranges.js';

/** Enough of a file to know which one it is: the checksum of its front and its length. */
const HEADER_BYTES = 64;
const PIECE_BYTES = 1 << 20;
const LANES = 6;
const STAGES = ['header', 'centroids', 'codes', 'rows'];

const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);

export class Remote {
  /** Where fetched bytes are kept. @type {'memory' | 'opfs'} */
  storage = 'memory';
  #url;
  #module;
  #options;
  #fetcher;
  #cache;
  #header;
  /** What answers while bytes are missing, and the ranges it has. */
  #part;
  #held = [];
  /** Where a whole file is gathered, and the ranges that are there. */
  #upload;
  #filled = [];
  /** What answers once all bytes are here. */
  #whole;
  #stage = 'header';
  #changed;
  #prefetched = false;
  #broken;
  #closing = new AbortController();

  /**
   * @param {object} module the WebAssembly module: its classes `Part` and `Upload`
   * @param {string} url absolute
   * @param {import('./index.js').OpenOptions} [options]
   */
  static async open(module, url, options = {}) {
    const remote = new Remote();
    remote.#module = module;
    remote.#url = url;
    remote.#options = options;
    const deliver = (offset, bytes) => remote.#deliver(offset, bytes);
    remote.#fetcher = new Fetcher(url, { ...options, deliver });
    try {
      await remote.#open(remote.#either(options.signal));
      return remote;
    } catch (error) {
      // Without a code it is a trap, and nothing may enter that module again.
      if (error.code !== undefined) remote.free();
      throw error;
    }
  }

  async #open(signal) {
    const { storage = 'auto', allowFullDownload } = this.#options;
    const keep = storage !== 'memory' && cachePossible();
    if (storage === 'opfs' && !keep)
      throw new NearfieldError('QUOTA', 'files of the browser (OPFS) cannot be written here', {
        hint: "they need a worker and a secure page (https or localhost); storage: 'auto' goes without",
      });
    if (keep && (await this.#openKept(signal))) return;
    for (let attempt = 1; ; attempt += 1) {
      const { bytes, whole } = await this.#fetcher.first({ allowFullDownload, signal });
      if (whole) return this.#openWhole(whole, signal);
      if (keep) await this.#openCache(keyOf(bytes), storage);
      this.#begin(bytes);
      try {
        await this.#ask('info', [], signal);
        return;
      } catch (error) {
        // A front that was replaced between its two requests; the second attempt reads one file.
        if (error.code !== 'CHECKSUM' || attempt === 2) throw error;
        await this.evict();
      }
    }
  }

  /** Opens what is kept of this URL, if the file is still that one or the network is away. */
  async #openKept(signal) {
    try {
      const key = await lastSeen(this.#url);
      if (!key) return false;
      this.#cache = await BlockCache.open(key, undefined, this.#url);
    } catch {
      return false;
    }
    const [front] = this.#cache.covered([[0, this.#cache.length]]);
    if (front?.[0] === 0) {
      const bytes = this.#cache.read(0, Math.min(front[1], PIECE_BYTES));
      if (await this.#isStill(keyOf(bytes), signal, true)) {
        this.storage = 'opfs';
        this.#fetcher.length = this.#cache.length;
        this.#begin(bytes);
        try {
          await this.#ask('info', [], signal);
          return true;
        } catch (error) {
          if (error.code !== 'CHECKSUM') throw error;
          await this.evict();
        }
      }
    }
    this.#fetcher.length = undefined;
    this.#cache?.close();
    this.#cache = undefined;
    return false;
  }

  async #openCache(key, storage) {
    try {
      this.#cache = await BlockCache.open(key, this.#fetcher.length, this.#url);
      this.storage = 'opfs';
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

  #begin(bytes) {
    this.#part?.free();
    this.#held = [];
    this.#header = keyOf(bytes);
    this.#part = new this.#module.Part(this.#url, this.#fetcher.length);
    this.#deliver(0, bytes);
    this.#stage = 'centroids';
  }

  async #openWhole(response, signal) {
    const begin = (length) => (this.#upload = new this.#module.Upload(length));
    await this.#fetcher.whole(response, begin, signal);
    this.#switch();
  }

  /** True if the first bytes at the URL are still those of `key`. */
  async #isStill(key, signal, orAway = false) {
    try {
      const { bytes } = await this.#fetcher.first({ bytes: HEADER_BYTES, signal });
      return keyOf(bytes) === key;
    } catch (error) {
      // A reply with a status comes from a server that is there.
      if (orAway && error.code === 'NETWORK' && error.got === undefined) return true;
      if (error.code === 'CHANGED' || error.code === 'FORMAT' || orAway && error.code === 'RANGE_UNSUPPORTED') return false;
      throw error;
    }
  }

  #either(signal) {
    return signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal;
  }

  #deliver(offset, bytes) {
    // What was under way when the file became whole, or was closed, comes too late.
    if (this.#closing.signal.aborted || this.#whole) return;
    if (this.#upload) {
      this.#upload.write(offset, bytes);
      this.#filled = merge([...this.#filled, [offset, offset + bytes.length]]);
    } else this.#supply(offset, bytes);
    this.#cache?.write(offset, bytes);
    this.#progress();
  }

  #supply(offset, bytes) {
    this.#part.supply(offset, bytes);
    this.#held = merge([...this.#held, [offset, offset + bytes.length]]);
  }

  #progress() {
    const { bytes, requests, totalBytes, offlineReady } = this.netStats();
    const stage = this.#whole ? 'ready' : this.#stage;
    this.#options.onProgress?.({ stage, bytes, totalBytes, requests, offlineReady });
  }

  /** Makes `ask` of the part until it has what it wants; of the whole file once that is here. */
  async #ask(method, args, signal, cost = {}) {
    const mended = new Set();
    while (true) {
      if (this.#closing.signal.aborted) throw new NearfieldError('CLOSED', 'the snapshot was closed');
      if (this.#broken) throw this.#broken;
      if (this.#whole) return this.#whole[method](...args);
      try {
        const answer = this.#part[method](...args);
        if (answer !== undefined) return answer;
      } catch (error) {
        if (error.code !== 'CHECKSUM' || error.offset === undefined) throw error;
        await this.#mend(error, mended, signal);
        continue;
      }
      const { bytes = 0, requests = 0 } = await this.#fetch(pairs(this.#part.wanted()), { signal });
      cost.bytesFetched = (cost.bytesFetched ?? 0) + bytes;
      cost.requests = (cost.requests ?? 0) + requests;
    }
  }

  /** Gets `ranges` into the part, from wherever they are. */
  async #fetch(ranges, how) {
    const missing = this.#take(align(merge(ranges), PAGE_BYTES, this.#fetcher.length));
    if (missing.length === 0) return {};
    if (this.#changed) throw this.#changed;
    try {
      return await this.#fetcher.read(missing, { ...how, signal: this.#either(how.signal) });
    } catch (error) {
      if (error.code === 'CHANGED') this.#changed = error;
      throw error;
    } finally {
      this.#cache?.flush();
      if (this.#part) this.#take(missing);
    }
  }

  /** Copies into the part what is here already of `ranges`; returns the rest. */
  #take(ranges) {
    const missing = () => subtract(ranges, this.#held);
    const copy = (from, source) => {
      for (const [start, end] of split(from, PIECE_BYTES)) this.#supply(start, source.read(start, end));
    };
    if (this.#upload) copy(intersect(missing(), this.#filled), this.#upload);
    if (this.#cache) copy(this.#cache.covered(missing()), this.#cache);
    return missing();
  }

  #forget(range) {
    this.#part.forget(...range);
    this.#held = subtract(this.#held, [range]);
    this.#filled = subtract(this.#filled, [range]);
    this.#cache?.forget(range);
  }

  /** Fetches a block that failed its checksum once more. */
  async #mend({ offset, length, ...error }, mended, signal) {
    const range = [offset, offset + length];
    this.#forget(range);
    if (mended.has(offset)) throw await this.#damaged(error, range, signal);
    mended.add(offset);
    await this.#fetch([range], { signal });
  }

  async #damaged(error, [position], signal) {
    if (await this.#isStill(this.#header, signal))
      return new NearfieldError('CHECKSUM', error.message, { position, hint: 'the file on the server is damaged' });
    const hint = 'open it again to read the new file';
    this.#changed = new NearfieldError('CHANGED', 'the file was replaced while it was read', { hint });
    return this.#changed;
  }

  #stageRanges(stage) {
    const stages = STAGES.slice(0, STAGES.indexOf(stage) + 1);
    return merge(stages.flatMap((name) => pairs(this.#part.stage_ranges(name))));
  }

  /**
   * Gets a stage here for searches without waiting, or offline; with `all` the snapshot then is a whole file.
   * @param {'codes' | 'rows' | 'all'} stage
   * @param {{ signal?: AbortSignal, background?: boolean }} [options] in the background searches go first
   */
  async download(stage, { signal, background = true } = {}) {
    if (this.#whole) return;
    const how = { signal: this.#either(signal), background };
    this.#stage = stage === 'codes' ? 'codes' : 'rows';
    if (stage === 'all') return this.#downloadAll(how);
    await this.#inPieces(this.#take(this.#stageRanges(stage)), () => this.#held, how);
    this.#progress();
  }

  async #downloadAll(how) {
    const { length } = this.#fetcher;
    if (!this.#upload) {
      this.#fetcher.afford(total(subtract(subtract([[0, length]], this.#held), this.#cache?.covered([[0, length]]) ?? [])));
      this.#upload = new this.#module.Upload(length);
      this.#part.copy_to(this.#upload);
      this.#filled = this.#held;
    }
    const missing = () => subtract([[0, length]], this.#filled);
    for (const [start, end] of split(this.#cache?.covered(missing()) ?? [], PIECE_BYTES)) {
      this.#upload.write(start, this.#cache.read(start, end));
      this.#filled = merge([...this.#filled, [start, end]]);
    }
    await this.#inPieces(missing(), () => this.#filled, how);
    if (this.#whole) return;
    const bad = () => pairs(this.#part.damaged(this.#upload));
    const [first, ...others] = bad();
    if (first) {
      [first, ...others].forEach((range) => this.#forget(range));
      await this.#inPieces(missing(), () => this.#filled, how);
      const [still] = this.#whole ? [] : bad();
      if (still) {
        this.#forget(still);
        throw await this.#damaged({ message: 'a block fails its checksum' }, still, how.signal);
      }
    }
    if (!this.#whole) this.#switch();
  }

  /** Fetches `ranges` in pieces, without those that arrive otherwise meanwhile. */
  async #inPieces(ranges, arrived, how) {
    this.#fetcher.afford(total(ranges));
    const pieces = split(ranges, PIECE_BYTES);
    const lane = async () => {
      while (pieces.length > 0 && !this.#whole) {
        if (this.#changed) throw this.#changed;
        const missing = subtract([pieces.shift()], arrived());
        if (missing.length > 0) await this.#fetcher.read(align(missing, PAGE_BYTES, this.#fetcher.length), how);
        this.#cache?.flush();
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  }

  #switch() {
    const upload = this.#upload;
    this.#upload = undefined;
    this.#filled = [];
    this.#whole = upload.finish(this.#url);
    this.#part?.free();
    this.#part = undefined;
    this.#progress();
  }

  /** Length and collections. */
  info() {
    return (this.#whole ?? this.#part).info();
  }

  /** As `Whole.search`, with `coverage`, and what it cost in `stats`. */
  async search(collection, vectors, asked, signal) {
    const cost = { bytesFetched: 0, requests: 0 };
    if (JSON.parse(asked).exact) await this.#gather(signal, cost);
    const found = await this.#ask('search', [collection, vectors, asked], signal, cost);
    this.#prefetch();
    return Object.assign(found, { stats: { ...found.stats, ...cost } });
  }

  get(collection, ids, asked, signal) {
    return this.#ask('get', [collection, ids, asked], signal);
  }

  scan(collection, segment, row, count, asked, signal) {
    return this.#ask('scan', [collection, segment, row, count, asked], signal);
  }

  count(collection, asked, signal) {
    return this.#ask('count', [collection, asked], signal);
  }

  /** Exact answers are half of a measurement: needs the whole file. */
  async recall(collection, vectors, asked, signal) {
    await this.#gather(signal);
    return this.#whole.recall(collection, vectors, asked);
  }

  explain(collection, vectors, asked, signal) {
    return this.#ask('explain', [collection, vectors, asked], signal);
  }

  /** Begins what is wanted in the background, if all of it may be fetched. Its failure is nobody's: searches ask again. */
  #prefetch() {
    const { prefetch = 'codes' } = this.#options;
    if (this.#prefetched || this.#whole || prefetch === 'none') return;
    this.#prefetched = true;
    this.download(prefetch).catch((error) => {
      // Without a code it comes from a module that is broken, which the next call has to tell.
      if (error.code === undefined) this.#broken = error;
    });
  }

  stats(collection, signal) {
    return this.#ask('stats', [collection], signal);
  }

  /** Everything, at once, for somebody who waits. */
  async #gather(signal, cost = {}) {
    const { bytes, requests } = this.#fetcher;
    await this.download('all', { signal, background: false });
    cost.bytesFetched = this.#fetcher.bytes - bytes;
    cost.requests = this.#fetcher.requests - requests;
  }

  /** What came over the network so far, and what is here. */
  netStats() {
    const { bytes, requests, length } = this.#fetcher;
    const residentBytes = this.#whole ? length : total(merge([...this.#held, ...this.#filled]));
    const cachedBytes = this.#cache?.bytes ?? 0;
    const here = () => subtract(this.#stageRanges('codes'), merge([...this.#held, ...(this.#cache?.covered([[0, length]]) ?? [])]));
    const offlineReady = Boolean(this.#whole) || (this.#stage !== 'header' && here().length === 0);
    return { storage: this.storage, bytes, requests, residentBytes, cachedBytes, totalBytes: length, offlineReady, complete: Boolean(this.#whole) };
  }

  /** Removes the kept bytes from disk; what is in memory goes on answering. */
  async evict() {
    const cache = this.#cache;
    this.#cache = undefined;
    this.storage = 'memory';
    await cache?.evict();
  }

  /** Ends everything that is under way. */
  free() {
    this.#closing.abort();
    this.#cache?.close();
    this.#cache = undefined;
    for (const owned of [this.#part, this.#whole, this.#upload]) owned?.free();
    this.#part = this.#whole = this.#upload = undefined;
  }
}
