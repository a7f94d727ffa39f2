// The class `Collection` of an open snapshot: checks a call, sends it through the `Channel`, and makes hits and rows
// of the answer. Returned by `Snapshot`.

import { hitsOf, rowsOf } from './answers.js';
import { checkCount, checkIds, checkOptions, checkVectors, describe, rowsAsked, searchAsked } from './asked.js';
import { refusal } from './errors.js';

/** Queries of `searchMany` in one call: short enough that an abort is soon seen. */
const QUERIES_PER_CALL = 64;
/** Rows of a scan in one call. */
const SCAN_ROWS = 1024;

/** Options of the calls. */
const COMMON = ['signal', 'field', 'k', 'where', 'mode', 'ef', 'nprobe', 'rerank'];
const SEARCH = [...COMMON, 'include'];
const RECALL = [...COMMON, 'sample', 'queries', 'seed'];
const GET = ['signal', 'field', 'vectors', 'metadata'];
const SCAN = [...GET, 'where', 'batchSize'];

/** Ends scans whose iterator was garbage collected. */
const forgotten = new FinalizationRegistry(({ channel, scan }) => channel.tell('endScan', { scan }));

/** Points with vectors, ids and metadata, to be searched. */
export class Collection {
  #channel;
  /** Numbers of scans, never used again: not by an engine that is started again either. */
  #scans = 0;

  /** Made by `Snapshot.collection`. */
  constructor(channel, info) {
    this.#channel = channel;
    this.name = info.name;
    this.size = info.size;
    this.fields = info.fields;
    const shown = info.fields.find(({ name }) => name === '') ?? info.fields[0];
    this.dim = shown.dim;
    this.metric = shown.metric;
  }

  /** The vector field that a call is about; the one without a name, if it names none. */
  #field({ field = '' }) {
    const found = this.fields.find(({ name }) => name === field);
    if (found) return found;
    const names = this.fields.map(({ name }) => name);
    throw refusal('NOT_FOUND', 'field', `one of ${JSON.stringify(names)}`, describe(field));
  }

  /** Elements of the vectors that come with rows, on request. */
  #rowsDim(options) {
    return options.vectors ? this.#field(options).dim : 0;
  }

  #call(method, arguments_, options) {
    return this.#channel.call(method, { collection: this.name, ...arguments_ }, options);
  }

  /**
   * The nearest points to one vector, best first, ties by id.
   * @param {Float32Array | number[]} query
   * @param {import('./index.d.ts').SearchOptions} [options]
   */
  async search(query, options = {}) {
    checkOptions(options, SEARCH);
    const vectors = checkVectors(query, this.#field(options).dim);
    const [hits] = await this.#ask(vectors, searchAsked(options), options);
    return hits;
  }

  /** As `search`, for each row of `queries` (row-major). */
  async searchMany(queries, options = {}) {
    checkOptions(options, SEARCH);
    const { dim } = this.#field(options);
    const vectors = checkVectors(queries, dim, true);
    const asked = searchAsked(options);
    const answers = [];
    const step = QUERIES_PER_CALL * dim;
    for (let start = 0; start < vectors.length; start += step) {
      answers.push(...(await this.#ask(vectors.slice(start, start + step), asked, options)));
    }
    return answers;
  }

  async #ask(vectors, asked, options) {
    const begun = performance.now();
    const found = await this.#call('search', { vectors, asked }, options);
    const ms = performance.now() - begun;
    const { approx, scored, coverage = 1, stats: cost } = found;
    const none = { bytesFetched: 0, requests: 0, cellsSearched: 0, cellsTotal: 0, reranked: 0 };
    return hitsOf(found, this.#field(options), { approx, coverage, stats: { ms, scored, ...none, ...cost } });
  }

  /** Points by id, in the order asked for; `missing` lists the ids that are not there. */
  async get(ids, options = {}) {
    checkOptions(options, GET);
    const wanted = checkIds(ids);
    const dim = this.#rowsDim(options);
    const found = await this.#call('get', { ids: wanted, asked: rowsAsked(options) }, options);
    return Object.assign(rowsOf(found, dim), { missing: Array.from(found.missing, (at) => wanted[at]) });
  }

  /** All points, or those that pass a filter, as they are when the loop begins; fetched as it goes on. */
  scan(options = {}) {
    const scan = (this.#scans += 1);
    const rows = this.#pages(scan, options);
    forgotten.register(rows, { channel: this.#channel, scan });
    return rows;
  }

  async *#pages(scan, options) {
    checkOptions(options, SCAN);
    const dim = this.#rowsDim(options);
    const asked = rowsAsked(options);
    const count = checkCount('batchSize', options.batchSize ?? SCAN_ROWS);
    let place = [0, 0];
    try {
      while (place !== undefined) {
        const found = await this.#call('scan', { scan, place, count, asked }, options);
        place = found.next;
        yield* rowsOf(found, dim);
      }
    } finally {
      // A loop that was left early: a store keeps what its next page would be of.
      if (place !== undefined) this.#channel.tell('endScan', { scan });
    }
  }

  /** How many points there are, or pass a filter. */
  async count(where, options = {}) {
    checkOptions(options, ['signal']);
    return this.#call('count', { asked: rowsAsked({ where }) }, options);
  }

  /** Recall of what `search` answers, measured against exact answers, over sampled vectors or `queries`. */
  async recall(options = {}) {
    checkOptions(options, RECALL);
    const { queries } = options;
    const { dim } = this.#field(options);
    const vectors = queries === undefined ? undefined : checkVectors(queries, dim, true);
    if (vectors?.length === 0) throw refusal('PARAMETER', 'queries', 'one vector or more', 'none');
    return this.#call('recall', { vectors, asked: searchAsked(options) }, options);
  }

  /** How a search is carried out and what it cost. */
  async explain(query, options = {}) {
    checkOptions(options, SEARCH);
    const vectors = checkVectors(query, this.#field(options).dim);
    return this.#call('explain', { vectors, asked: searchAsked(options) }, options);
  }

  /** Sizes and segments. */
  async stats() {
    return this.#call('stats', {});
  }
}
