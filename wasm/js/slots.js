// `SlotPool`: a pool of open files of the origin (OPFS), which the engine reads and writes synchronously. Used by
// `store.js` and by `wasm/src/slots.rs`; `listStores` and `removeFiles` are for `local.js`.
//
// The engine's own names are inside of the files (docs/internals/format.md, Slots); here they are only numbered. Handles
// are exclusive: while they are open no other context can open these files. Works in a worker only.

import { NearfieldError } from './errors.js';

/** Directory of the origin with one directory for each store. */
const STORES = 'nearfield-stores';
/** Files made at once, and how many must be free before a change: it makes fewer. */
const ADDED = 16;
const FREE_MIN = 16;
/** What the engine writes before any content: claimed early, so that a full quota is met here. */
const HEADER_BYTES = 8192;
/** Handles of a worker that just ended are given back a little later. */
const HANDLE_WAIT_MS = 3000;
const HANDLE_PAUSE_MS = 20;

/** Files that are open. Its synchronous methods are what `wasm/src/slots.rs` calls. */
export class SlotPool {
  #directory;
  #handles = [];

  /** Opens all files of a store, and makes the first ones. */
  static async open(name) {
    const pool = new SlotPool();
    try {
      const stores = await (await root()).getDirectoryHandle(STORES, { create: true });
      pool.#directory = await stores.getDirectoryHandle(name, { create: true });
      const files = [];
      for await (const file of pool.#directory.values()) files.push(file);
      const opened = await Promise.allSettled(files.map(openHandle));
      pool.#handles = opened.filter(({ value }) => value).map(({ value }) => value);
      const failed = opened.find(({ reason }) => reason);
      if (failed) throw failed.reason;
      if (files.length === 0) await pool.#add();
    } catch (error) {
      pool.close();
      throw typed(error);
    }
    return pool;
  }

  /** Makes files until there are enough for one change; `free` returns how many are free, and is called again. */
  async reserve(free) {
    while (free() < FREE_MIN) {
      try {
        await this.#add();
      } catch (error) {
        // Without more the engine says what it lacks, in words for the caller.
        if (error.name === 'QuotaExceededError') return;
        throw typed(error);
      }
    }
  }

  async #add() {
    const start = this.#handles.length;
    for (let number = start; number < start + ADDED; number += 1) {
      const name = await this.#unused(number);
      const file = await this.#directory.getFileHandle(name, { create: true });
      const handle = await openHandle(file);
      try {
        handle.truncate(HEADER_BYTES);
      } catch (error) {
        handle.close();
        await this.#directory.removeEntry(name);
        throw error;
      }
      this.#handles.push(handle);
    }
  }

  /** A name that no file has, near a number. */
  async #unused(number) {
    for (let suffix = ''; ; suffix += '+') {
      const name = `${String(number).padStart(4, '0')}${suffix}.slot`;
      const exists = await this.#directory.getFileHandle(name).then(() => true, () => false);
      if (!exists) return name;
    }
  }

  /** How many files there are. */
  count() {
    return this.#handles.length;
  }

  length(slot) {
    return this.#handles[slot].getSize();
  }

  read(slot, offset, out) {
    for (let done = 0; done < out.length; ) {
      const count = this.#handles[slot].read(out.subarray(done), { at: offset + done });
      if (!(count > 0)) throw problem('ShortReadError', `slot ${slot} ends at ${offset + done}`);
      done += count;
    }
  }

  write(slot, offset, bytes) {
    for (let done = 0; done < bytes.length; ) {
      const count = this.#handles[slot].write(bytes.subarray(done), { at: offset + done });
      if (!(count > 0)) throw problem('QuotaExceededError', `slot ${slot} takes no more bytes`);
      done += count;
    }
  }

  truncate(slot, length) {
    this.#handles[slot].truncate(length);
  }

  flush(slot) {
    this.#handles[slot].flush();
  }

  /** Gives the files back. */
  close() {
    for (const handle of this.#handles) handle.close();
    this.#handles = [];
  }
}

/** The stores of this origin in order of their names, each with the bytes of its files. */
export async function listStores() {
  const found = [];
  const stores = await directoryOfStores();
  for await (const [name, directory] of stores?.entries() ?? []) found.push({ name, bytes: await bytesOf(directory) });
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function bytesOf(directory) {
  let bytes = 0;
  try {
    for await (const file of directory.values()) bytes += (await file.getFile()).size;
  } catch (error) {
    // It is being deleted.
    if (error.name !== 'NotFoundError') throw typed(error);
  }
  return bytes;
}

/** Removes the files of a store that is not open; returns whether there was one. */
export async function removeFiles(name) {
  const stores = await directoryOfStores();
  try {
    await stores?.removeEntry(name, { recursive: true });
    return stores !== undefined;
  } catch (error) {
    if (error.name === 'NotFoundError') return false;
    throw typed(error);
  }
}

async function directoryOfStores() {
  try {
    return await (await root()).getDirectoryHandle(STORES);
  } catch (error) {
    if (error.name === 'NotFoundError') return undefined;
    throw typed(error);
  }
}

function root() {
  return navigator.storage.getDirectory();
}

async function openHandle(file) {
  const give_up = performance.now() + HANDLE_WAIT_MS;
  for (;;) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== 'NoModificationAllowedError') throw error;
      if (performance.now() > give_up) {
        const hint = 'close the other tab, or wait until it is gone';
        throw new NearfieldError('LOCKED', 'the files of the store are open elsewhere', { cause: error, hint });
      }
      await new Promise((resolve) => setTimeout(resolve, HANDLE_PAUSE_MS));
    }
  }
}

/** What the browser threw, with a code. */
function typed(error) {
  if (error instanceof NearfieldError) return error;
  const full = error.name === 'QuotaExceededError';
  const message = `the files of the store: ${error.name}: ${error.message}`;
  return new NearfieldError(full ? 'QUOTA' : 'IO', message, { cause: error });
}

function problem(name, message) {
  return Object.assign(new Error(message), { name });
}
