// `LocalCollection`: a collection that is written in the browser; and the functions that create, open, list (`stores`)
// and remove (`deleteStore`) them. Checks the arguments and sends them to the worker. Not here: locks and files
// (locks.js, slots.js), and the engine (store.js).

import { checkCount, checkIds, checkOptions, checkVectors, describe } from './asked.js';
import { Channel } from './channel.js';
import { Collection } from './collection.js';
import { NearfieldError, refusal } from './errors.js';
import { takeLock } from './locks.js';
import { metadataTexts } from './metadata.js';
import { listStores, removeFiles } from './slots.js';
import { absolute } from './url.js';

const METRICS = ['cosine', 'dot', 'l2'];
const ENCODINGS = ['f32', 'f16'];
const DIM_MAX = 65_536;
/** What the engine and a directory can be called. */
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/;

/** A collection with `upsert` and `delete`. */
export class LocalCollection extends Collection {
  #channel;

  /** Made by `create`. */
  constructor(channel, info, storage) {
    super(channel, info);
    this.#channel = channel;
    this.storage = storage;
  }

  /**
   * Inserts or replaces points: all of them or none. Resolves when they are durable.
   * @param {{ids?: Array<number | bigint | string>, vectors: Float32Array | number[], metadata?: object}} rows
   *   without `ids` they are assigned; `metadata` is an array of objects or an object of arrays
   * @returns {Promise<{inserted: number, replaced: number, firstAssigned?: number}>}
   */
  async upsert(rows = {}) {
    checkOptions(rows, ['ids', 'vectors', 'metadata']);
    const { ids, vectors, metadata } = rows;
    const elements = checkVectors(vectors, this.dim, true);
    const count = elements.length / this.dim;
    const wanted = ids === undefined ? undefined : checkIds(ids);
    if (wanted !== undefined && wanted.length !== count) {
      throw refusal('ID', 'ids', `one for each of the ${count} vectors`, wanted.length);
    }
    const texts = metadataTexts(metadata, count);
    const { inserted, replaced, firstAssigned } = await this.#change('upsert', { ids: wanted, vectors: elements, texts });
    return firstAssigned === undefined || firstAssigned === null ? { inserted, replaced } : { inserted, replaced, firstAssigned };
  }

  /** Removes points; those that are not there are no error. Resolves when durable, with how many there were. */
  async delete(ids) {
    return (await this.#change('delete', { ids: checkIds(ids) })).deleted;
  }

  async #change(method, arguments_) {
    const report = await this.#channel.call(method, arguments_);
    this.size = report.size;
    return report;
  }

  /** Writes memory and log to a segment file. For opening fast; durability does not need it. */
  async flush() {
    await this.#channel.call('flush', {});
  }

  /** Everything as a `.near` file, for Python, the server and `open`. */
  async export() {
    const bytes = await this.#channel.call('export', {});
    return new Blob([bytes], { type: 'application/octet-stream' });
  }

  /** Ends the worker and gives the store back to other tabs. What was acknowledged stays. */
  async close() {
    // An engine that died has given everything back.
    await this.#channel.call('close', {}).catch(() => {});
    this.#channel.close();
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.close();
  }
}

/**
 * A collection to write to, in memory or in files of this origin: a new one, or the one of that name. Without
 * `storage` a name asks for files.
 * @param {import('./local.d.ts').CreateOptions} options
 * @returns {Promise<LocalCollection>}
 */
export async function create(options = {}) {
  const { worker, wasmUrl, ...wanted } = checkCreation(options);
  let opened = false;
  const channel = new Channel(worker, async (link) => {
    if (opened && wanted.storage === 'memory') {
      throw new NearfieldError('WASM', 'the engine stopped, and with it the store that was in memory', {
        hint: "storage: 'opfs' survives this",
      });
    }
    const info = await link.call('create', { ...wanted, wasmUrl, restarting: opened });
    opened = true;
    return info;
  });
  return new LocalCollection(channel, await channel.ready(), wanted.storage);
}

/**
 * The stores of this origin and the bytes of their files.
 * @returns {Promise<{name: string, bytes: number}[]>}
 */
export async function stores() {
  return listStores();
}

/** Removes a store for good, unless it is open (LOCKED); whether there was one. */
export async function deleteStore(name) {
  checkName(name);
  const release = await takeLock(name);
  try {
    return await removeFiles(name);
  } finally {
    release();
  }
}

function checkCreation(options) {
  checkOptions(options, ['dim', 'metric', 'store', 'fields', 'name', 'storage', 'worker', 'wasmUrl']);
  const { dim, metric = 'cosine', store = 'f32', fields = {}, name, storage, worker, wasmUrl } = options;
  checkCount('dim', dim, 1, DIM_MAX);
  oneOf('metric', metric, METRICS);
  oneOf('store', store, ENCODINGS);
  const place = storage ?? (name === undefined ? 'memory' : 'opfs');
  oneOf('storage', place, ['memory', 'opfs']);
  if (place === 'opfs') checkPersistence(name, worker);
  if (name !== undefined) checkName(name);
  const address = wasmUrl === undefined ? undefined : absolute('wasmUrl', wasmUrl);
  const declared = JSON.stringify(fields);
  return { dim, metric, store, fields: declared, name: name ?? 'memory', storage: place, worker, wasmUrl: address };
}

function checkPersistence(name, worker) {
  checkName(name);
  if (worker === false) throw refusal('PARAMETER', 'worker', 'a worker: only there files are written', 'false');
  if (typeof globalThis.navigator?.storage?.getDirectory !== 'function') {
    const hint = 'it needs HTTPS or localhost, and a browser with the origin private file system';
    const expected = "'memory'";
    const got = "'opfs', which this page does not have";
    throw new NearfieldError('PARAMETER', `storage: expected ${expected}, got ${got}`, { expected, got, hint });
  }
}

/** Refuses what cannot name a store. */
function checkName(name) {
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw refusal('PARAMETER', 'name', '1 to 100 of A-Z a-z 0-9 . _ - and no dot in front', describe(name));
  }
}

function oneOf(what, value, values) {
  if (!values.includes(value)) throw refusal('PARAMETER', what, `one of ${values.join(', ')}`, describe(value));
}
