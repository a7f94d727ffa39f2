// The cache of fetched bytes in the browser's private file system (OPFS): for each snapshot one file with the bytes
// at their places, and one that says from which URL they came and which of them are there.
//
// Only in a worker, where files can be written at once; one tab at a time has a snapshot's files open, others go
// without. Nothing here is trusted: the checksums of the format find what a crash or a disk has torn.

import { align, intersect, merge, subtract, total } from './ranges.js';

const DIRECTORY = 'nearfield-cache';
/** Bytes are kept by whole pages of this size. */
export const PAGE_BYTES = 4096;

const directory = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(DIRECTORY, { create: true });

/** Files can be written at once here. */
export const cachePossible = () =>
  Boolean(globalThis.navigator?.storage?.getDirectory && globalThis.FileSystemSyncAccessHandle);

/** What a snapshot's front says it is: checksum of the front, length of the file. @param {Uint8Array} header 64 bytes */
export function keyOf(header) {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const hex = (value, digits) => value.toString(16).padStart(digits, '0');
  return `${hex(view.getUint32(12, true), 8)}-${hex(view.getBigUint64(24, true), 1)}`;
}

function parse(text) {
  try {
    const { urls, length, have } = JSON.parse(text);
    return { urls, length, have: align(have, PAGE_BYTES, length) };
  } catch {
    return undefined;
  }
}

/** The text of a small file; none if a worker was writing it each time. */
async function textOf(handle) {
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    try {
      return await (await handle.getFile()).text();
    } catch {
      // A file that changed between the two steps cannot be read any more; a new look at it can.
    }
  }
  return '';
}

/** Every snapshot in the cache, as `[key, its record]`. */
async function records() {
  const found = [];
  for await (const [name, handle] of (await directory()).entries()) {
    if (!name.endsWith('.map')) continue;
    const record = parse(await textOf(handle));
    if (record) found.push([name.slice(0, -4), record]);
  }
  return found;
}

/** The key of the snapshot that `url` was when it was last open here. @param {string} url */
export async function lastSeen(url) {
  const found = (await records()).find(([, { urls }]) => urls.includes(url));
  return found?.[0];
}

/**
 * What is kept of files at URLs, for a page that shows it.
 * @returns {Promise<{key: string, urls: string[], bytes: number, totalBytes: number}[]>}
 */
export async function kept() {
  if (!globalThis.navigator?.storage?.getDirectory) return [];
  return (await records()).map(([key, { urls, length, have }]) => ({ key, urls, bytes: total(have), totalBytes: length }));
}

/** Removes what is kept under a key; false if it is open, here or in another tab. @param {string} key */
export async function forgetKept(key) {
  await remove(key);
  return !(await records()).some(([other]) => other === key);
}

async function remove(key) {
  const files = await directory();
  for (const name of [`${key}.map`, `${key}.data`]) await files.removeEntry(name).catch(() => {});
}

export class BlockCache {
  /** Bytes could not be kept for want of space; those kept before still serve. */
  full = false;
  #key;
  #data;
  #map;
  #record;

  /**
   * Opens the files of a snapshot, empty if they are new, and removes what `url` was before.
   * @param {string} key @param {number | undefined} length undefined: only if it is there already
   * @param {string} url
   * @returns {Promise<BlockCache>}
   * @throws a DOMException, `NoModificationAllowedError` if another tab has them open
   */
  static async open(key, length, url) {
    for (const [old, { urls }] of await records())
      if (old !== key && urls.includes(url)) await remove(old);
    const cache = new BlockCache();
    const files = await directory();
    const open = async (name) =>
      (await files.getFileHandle(name, { create: length !== undefined })).createSyncAccessHandle();
    cache.#key = key;
    cache.#map = await open(`${key}.map`);
    try {
      cache.#data = await open(`${key}.data`);
    } catch (error) {
      cache.#map.close();
      throw error;
    }
    const bytes = new Uint8Array(cache.#map.getSize());
    cache.#map.read(bytes, { at: 0 });
    cache.#record = parse(new TextDecoder().decode(bytes)) ?? { urls: [], length, have: [] };
    const { urls } = cache.#record;
    if (!urls.includes(url)) urls.push(url);
    // Named before its first bytes come, so that no file is left that nobody finds.
    cache.flush();
    return cache;
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

  /** Bytes of a covered range. @returns {Uint8Array} */
  read(start, end) {
    const bytes = new Uint8Array(end - start);
    return bytes.subarray(0, this.#data.read(bytes, { at: start }));
  }

  /** Keeps the whole pages of `bytes`. They are on disk after `flush`. */
  write(offset, bytes) {
    const { length, have } = this.#record;
    const first = Math.ceil(offset / PAGE_BYTES) * PAGE_BYTES;
    const end = offset + bytes.length;
    const last = end === length ? end : Math.floor(end / PAGE_BYTES) * PAGE_BYTES;
    if (this.full || last <= first) return;
    try {
      if (this.#data.write(bytes.subarray(first - offset, last - offset), { at: first }) < last - first)
        throw new Error('written in part');
      this.#record.have = merge([...have, [first, last]]);
    } catch {
      this.full = true;
    }
  }

  /** Takes out the pages that `range` touches, so that they are fetched again. */
  forget(range) {
    const { length, have } = this.#record;
    this.#record.have = subtract(have, align([range], PAGE_BYTES, length));
    this.flush();
  }

  /** Makes what was written last. */
  flush() {
    const text = new TextEncoder().encode(JSON.stringify(this.#record));
    try {
      this.#data.flush();
      this.#map.write(text, { at: 0 });
      this.#map.truncate(text.length);
      this.#map.flush();
    } catch {
      this.full = true;
    }
  }

  close() {
    this.flush();
    this.#data.close();
    this.#map.close();
  }

  /** Closes and removes the files. */
  async evict() {
    this.#data.close();
    this.#map.close();
    await remove(this.#key);
  }
}
