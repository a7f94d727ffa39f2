// A collection whose vector fields are all named: `field` names the one to search.
//
// The file and the right answers are written by tests/tests/fields.rs, which is run if it has not been.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';

import { open } from '../dist/index.js';
import { serve } from './range_server.mjs';
import { writtenBy } from './written.mjs';

const HOME = writtenBy('fields', 'expected.json');
const METRICS = { image: 'distance', text: 'similarity' };
const DIMS = { image: 6, text: 4 };

const floatOf = (bits) => new Float32Array(Uint32Array.of(Number.parseInt(bits, 16)).buffer)[0];

/** Asks both fields, and everything else that means one. */
async function check(collection) {
  const expected = JSON.parse(await readFile(join(HOME, 'expected.json'), 'utf8'));
  assert.deepEqual(collection.fields.map(({ name, dim }) => [name, dim]), Object.entries(DIMS));
  for (const [field, { query, answer }] of Object.entries(expected)) {
    const options = { field, k: 5, mode: 'exact' };
    const scoreOf = (distance) => (field === 'image' ? Math.fround(Math.sqrt(distance)) : 0 - distance);
    const right = answer.map((line) => {
      const [id, bits] = line.split(' ');
      return { id: Number(id), score: scoreOf(floatOf(bits)), scoreKind: METRICS[field] };
    });
    const hits = await collection.search(query, options);
    assert.deepEqual(hits.map(({ id, score, scoreKind }) => ({ id, score, scoreKind })), right, field);
    const both = await collection.searchMany([...query, ...query], options);
    assert.deepEqual(both.map((hits) => hits.map(({ id }) => id)), [right, right].map((hits) => hits.map(({ id }) => id)));
    assert.equal((await collection.recall({ field, sample: 20, k: 5 })).n, 20);
    assert.ok((await collection.explain(query, options)).found > 0);
    const [{ id, vector }] = await collection.get([right[0].id], { vectors: true, field });
    assert.equal(vector.length, DIMS[field]);
    for await (const row of collection.scan({ vectors: true, field, where: { n: id } })) assert.deepEqual(row.vector, vector);
  }
  const lacking = { code: 'NOT_FOUND', expected: 'one of ["image","text"]' };
  const query = expected.text.query;
  await assert.rejects(collection.search(query), { ...lacking, got: '""' });
  await assert.rejects(collection.search(query, { field: 'sound' }), { ...lacking, got: '"sound"' });
  await assert.rejects(collection.get([1], { vectors: true }), lacking);
  await assert.rejects(collection.scan({ vectors: true }).next(), lacking);
  await assert.rejects(collection.search(query, { field: 'image' }), { code: 'DIMENSION', expected: '6 elements' });
  assert.deepEqual((await collection.get([1]))[0].metadata, { n: 1 });
}

test('each named field of a whole file is searched by itself, and must be named', async () => {
  const snapshot = await open(await readFile(join(HOME, 'named.near')));
  await check(snapshot.collection());
  await snapshot.close();
});

test('each named field of a file at a URL is searched by itself, from its parts', async (t) => {
  const bytes = await readFile(join(HOME, 'named.near'));
  const server = await serve(bytes);
  t.after(() => server.close());
  const snapshot = await open(server.url, { prefetch: 'none' });
  const collection = snapshot.collection();
  const { image } = JSON.parse(await readFile(join(HOME, 'expected.json'), 'utf8'));
  const [hit] = await collection.search(image.query, { field: 'image', k: 5, include: ['vector'], nprobe: 1_000, rerank: 50 });
  assert.equal(hit.id, Number(image.answer[0].split(' ')[0]));
  assert.equal(hit.vector.length, DIMS.image);
  assert.ok(!(await snapshot.stats()).complete, 'it was answered from parts');
  await check(collection);
  await snapshot.close();
});
