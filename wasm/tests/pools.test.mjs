// A store over files of this machine, through the interface for files of an origin: what is freed closes them.

import assert from 'node:assert/strict';
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { instanceOf } from './glue.mjs';
import { DIM, rowsOf } from './points.mjs';

const FILES = 32;

/** What js/slots.js is in a browser: files that are open, by number. */
class FilePool {
  #files;

  constructor(directory) {
    const { O_RDWR, O_CREAT } = constants;
    this.#files = Array.from({ length: FILES }, (_none, number) => openSync(join(directory, String(number)), O_RDWR | O_CREAT));
  }

  count() {
    return this.#files.length;
  }

  length(slot) {
    return fstatSync(this.#files[slot]).size;
  }

  read(slot, offset, out) {
    assert.equal(readSync(this.#files[slot], out, 0, out.length, offset), out.length);
  }

  write(slot, offset, bytes) {
    assert.equal(writeSync(this.#files[slot], bytes, 0, bytes.length, offset), bytes.length);
  }

  truncate(slot, length) {
    ftruncateSync(this.#files[slot], length);
  }

  flush(slot) {
    fsyncSync(this.#files[slot]);
  }

  close() {
    this.#files.forEach(closeSync);
  }
}

test('a store that is freed lets go of its files, and another one finds what was written', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'nearfield-pools-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { Store } = await instanceOf('nearfield_store');
  const open = (pool) => Store.open(pool, 'kept', DIM, 'l2', 'f32', '{}', Date.now(), 1);
  const pools = [];
  // In a function of its own, so that nothing here holds a pool.
  const write = (start) => {
    const pool = new FilePool(directory);
    const store = open(pool);
    const { ids, vectors } = rowsOf(start, start + 100);
    store.upsert(ids, vectors, undefined, Date.now());
    assert.equal(store.info().size, start + 100);
    store.free();
    pool.close();
    pools.push(new WeakRef(pool));
  };
  for (let round = 0; round < 5; round += 1) write(round * 100);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const held = () => pools.filter((pool) => pool.deref() !== undefined).length;
  for (let turn = 0; turn < 1_000 && held() > 0; turn += 1) {
    await new Promise(setImmediate);
    collect();
  }
  assert.equal(held(), 0);
});
