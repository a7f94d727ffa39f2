// A real trap in background work of a store in memory. In a file of its own, so in a process of its own: after a trap
// the package loads its modules anew, and the class below is that of the first loading.

import assert from 'node:assert/strict';
import test from 'node:test';

import { create } from '../dist/index.js';
import { Store } from '../dist/nearfield_store.js';
import { DIM, rowsOf } from './points.mjs';
import { trapOnce } from './trap.mjs';

test('a trap in background work is told to the next call, and a new store works', async () => {
  const collection = await create({ dim: DIM, metric: 'l2' });
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
