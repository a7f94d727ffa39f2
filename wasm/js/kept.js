// The cache directory of the browser's private file system (OPFS): for each snapshot one file with its bytes at their
// places, and one record with its URLs, the ranges it has, and the time of the last use. Finds, lists and removes
// these files (`cachePossible`, `lastSeen`, `forgetKept`); used by `opening.js`, `BlockCache` and the page.
//
// `BlockCache` reads and writes them. An open snapshot holds a lock on its files, so they are not removed.

import { align, total } from './ranges.js';

const DIRECTORY = 'nearfield-cache';
/** How locks begin that say what an open snapshot may keep. */
const ROOM = 'nearfield-room';
/** Bytes are kept by whole pages of this size. */
export const PAGE_BYTES = 4096;

/** Where the files are. @returns {Promise<FileSystemDirectoryHandle>} */
export const directory = async () =>
  (await navigator.storage.getDirectory()).getDirectoryHandle(DIRECTORY, { create: true });

/** Files can be written at once here. */
export const cachePossible = () =>
  Boolean(globalThis.navigator?.storage?.getDirectory && globalThis.FileSystemSyncAccessHandle);

/** What a snapshot's front says it is: checksum of the front, length of the file. @param {Uint8Array} header 64 bytes */
export function keyOf(header) {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const hex = (value, digits) => value.toString(16).padStart(digits, '0');
  return `${hex(view.getUint32(12, true), 8)}-${hex(view.getBigUint64(24, true), 1)}`;
}

/**
 * A record; undefined if it is torn.
 * @param {string} text
 * @returns {{ urls: string[], length: number, have: import('./ranges.js').Range[], used: number } | undefined}
 */
export function parse(text) {
  try {
    const { urls, length, have, used = 0 } = JSON.parse(text);
    const within = have.every(([start, end]) => start >= 0 && start < end && end <= length);
    return within && Array.isArray(urls) ? { urls, length, used, have: align(have, PAGE_BYTES, length) } : undefined;
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

/** Every snapshot of which there is a file, by key: its record, or undefined if that is torn or missing. */
async function found() {
  const all = new Map();
  for await (const [name, handle] of (await directory()).entries()) {
    const [key, kind] = name.split('.');
    if (kind === 'map') all.set(key, parse(await textOf(handle)));
    else if (!all.has(key)) all.set(key, undefined);
  }
  return all;
}

/** Those with a record, as `[key, record]`. */
const records = async () => [...(await found())].filter(([, record]) => record);

/** The key of the snapshot that `url` was when it was last open here. @param {string} url */
export async function lastSeen(url) {
  return (await records()).find(([, { urls }]) => urls.includes(url))?.[0];
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
  const files = await directory();
  for (const name of [`${key}.map`, `${key}.data`]) {
    const error = await files.removeEntry(name).catch((reason) => reason);
    if (error && error.name !== 'NotFoundError') return false;
  }
  return true;
}

/**
 * The bytes that open snapshots may keep, by key. They are in the names of locks, which end with their tab; an entry
 * in a file would outlive a killed tab.
 */
async function taken() {
  const { held } = await navigator.locks.query();
  const words = held.map(({ name }) => name.split(' ')).filter(([first]) => first === ROOM);
  return new Map(words.map(([, key, bytes]) => [key, Number(bytes)]));
}

/**
 * Takes `wanted` bytes of `most` for a snapshot that is open, or fewer if others that are open have taken the rest.
 * @returns {Promise<[number, () => void]>} how many, and a function that frees them
 */
export function takeRoom(key, url, wanted, most) {
  // One at a time, so that two do not take the same.
  return navigator.locks.request(DIRECTORY, async () => {
    const room = Math.min(wanted, most - (await makeRoom(key, url, most - wanted)));
    const giveBack = await new Promise((resolve, reject) => {
      const held = () => new Promise((release) => resolve(release));
      navigator.locks.request(`${ROOM} ${key} ${Math.max(room, 0)}`, { mode: 'shared' }, held).catch(reject);
    });
    return [room, giveBack];
  });
}

/**
 * Removes files without a record, the files of an earlier snapshot of `url`, and, least recently used first, what
 * other snapshots keep above `most` bytes. @returns {Promise<number>} bytes that others keep or may keep
 */
async function makeRoom(key, url, most) {
  const open = await taken();
  const sizeOf = (other, record) => Math.max(total(record?.have ?? []), open.get(other) ?? 0);
  const others = [...(await found())].filter(([other]) => other !== key);
  others.sort(([, a], [, b]) => (a?.used ?? 0) - (b?.used ?? 0));
  let bytes = others.reduce((sum, [other, record]) => sum + sizeOf(other, record), 0);
  for (const [other, record] of others) {
    const useless = !record || record.urls.includes(url);
    if ((useless || bytes > most) && (await forgetKept(other))) bytes -= sizeOf(other, record);
  }
  return bytes;
}
