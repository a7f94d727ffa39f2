// A real trap in background work of a store in memory.

import assert from 'node:assert/strict';
import test from 'node:test';

import { create } from '../dist/index.js';
import { DIM, rowsOf } from './points.mjs';
import { trapOnce } from './trap.mjs';

test('the next call reports a trap in background work, and a new store works', async () => {
  const collection = await create({ dim: DIM, metric: 'l2' });
  const trapped = trapOnce('store_step');
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
