// A real trap inside a real call: the instance is given up, the file opened again, later calls answered.

import assert from 'node:assert/strict';
import test from 'node:test';

import { open } from '../dist/index.js';
import { Whole } from '../dist/nearfield_wasm.js';
import { QUERY, fixture } from './fixture.mjs';
import { trapOnce } from './trap.mjs';

test('after a trap the call gets WASM, and every snapshot of the realm answers again', async () => {
  const { bytes, answer } = await fixture('v2');
  const [first, second] = [await open(bytes), await open(new Blob([bytes]))];
  const ask = (snapshot) => snapshot.collection().search(QUERY, { mode: 'exact' });
  trapOnce(Whole);
  await assert.rejects(ask(first), { code: 'WASM', message: /out of bounds/ });
  for (const snapshot of [first, second, first]) {
    assert.deepEqual((await ask(snapshot)).map(({ id, score }) => ({ id, score })), answer);
  }
  await Promise.all([first.close(), second.close()]);
});

test('a file larger than any memory is refused with its size, and nothing dies', async () => {
  const { bytes } = await fixture('v2');
  const snapshot = await open(bytes);
  const piece = new Blob([new Uint8Array(16 << 20)]);
  const huge = new Blob(Array.from({ length: 272 }, () => piece));
  await assert.rejects(open(huge), { code: 'QUOTA', message: /4563402752 bytes/ });
  assert.equal((await snapshot.collection().search(QUERY)).length, 10);
});
