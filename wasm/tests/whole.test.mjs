// A whole file in Node: every question to it, compared with what the fixture is known to hold.

import assert from 'node:assert/strict';
import test from 'node:test';

import { open } from '../dist/index.js';
import { QUERY, dates, fixture } from './fixture.mjs';

for (const version of ['v1', 'v2', 'v4', 'v5']) {
  test(`an export of ${version} gives the known answer, scores to the last bit`, async () => {
    const { bytes, answer } = await fixture(version);
    for (const source of [bytes, new Blob([bytes]), new Uint8Array(bytes)]) {
      const snapshot = await open(source);
      const hits = await snapshot.collection('a').search(QUERY, { mode: 'exact' });
      assert.deepEqual(hits.map(({ id, score }) => ({ id, score })), answer);
      assert.equal(hits.approx, false);
      assert.equal(hits.coverage, 1);
      await snapshot.close();
    }
  });

  test(`all points of ${version} are got, counted and scanned as they are`, async () => {
    const { bytes, points } = await fixture(version);
    const collection = (await open(bytes)).collection('a');
    assert.equal(collection.size, points.size);
    assert.equal(await collection.count(), points.size);
    const ids = [...points.keys()];
    const rows = await collection.get([...ids, 'unknown'], { vectors: true });
    assert.deepEqual(rows.missing, ['unknown']);
    const scanned = [];
    for await (const row of collection.scan({ vectors: true, batchSize: 7 })) scanned.push(row);
    assert.equal(scanned.length, points.size);
    for (const { id, vector, metadata } of [...rows, ...scanned]) {
      assert.deepEqual({ vector, metadata }, points.get(id), String(id));
    }
  });
}

test('dates, negative ids and duplicates of format 2 are what they are', async () => {
  const { bytes } = await fixture('v5');
  const { answer, counts, points } = await dates();
  const collection = (await open(bytes)).collection('dates');
  for (const mode of ['exact', 'balanced']) {
    const hits = await collection.search(QUERY, { mode });
    assert.deepEqual(hits.map(({ id, score }) => ({ id, score })), answer);
  }
  for (const [filter, count] of counts) assert.equal(await collection.count(filter), count, JSON.stringify(filter));
  const scanned = [];
  for await (const { id, vector, metadata } of collection.scan({ vectors: true })) {
    scanned.push([id, { vector, metadata }]);
  }
  assert.deepEqual(new Map(scanned), points);
  assert.equal(scanned.length, 36);
});
