// Options that a call does not have are refused by name, in every call that takes options.

import assert from 'node:assert/strict';
import test from 'node:test';

import { create, open } from '../dist/index.js';
import { QUERY, fixture } from './fixture.mjs';

const { bytes } = await fixture('v2');

test('a misspelt option is refused by its name, with those there are', async () => {
  const snapshot = await open(bytes);
  const points = snapshot.collection();
  const written = await create({ dim: 2, storage: 'memory' });
  const calls = {
    open: () => open(bytes, { wasmURL: 'x' }),
    'open of a URL': () => open('http://127.0.0.1:9/x.near', { prefetsh: 'all' }),
    search: () => points.search(QUERY, { kk: 3 }),
    searchMany: () => points.searchMany(QUERY, { filter: { n: 1 } }),
    explain: () => points.explain(QUERY, { K: 3 }),
    recall: () => points.recall({ include: ['metadata'] }),
    get: () => points.get([1], { vector: true }),
    scan: () => points.scan({ batchsize: 3 }).next(),
    count: () => points.count(undefined, { where: { n: 1 } }),
    download: () => snapshot.download('all', { background: true }),
    create: () => create({ dim: 2, dimension: 3 }),
    upsert: () => written.upsert({ vectors: [1, 2], id: [1] }),
  };
  const names = {
    open: 'wasmURL', 'open of a URL': 'prefetsh', search: 'kk', searchMany: 'filter', explain: 'K', recall: 'include', get: 'vector',
    scan: 'batchsize', count: 'where', download: 'background', create: 'dimension', upsert: 'id',
  };
  for (const [name, call] of Object.entries(calls)) {
    const outcome = await call().then(() => 'accepted', (error) => error);
    assert.equal(outcome.code, 'PARAMETER', `${name}: ${outcome.message ?? outcome}`);
    assert.ok(outcome.message.endsWith(`got ${names[name]}`), `${name}: ${outcome.message}`);
  }
  assert.equal(await written.count(), 0);
  await Promise.all([snapshot.close(), written.close()]);
});

test('options that are no object are refused', async () => {
  const points = (await open(bytes)).collection();
  for (const options of [3, 'k', null, [1]]) await assert.rejects(points.search(QUERY, options), { code: 'PARAMETER' }, String(options));
});
