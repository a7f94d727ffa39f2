// Calls that cannot be carried out: each gets its code and says where, and the snapshot lives on.

import assert from 'node:assert/strict';
import test from 'node:test';

import { NearfieldError, open } from '../dist/index.js';
import { QUERY, fixture } from './fixture.mjs';

const { bytes, answer } = await fixture('v2');

async function refused(call, code, fields = {}) {
  const error = await call().then(
    () => assert.fail(`expected ${code}`),
    (error) => error,
  );
  assert.ok(error instanceof NearfieldError, String(error.stack ?? error));
  assert.equal(error.code, code, error.message);
  for (const [name, value] of Object.entries(fields)) assert.deepEqual(error[name], value, `${name}: ${error.message}`);
  return error;
}

test('what is wrong with a call is said before it reaches the engine, which answers the next one', async () => {
  const collection = (await open(bytes)).collection();
  const search = (query, options) => () => collection.search(query, options);
  await refused(search([1, 2, 3]), 'DIMENSION', { expected: '4 elements', got: 3 });
  await refused(search('abcd'), 'DIMENSION');
  await refused(search([1, NaN, 3, 4]), 'NON_FINITE', { position: 1 });
  await refused(search([1, 2, 3, 1e300]), 'NON_FINITE', { position: 3 });
  await refused(search([1, 2, '3', 4]), 'NON_FINITE', { position: 2 });
  await refused(search([3e38, 3e38, 3e38, 3e38]), 'NON_FINITE');
  for (const k of [0, -1, 1.5, 1e9, NaN, '10', null]) await refused(search(QUERY, { k }), 'PARAMETER');
  await refused(search(QUERY, { ef: 0 }), 'PARAMETER');
  await refused(search(QUERY, { mode: 'quick' }), 'PARAMETER');
  await refused(search(QUERY, { include: ['text'] }), 'PARAMETER');
  await refused(() => collection.searchMany(new Float32Array(6)), 'DIMENSION');
  for (const id of [1.5, 2 ** 53, -(2 ** 53), 2n ** 64n, -(2n ** 63n) - 1n, '', 'x'.repeat(257), null, {}]) {
    await refused(() => collection.get([1, id]), 'ID', { position: 1 });
  }
  await refused(() => collection.get(7), 'ID');
  const hits = await collection.search(QUERY, { mode: 'exact' });
  assert.equal(hits[0].id, answer[0].id);
});

test('errors in filters name the place', async () => {
  const collection = (await open(bytes)).collection();
  const filtered = (where) => () => collection.count(where);
  await refused(filtered({ and: [{ n: 1 }, { n: { less: 1 } }] }), 'FILTER', { position: 'and[1].n.less' });
  await refused(filtered({ n: { lt: NaN } }), 'FILTER', { position: 'n.lt' });
  await refused(filtered({ n: { in: [1, undefined] } }), 'FILTER', { position: 'n.in[1]' });
  await refused(filtered({ n: { eq: new Date() } }), 'FILTER', { position: 'n.eq' });
  await refused(filtered({ unknown: 1 }), 'FILTER');
  await refused(filtered('n < 1'), 'FILTER');
  const endless = {};
  endless.not = endless;
  await refused(filtered(endless), 'FILTER');
  assert.ok((await collection.count({ n: { lt: 2n ** 60n } })) > 0);
});

test('a file that is none, is cut, damaged or of a later version gets its own code', async () => {
  const changed = (offset) => {
    const copy = new Uint8Array(bytes.slice(0));
    copy[offset] ^= 0x10;
    return copy;
  };
  await refused(() => open(new ArrayBuffer(0)), 'FORMAT');
  await refused(() => open(new ArrayBuffer(1000)), 'FORMAT');
  await refused(() => open(bytes.slice(0, 5000)), 'FORMAT');
  await refused(() => open(changed(8)), 'VERSION');
  await refused(() => open(changed(70)), 'CHECKSUM');
  await refused(() => open('file.near'), 'PARAMETER');
  for (let offset = 64; offset < bytes.byteLength; offset += 97) await neverWrong(changed(offset));
});

/** A damaged file is refused, at the latest by the question that meets the damage, or answers as before. */
async function neverWrong(source) {
  try {
    const collection = (await open(source)).collection();
    const hits = await collection.search(QUERY, { mode: 'exact' });
    assert.deepEqual(hits.map(({ id, score }) => ({ id, score })), answer);
  } catch (error) {
    assert.ok(['CHECKSUM', 'FORMAT', 'NOT_FOUND'].includes(error.code), error.stack);
  }
}

test('a name that is not there lists those that are', async () => {
  const snapshot = await open(bytes);
  assert.throws(() => snapshot.collection('b'), { code: 'NOT_FOUND', expected: 'one of ["a"]', got: '"b"' });
});

test('a closed snapshot is CLOSED, also for calls under way', async () => {
  const snapshot = await open(bytes);
  const collection = snapshot.collection();
  const under_way = collection.search(QUERY);
  await snapshot.close();
  await refused(() => under_way, 'CLOSED');
  await refused(() => collection.search(QUERY), 'CLOSED');
  await refused(() => collection.count(), 'CLOSED');
});

test('an aborted call is not carried out, the others are', async () => {
  const collection = (await open(bytes)).collection();
  const aborter = new AbortController();
  const first = collection.search(QUERY);
  const second = collection.search(QUERY, { signal: aborter.signal });
  aborter.abort();
  await refused(() => second, 'ABORTED');
  await refused(() => collection.count(undefined, { signal: aborter.signal }), 'ABORTED');
  assert.equal((await first).length, 10);
  await refused(() => open(bytes, { signal: aborter.signal }), 'ABORTED');
});

test('progress counts the bytes of a file that is read in pieces', async () => {
  const stages = [];
  await open(new Blob([bytes]), { onProgress: (progress) => stages.push(progress) });
  const { bytes: done, totalBytes, offlineReady } = stages.at(-1);
  assert.deepEqual(stages.map(({ stage }) => stage), ['all', 'ready']);
  assert.deepEqual([done, totalBytes, offlineReady], [bytes.byteLength, bytes.byteLength, true]);
});
