// `Remote`: a `.near` file at a URL, searched while most of it is not downloaded. A call of the module names the bytes
// it lacks; they come from the cache or the network, and the call is made again. Used by `Session`.
//
// Answers the same questions as a file in memory, with promises. Once every byte is here it *is* one, with its answers.
// Bytes that fail their checksum are fetched once more; if that fails too, the file has changed (its header differs) or
// is damaged. What was fetched is kept, also by calls that fail. The whole file is downloaded only on request: a
// collection without inverted lists is not searched in part.

import { NearfieldError } from './errors.js';
import { Fetcher } from './fetcher.js';
import { PAGE_BYTES } from './kept.js';
import { Opening, isStill } from './opening.js';
import { align, merge, split, subtract, total } from './ranges.js';
import { Resident, pairs } from './resident.js';

const PIECE_BYTES = 1 << 20;
const LANES = 6;
const NOTHING = { bytesFetched: 0, requests: 0 };
const STAGES = ['header', 'centroids', 'codes', 'rows'];

function add(cost, { bytes, requests }) {
  cost.bytesFetched += bytes;
  cost.requests += requests;
}

export class Remote {
  #options;
  #fetcher;
  #resident;
  /** Length and collections, once open. */
  #info;
  #stage = 'header';
  #changed;
  #prefetched = false;
  #broken;
  #closing = new AbortController();

  /**
   * @param {object} module the WebAssembly module: its classes `NearFile` and `Upload`
   * @param {string} url absolute
   * @param {import('./index.js').OpenOptions} [options]
   */
  static async open(module, url, options = {}) {
    const remote = new Remote();
    remote.#options = options;
    remote.#resident = new Resident(module, url);
    remote.#fetcher = new Fetcher(url, { ...options, deliver: (...piece) => remote.#deliver(...piece) });
    try {
      await remote.#open(url);
      return remote;
    } catch (error) {
      // Without a code it is a trap.
      if (error.code === undefined) remote.abandon();
      else remote.free();
      throw error;
    }
  }

  async #open(url) {
    const [fetcher, resident, signal] = [this.#fetcher, this.#resident, this.#either(this.#options.signal)];
    const ask = () => this.#ask('info', [], signal);
    this.#info = await new Opening(url, this.#options, { fetcher, resident, ask, signal }).run();
    this.#stage = 'centroids';
    this.#progress();
  }

  #either(signal) {
    return signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal;
  }

  #deliver(offset, bytes) {
    if (this.#closing.signal.aborted || this.#broken) return;
    try {
      this.#resident.deliver(offset, bytes);
    } catch (error) {
      // At once: other bytes may arrive before the waiting call gets this error.
      if (error.code === undefined) this.#break(error);
      throw error;
    }
    this.#progress();
  }

  /** After a trap: every later call fails as this one did. */
  #break(error) {
    this.#broken = error;
    this.#resident.abandon();
  }

  #progress() {
    if (this.#closing.signal.aborted || this.#broken) return;
    const { bytes, requests, totalBytes, offlineReady } = this.netStats();
    const stage = this.#resident.whole ? 'ready' : this.#stage;
    this.#options.onProgress?.({ stage, bytes, totalBytes, requests, offlineReady });
  }

  /** Before part or whole are used after a wait, in which they may have gone. */
  #checkOpen() {
    if (this.#broken) throw this.#broken;
    if (this.#closing.signal.aborted) throw new NearfieldError('CLOSED', 'the snapshot was closed');
  }

  /** Makes `ask` of the part until it has what it wants; of the whole file once that is here. */
  async #ask(method, args, signal, { cost = { ...NOTHING }, fetch = (missing) => this.#fetch(missing, { signal }) } = {}) {
    const mended = new Set();
    while (true) {
      this.#checkOpen();
      const { whole, part } = this.#resident;
      try {
        const answer = (whole ?? part)[method](...args);
        if (answer !== undefined) return answer;
      } catch (error) {
        if (error.code !== 'CHECKSUM' || error.offset === undefined) throw error;
        await this.#mend(error, mended, signal);
        continue;
      }
      const missing = this.#missing(pairs(part.wanted()));
      if (missing.length === 0) continue;
      add(cost, await fetch(missing));
    }
  }

  /** Of `ranges`, in whole pages, what the part cannot be given without the network. */
  #missing(ranges) {
    return this.#resident.take(align(merge(ranges), PAGE_BYTES, this.#fetcher.length));
  }

  /** Gets ranges that are missing into the part. */
  async #fetch(missing, how) {
    if (this.#changed) throw this.#changed;
    try {
      return await this.#fetcher.read(missing, { ...how, signal: this.#either(how.signal) });
    } catch (error) {
      if (error.code === 'CHANGED') this.#changed = error;
      throw error;
    } finally {
      this.#resident.cache?.flush();
      if (this.#resident.part) this.#resident.take(missing);
    }
  }

  /** Fetches a block that failed its checksum once more. */
  async #mend({ offset, length, ...error }, mended, signal) {
    const range = [offset, offset + length];
    this.#resident.forget(range);
    if (mended.has(offset)) throw await this.#damaged(error, range, signal);
    mended.add(offset);
    await this.#fetch(this.#missing([range]), { signal });
  }

  async #damaged(error, [position], signal) {
    if (await isStill(this.#fetcher, this.#resident.key, signal))
      return new NearfieldError('CHECKSUM', error.message, { position, hint: 'the file on the server is damaged' });
    const hint = 'open it again to read the new file';
    this.#changed = new NearfieldError('CHANGED', 'the file was replaced while it was read', { hint });
    return this.#changed;
  }

  #stageRanges(stage) {
    const stages = STAGES.slice(0, STAGES.indexOf(stage) + 1);
    return merge(stages.flatMap((name) => pairs(this.#resident.part.stage_ranges(name))));
  }

  /**
   * Gets a stage here for searches without waiting, or offline; with `all` the snapshot then is a whole file.
   * @param {'codes' | 'rows' | 'all'} stage
   * @param {{ signal?: AbortSignal, background?: boolean }} [options] in the background searches go first
   */
  async download(stage, { signal, background = true } = {}) {
    const resident = this.#resident;
    if (resident.whole) return;
    const how = { signal: this.#either(signal), background };
    this.#stage = stage === 'codes' ? 'codes' : 'rows';
    if (stage === 'all') return this.#downloadAll(how);
    await this.#inPieces(resident.take(this.#stageRanges(stage)), () => resident.held, how);
    this.#progress();
  }

  async #downloadAll(how) {
    const resident = this.#resident;
    this.#fetcher.afford(total(subtract([[0, this.#fetcher.length]], resident.here)));
    const gather = () => this.#inPieces(resident.gather(), () => resident.gathered, how);
    const damaged = () => {
      this.#checkOpen();
      return resident.whole ? [] : resident.damaged;
    };
    await gather();
    const wrong = damaged();
    if (wrong.length > 0) {
      wrong.forEach((range) => resident.forget(range));
      await gather();
      const [still] = damaged();
      if (still) {
        resident.forget(still);
        throw await this.#damaged({ message: 'a block fails its checksum' }, still, how.signal);
      }
    }
    if (resident.whole) return;
    resident.finish();
    this.#progress();
  }

  /** Fetches `ranges` in pieces, without those that arrive otherwise meanwhile. */
  async #inPieces(ranges, arrived, how) {
    this.#fetcher.afford(total(ranges));
    const pieces = split(ranges, PIECE_BYTES);
    const lane = async () => {
      while (pieces.length > 0 && !this.#resident.whole) {
        if (this.#changed) throw this.#changed;
        const missing = subtract([pieces.shift()], arrived());
        if (missing.length > 0) await this.#fetcher.read(align(missing, PAGE_BYTES, this.#fetcher.length), how);
        this.#resident.cache?.flush();
      }
    };
    const failed = (error) => {
      // The download has failed; the other lanes start no further piece.
      pieces.length = 0;
      throw error;
    };
    await Promise.all(Array.from({ length: LANES }, () => lane().catch(failed)));
  }

  /** Length and collections. */
  info() {
    return this.#info;
  }

  /** As of a file in memory, with `coverage`, and what it cost in `stats`. */
  async search(collection, vectors, asked, signal) {
    const cost = { ...NOTHING };
    if (JSON.parse(asked).exact) add(cost, await this.#gather(signal));
    const found = await this.#askSearch('search', [collection, vectors, asked], signal, cost);
    this.#prefetch();
    return Object.assign(found, { stats: { ...found.stats, ...cost } });
  }

  async explain(collection, vectors, asked, signal) {
    if (JSON.parse(asked).exact) await this.#gather(signal);
    return this.#askSearch('explain', [collection, vectors, asked], signal);
  }

  /** A search of cells; of a collection without cells it reads everything, only if the options allow it. */
  #askSearch(method, args, signal, cost) {
    const entry = this.#info.collections.find(({ name }) => name === args[0]);
    if (entry?.hasCells !== false) return this.#ask(method, args, signal, { cost });
    const fetch = (missing) => {
      if (this.#options.allowFullDownload) return this.#gather(signal);
      const message = `the file has no cells for ${JSON.stringify(args[0])}: a search would read all its vectors`;
      const hint = 'export it again, which adds cells, or pass allowFullDownload: true';
      const details = { expected: 'cells', got: `${total(missing)} more bytes`, hint };
      throw new NearfieldError('RANGE_UNSUPPORTED', message, details);
    };
    return this.#ask(method, args, signal, { cost, fetch });
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
    return this.#ask('recall', [collection, vectors, asked], signal);
  }

  stats(collection, signal) {
    return this.#ask('stats', [collection], signal);
  }

  /** Downloads everything at once, for a waiting call; returns the bytes and requests. */
  async #gather(signal) {
    const { bytes, requests } = this.#fetcher;
    await this.download('all', { signal, background: false });
    return { bytes: this.#fetcher.bytes - bytes, requests: this.#fetcher.requests - requests };
  }

  /** Begins the download in the background, if all of it may be fetched. A failure is ignored: searches fetch again. */
  #prefetch() {
    const { prefetch = 'codes' } = this.#options;
    if (this.#prefetched || this.#resident.whole || prefetch === 'none') return;
    this.#prefetched = true;
    this.download(prefetch).catch((error) => {
      // Without a code it comes from a module that is broken, which the next call has to tell.
      if (error.code === undefined) this.#break(error);
    });
  }

  /** Where fetched bytes are kept. @type {'memory' | 'opfs'} */
  get storage() {
    return this.#resident.cache?.alive ? 'opfs' : 'memory';
  }

  /** What came over the network so far, and what is here. */
  netStats() {
    const { bytes, requests, length } = this.#fetcher;
    const { cache, held, whole } = this.#resident;
    return {
      storage: this.storage,
      bytes,
      requests,
      residentBytes: total(held),
      cachedBytes: cache?.bytes ?? 0,
      totalBytes: length,
      offlineReady: this.#offlineReady,
      complete: Boolean(whole),
    };
  }

  /** Searches need the cells; where there are none, the rows. */
  get #offlineReady() {
    const { whole, here } = this.#resident;
    if (whole || !this.#info) return Boolean(whole);
    const stage = this.#info.collections.every(({ hasCells }) => hasCells) ? 'codes' : 'rows';
    return subtract(this.#stageRanges(stage), here).length === 0;
  }

  /** Removes the kept bytes from disk; what is in memory goes on answering. */
  async evict() {
    await this.#resident.evict();
  }

  /** Ends everything that is under way. */
  free() {
    this.#closing.abort();
    this.#resident.free();
  }

  /** As `free`, but without a call to the module, which trapped. */
  abandon() {
    this.#closing.abort();
    this.#resident.abandon();
  }
}
