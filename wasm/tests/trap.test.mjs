// A real trap inside a real call: the instance is given up, the file opened again, later calls answered.

import assert from 'node:assert/strict';
import test from 'node:test';

import { open } from '../dist/index.js';
import { QUERY, fixture } from './fixture.mjs';
import { trapOnce } from './trap.mjs';

test('after a trap the call gets WASM, and every snapshot of the realm answers again', async () => {
  const { bytes, answer } = await fixture('v2');
  const [first, second] = [await open(bytes), await open(new Blob([bytes]))];
  const ask = (snapshot) => snapshot.collection().search(QUERY, { mode: 'exact' });
  trapOnce('nearfile_search');
  await assert.rejects(ask(first), { code: 'WASM', message: /out of bounds/ });
  for (const snapshot of [first, second, first]) {
    assert.deepEqual((await ask(snapshot)).map(({ id, score }) => ({ id, score })), answer);
  }
  await Promise.all([first.close(), second.close()]);
});
