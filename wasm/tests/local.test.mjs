// A store in memory, in Node: changes, their answers, exports, and every way to call it wrongly.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { create, open } from '../dist/index.js';
import { DIM, rowsOf, vectorOf } from './points.mjs';

const refused = (promise, code, expected = {}) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.name, 'NearfieldError');
    assert.equal(error.code, code, error.message);
    for (const [name, value] of Object.entries(expected)) assert.deepEqual(error[name], value, name);
    return true;
  });

const drained = async (rows) => {
  for await (const _row of rows);
};

const filled = async (count) => {
  const collection = await create({ dim: DIM, metric: 'l2' });
  await collection.upsert(rowsOf(0, count));
  return collection;
};

test('what is written is found, replaced and deleted', async () => {
  const collection = await create({ dim: DIM, metric: 'l2' });
  assert.equal(collection.storage, 'memory');
  assert.deepEqual(await collection.upsert(rowsOf(0, 100)), { inserted: 100, replaced: 0 });
  assert.deepEqual(await collection.upsert(rowsOf(50, 120)), { inserted: 20, replaced: 50 });
  assert.equal(collection.size, 120);
  const [nearest] = await collection.search(vectorOf(7), { k: 1, include: ['metadata', 'vector'] });
  assert.deepEqual(
    { ...nearest },
    { id: 7, score: 0, scoreKind: 'distance', metadata: { parity: 'odd', n: 7 }, vector: vectorOf(7) },
  );
  assert.equal(await collection.delete([7, 8, 'unknown']), 2);
  assert.equal(collection.size, 118);
  assert.equal(await collection.count({ parity: { eq: 'odd' } }), 59);
  const rows = await collection.get([7, 9]);
  assert.deepEqual(rows.missing, [7]);
  await collection.close();
});

test('ids are integers of 64 bits, negative ones too', async () => {
  const collection = await create({ dim: 1, metric: 'l2' });
  const ids = [-(2n ** 63n), -(2n ** 53n), -(2 ** 53 - 1), -1, 0, 2n ** 64n - 1n];
  await collection.upsert({ ids, vectors: [1, 2, 3, 4, 5, 6] });
  const rows = await collection.get([-1, -1n, ...ids]);
  assert.deepEqual(rows.map((row) => row.id), [-1, -1, ...ids]);
  const hits = await collection.search([0], { k: 6 });
  assert.deepEqual(hits.map((hit) => hit.id), ids);
  await collection.close();
});

test('ids are assigned where there are none, and metadata may be rows with large integers', async () => {
  const collection = await create({ dim: 2 });
  const metadata = [{ a: 2n ** 60n, b: ['x', null] }, null, undefined];
  const report = await collection.upsert({ vectors: [1, 0, 0, 1, 1, 1], metadata });
  assert.equal(report.inserted, 3);
  const first = report.firstAssigned;
  const rows = await collection.get([first, first + 1, first + 2]);
  assert.deepEqual(rows.map((row) => row.metadata), [metadata[0], undefined, undefined]);
  await collection.close();
});

test('checkpoints, merges and an export change no answer', async () => {
  const count = 6_000;
  const collection = await create({ dim: DIM, metric: 'cosine' });
  const ask = (of) => of.search(vectorOf(3), { k: 20, mode: 'exact', where: { parity: { eq: 'odd' } } });
  const plain = (hits) => hits.map(({ id, score }) => ({ id, score }));
  for (let start = 0; start < count; start += 1_500) {
    await collection.upsert(rowsOf(start, start + 1_500));
    if (start === 1_500) await collection.flush();
  }
  await collection.delete([0, 1, 2]);
  const before = plain(await ask(collection));
  await collection.flush();
  assert.deepEqual(plain(await ask(collection)), before);
  const exported = await collection.export();
  assert.ok(exported instanceof Blob);
  const snapshot = await open(exported);
  assert.equal(snapshot.collection().size, count - 3);
  assert.deepEqual(plain(await ask(snapshot.collection())), before);
  await snapshot.close();
  await collection.close();
});

test('a scan shows the rows of the moment it began, whatever is written meanwhile', async () => {
  const count = 3_000;
  const collection = await filled(count);
  const seen = [];
  for await (const { id, vector, metadata } of collection.scan({ vectors: true, batchSize: 500 })) {
    assert.deepEqual(vector, vectorOf(id));
    assert.equal(metadata.n, id);
    seen.push(id);
    if (seen.length % 500 !== 1) continue;
    // Rows before and behind the place of the scan move, go and come.
    const { ids, vectors } = rowsOf(seen.length * 10, seen.length * 10 + 100);
    await collection.upsert({ ids: ids.map((id) => (id * 7) % 4_000), vectors });
    await collection.delete([2_999 - seen.length, seen.length]);
    await collection.flush();
  }
  assert.deepEqual(seen.sort((a, b) => a - b), rowsOf(0, count).ids);
  assert.notEqual(collection.size, count);
  await collection.close();
});

test('what a scan keeps is given back at its end, when it is left, refused, aborted or forgotten', async () => {
  const collection = await filled(25);
  const kept = async () => (await collection.stats()).scans;
  const begun = async (options) => {
    const rows = collection.scan({ batchSize: 10, ...options });
    await rows.next();
    return rows;
  };
  for await (const { id } of collection.scan({ batchSize: 10 })) assert.equal(await kept(), id < 20 ? 1 : 0);
  const left = await begun();
  assert.equal(await kept(), 1);
  await left.return();
  assert.equal(await kept(), 0);
  const aborter = new AbortController();
  const aborted = await begun({ signal: aborter.signal });
  aborter.abort();
  await refused(drained(aborted), 'ABORTED');
  assert.equal(await kept(), 0);
  await refused(begun({ where: { parity: { near: 1 } } }), 'FILTER');
  assert.equal(await kept(), 0);
  await begun();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  for (let turn = 0; turn < 1_000 && (await kept()) > 0; turn += 1) {
    collect();
    await new Promise(setImmediate);
  }
  assert.equal(await kept(), 0, 'the scan has ended');
  await collection.close();
});

test('a call that is wrong says how, changes nothing, and the next one works', async () => {
  const collection = await filled(10);
  const { ids, vectors } = rowsOf(10, 12);
  const nan = vectors.slice();
  nan[DIM + 3] = NaN;
  await refused(collection.upsert({ ids, vectors: nan }), 'NON_FINITE', { position: DIM + 3 });
  await refused(collection.upsert({ ids, vectors: vectors.slice(1) }), 'DIMENSION');
  await refused(collection.upsert({ ids: [1], vectors }), 'ID', { got: 1 });
  await refused(collection.upsert({ ids: [1, 1], vectors }), 'DUPLICATE_ID');
  await refused(collection.upsert({ ids: [1, -1.5], vectors }), 'ID', { position: 1 });
  await refused(collection.upsert(), 'DIMENSION');
  await refused(collection.upsert({ ids, vectors, metadata: [{}] }), 'METADATA');
  await refused(collection.upsert({ ids, vectors, metadata: { a: [1, NaN] } }), 'METADATA', { position: 1 });
  await refused(collection.upsert({ ids, vectors, metadata: [{}, 'x'] }), 'METADATA', { position: 1 });
  await refused(collection.delete('x'), 'ID');
  await refused(collection.search(vectorOf(1).slice(1)), 'DIMENSION', { got: DIM - 1 });
  await refused(collection.search(vectorOf(1), { k: 1e9 }), 'PARAMETER');
  assert.equal((await collection.search(vectorOf(1), { k: 1e6 })).length, 10);
  assert.equal(collection.size, 10);
  await collection.close();
  await refused(collection.search(vectorOf(1)), 'CLOSED');
  await refused(collection.upsert({ ids, vectors }), 'CLOSED');
});

test('a store that cannot be made says why', async () => {
  await refused(create(), 'PARAMETER');
  for (const dim of [0, 1.5, 65_537, '3']) await refused(create({ dim }), 'PARAMETER');
  await refused(create({ dim: 3, metric: 'euclid' }), 'PARAMETER');
  await refused(create({ dim: 3, storage: 'disk' }), 'PARAMETER');
  await refused(create({ dim: 3, name: '../up' }), 'PARAMETER');
  await refused(create({ dim: 3, dimension: 3 }), 'PARAMETER', { got: 'dimension' });
  // Node has no files of an origin.
  await refused(create({ dim: 3, name: 'kept' }), 'PARAMETER');
});
