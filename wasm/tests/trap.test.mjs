// A real trap inside a real call: the instance is given up, the file opened again, later calls answered.

import assert from 'node:assert/strict';
import test from 'node:test';

import { loadEngine } from '../dist/engine.js';
import { create, open } from '../dist/index.js';
import { Whole } from '../dist/nearfield_wasm.js';
import { QUERY, fixture } from './fixture.mjs';
import { DIM, rowsOf } from './points.mjs';
import { trapOnce } from './trap.mjs';

test('after a trap the call gets WASM, and every snapshot of the realm answers again', async () => {
  const { bytes, answer } = await fixture('v2');
  const [first, second] = [await open(bytes), await open(new Blob([bytes]))];
  const ask = (snapshot) => snapshot.collection().search(QUERY, { mode: 'exact' });
  trapOnce(Whole, 'search');
  await assert.rejects(ask(first), { code: 'WASM', message: /out of bounds/ });
  for (const snapshot of [first, second, first]) {
    assert.deepEqual((await ask(snapshot)).map(({ id, score }) => ({ id, score })), answer);
  }
  await Promise.all([first.close(), second.close()]);
});

test('a trap in background work is told to the next call, and a new store works', async () => {
  const collection = await create({ dim: DIM, metric: 'l2' });
  const { Store } = await loadEngine('writing');
  const trapped = trapOnce(Store, 'step');
  assert.equal((await collection.upsert(rowsOf(0, 10))).inserted, 10);
  await trapped;
  await new Promise(setImmediate);
  await assert.rejects(collection.count(), { code: 'WASM', message: /out of bounds/ });
  await assert.rejects(collection.count(), { code: 'WASM', message: /the store that was in memory/ });
  await collection.close();
  const other = await create({ dim: DIM, metric: 'l2' });
  await other.upsert(rowsOf(0, 10));
  assert.equal(await other.count(), 10);
  await other.close();
});
