// A file at a URL in Node, from real servers: every answer is compared with that of the same file opened whole.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';

import { open } from '../dist/index.js';
import { fixture } from './fixture.mjs';
import { instanceOf } from './glue.mjs';
import { serve } from './range_server.mjs';
import { KINDS, damaged, plain, query, sample, sections, withoutCells } from './sample.mjs';

let FILE;
let WHOLE;
before(async () => {
  FILE = sample();
  WHOLE = (await open(FILE.slice().buffer)).collection();
});

/** A server of the sample and a snapshot of it. */
async function remote(context, ways = {}, options = {}) {
  const server = await serve(FILE, ways);
  context.after(() => server.close());
  const snapshot = await open(server.url, { prefetch: 'none', ...options });
  context.after(() => snapshot.close());
  return { server, snapshot, collection: snapshot.collection() };
}
/** Less than all cells, which are few in the sample. */
const FEW = { mode: 'fast' };
const EVERYTHING = { nprobe: 1_000_000, rerank: 100 };
const WHERE = { cluster: { lt: 20 } };

/** Resolves when `happened()`; rejects if it does not within a minute. */
async function until(happened) {
  const deadline = Date.now() + 60_000;
  while (!(await happened())) {
    if (Date.now() > deadline) throw new Error(`it did not happen: ${happened}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('opening reads the front, and the first answer a part of the file', async (context) => {
  const { server, snapshot, collection } = await remote(context);
  assert.deepEqual(server.ranges(), ['bytes=0-65535']);
  assert.deepEqual([collection.name, collection.size, collection.dim], [WHOLE.name, WHOLE.size, WHOLE.dim]);
  const hits = await collection.search(query(1), FEW);
  assert.equal(hits.approx, true);
  assert.ok(hits.coverage > 0 && hits.coverage < 1);
  const { cellsSearched, cellsTotal, requests, bytesFetched } = hits.stats;
  assert.ok(cellsSearched > 0 && cellsSearched < cellsTotal);
  assert.deepEqual([requests + 1, bytesFetched + 65536], [server.seen.length, (await snapshot.stats()).bytes]);
  assert.ok(server.seen.length <= 12, `${server.seen.length} requests`);
  assert.equal(snapshot.storage, 'memory');
});

test('all cells with originals give the answers of the whole file, to the bit, plain and filtered', async (context) => {
  const { collection } = await remote(context);
  for (const where of [undefined, WHERE]) {
    for (let number = 0; number < 10; number += 1) {
      const exact = await WHOLE.search(query(number), { where, mode: 'exact' });
      const hits = await collection.search(query(number), { where, ...EVERYTHING });
      assert.deepEqual(plain(hits), plain(exact));
      assert.equal(hits.coverage, 1);
    }
  }
});

test('recall of the default is high, and of more cells higher', async (context) => {
  const { collection } = await remote(context);
  const recall = async (options) => {
    let found = 0;
    for (let number = 0; number < 30; number += 1) {
      const exact = new Set((await WHOLE.search(query(number), { mode: 'exact' })).map(({ id }) => id));
      found += (await collection.search(query(number), options)).filter(({ id }) => exact.has(id)).length;
    }
    return found / 300;
  };
  const [fast, balanced, all] = [await recall({ mode: 'fast' }), await recall(), await recall(EVERYTHING)];
  assert.ok(fast <= balanced && balanced <= all, `${fast} ${balanced} ${all}`);
  assert.ok(balanced >= 0.9, String(balanced));
  assert.equal(all, 1);
});

test('points, scans, counts, metadata and vectors are those of the whole file', async (context) => {
  const { collection } = await remote(context);
  const ids = [3, 20_100, 7_000, 99_999_999];
  const [mine, theirs] = await Promise.all([collection, WHOLE].map((one) => one.get(ids, { vectors: true })));
  assert.deepEqual(mine, theirs);
  assert.deepEqual(mine.missing, [99_999_999]);
  assert.equal(await collection.count(WHERE), await WHOLE.count(WHERE));
  const rows = async (one) => {
    const found = [];
    for await (const row of one.scan({ where: { cluster: { eq: 7 } }, batchSize: 100 })) found.push(row);
    return found;
  };
  assert.deepEqual(await rows(collection), await rows(WHOLE));
  const asked = { include: ['metadata', 'vector'] };
  const [hits, exact] = [await collection.search(query(2), { ...EVERYTHING, ...asked }), await WHOLE.search(query(2), { mode: 'exact', ...asked })];
  assert.deepEqual(hits.map(({ metadata, vector }) => [metadata, vector]), exact.map(({ metadata, vector }) => [metadata, vector]));
});

test('the exact mode downloads what is missing, once, and then is the whole file', async (context) => {
  const { server, snapshot, collection } = await remote(context);
  const hits = await collection.search(query(1), { mode: 'exact' });
  assert.deepEqual(plain(hits), plain(await WHOLE.search(query(1), { mode: 'exact' })));
  assert.equal(hits.approx, false);
  const { bytes, complete, offlineReady } = await snapshot.stats();
  assert.deepEqual([bytes, complete, offlineReady], [FILE.length, true, true]);
  const requests = server.seen.length;
  assert.deepEqual(plain(await collection.search(query(5))), plain(await WHOLE.search(query(5))));
  assert.deepEqual(await collection.recall({ sample: 20, seed: 1 }), await WHOLE.recall({ sample: 20, seed: 1 }));
  assert.equal(server.seen.length, requests);
});

test('a download that was aborted goes on where it ended', async (context) => {
  const ways = { hold: (start) => start > 3_000_000 };
  const { server, snapshot, collection } = await remote(context, ways);
  const stop = new AbortController();
  const download = snapshot.download('all', { signal: stop.signal });
  await until(async () => (await snapshot.stats()).bytes > 1_500_000 && server.seen.length > 3);
  stop.abort();
  await assert.rejects(download, { code: 'ABORTED' });
  await until(async () => (await snapshot.stats()).residentBytes > 1_000_000);
  server.ways.hold = undefined;
  await snapshot.download('all');
  const { bytes } = await snapshot.stats();
  assert.ok(bytes < FILE.length + 500_000, `${bytes} of ${FILE.length}`);
  assert.deepEqual(plain(await collection.search(query(1))), plain(await WHOLE.search(query(1))));
});

test('searches are answered while a download is under way', async (context) => {
  const ways = { hold: (start) => start > 4_000_000 };
  const { server, snapshot, collection } = await remote(context, ways);
  const stop = new AbortController();
  const download = snapshot.download('all', { signal: stop.signal });
  await until(() => server.seen.length > 3);
  const hits = await collection.search(query(1), FEW);
  assert.deepEqual(plain(hits), plain(await (await remote(context)).collection.search(query(1), FEW)));
  stop.abort();
  await assert.rejects(download, { code: 'ABORTED' });
});

test('codes are fetched after the first answer; then searches need no network', async (context) => {
  const reports = [];
  const { server, snapshot, collection } = await remote(context, {}, { prefetch: 'codes', onProgress: (report) => reports.push(report) });
  await collection.search(query(1), FEW);
  await until(async () => (await snapshot.stats()).offlineReady);
  server.seen.length = 0;
  server.ways.status = 500;
  for (let number = 2; number < 12; number += 1) {
    const { stats } = await collection.search(query(number));
    assert.equal(stats.requests, 0);
  }
  assert.equal(server.seen.length, 0);
  assert.equal(reports.at(-1).offlineReady, true);
  assert.deepEqual(reports.map(({ bytes }) => bytes), reports.map(({ bytes }) => bytes).sort((a, b) => a - b));
});

test('what maxBytes does not allow is not begun', async (context) => {
  const { server, snapshot, collection } = await remote(context, {}, { maxBytes: 600_000, prefetch: 'codes' });
  await collection.search(query(1), { mode: 'fast' });
  const asked = server.seen.length;
  await assert.rejects(collection.search(query(1), { mode: 'exact' }), { code: 'BUDGET', expected: 600_000 });
  await assert.rejects(snapshot.download('rows'), { code: 'BUDGET' });
  assert.equal(server.seen.length, asked);
  assert.deepEqual(plain(await collection.search(query(1), { mode: 'fast' })).length, 10);
});

test('without a server what is here still answers, the rest is NETWORK', async (context) => {
  const { server, collection } = await remote(context);
  const first = await collection.search(query(1), FEW);
  server.ways.drop = Infinity;
  assert.deepEqual(plain(await collection.search(query(1), FEW)), plain(first));
  await assert.rejects(collection.search(query(1), EVERYTHING), { code: 'NETWORK' });
  server.ways.drop = 0;
  const exact = await WHOLE.search(query(1), { mode: 'exact' });
  assert.deepEqual(plain(await collection.search(query(1), EVERYTHING)), plain(exact));
});

test('an aborted search ends, others go on', async (context) => {
  let held = true;
  const { server, collection } = await remote(context);
  await collection.search(query(1), FEW);
  server.ways.hold = () => held;
  const asked = server.seen.length;
  const stop = new AbortController();
  const slow = collection.search(query(7), { ...EVERYTHING, signal: stop.signal });
  await until(() => server.seen.length > asked);
  const here = await collection.search(query(1), FEW);
  assert.equal(here.stats.requests, 0);
  stop.abort();
  await assert.rejects(slow, { code: 'ABORTED' });
  held = false;
  assert.equal((await collection.search(query(7), EVERYTHING)).length, 10);
});

test('damaged bytes are fetched once more, then CHECKSUM; never an answer', async (context) => {
  const cells = sections(FILE, KINDS.cells);
  const { server, collection } = await remote(context);
  server.ways.file = damaged(FILE, cells);
  await assert.rejects(collection.search(query(1), EVERYTHING), { code: 'CHECKSUM' });
  server.ways.file = FILE;
  const exact = await WHOLE.search(query(1), { mode: 'exact' });
  assert.deepEqual(plain(await collection.search(query(1), EVERYTHING)), plain(exact));
});

test('bytes that were damaged once on their way do not show', async (context) => {
  const { server, collection } = await remote(context);
  const start = sections(FILE, KINDS.cells)[0][0] + 200_000;
  const bad = damaged(FILE, [[start, start + 200]]);
  let served = 0;
  server.ways.file = (from, to) => {
    const first = from <= start && to >= start && (served += 1) === 1;
    return first ? bad : FILE;
  };
  const exact = await WHOLE.search(query(1), { mode: 'exact' });
  assert.deepEqual(plain(await collection.search(query(1), EVERYTHING)), plain(exact));
  assert.equal(served, 2);
});

test('a download of damaged rows is CHECKSUM, and is completed once they are right', async (context) => {
  const { server, snapshot, collection } = await remote(context);
  const [[start, end]] = sections(FILE, KINDS.vectors);
  server.ways.file = damaged(FILE, [[start, end - 1_000_000]]);
  await assert.rejects(snapshot.download('all'), { code: 'CHECKSUM' });
  server.ways.file = FILE;
  await snapshot.download('all');
  assert.deepEqual(plain(await collection.search(query(1))), plain(await WHOLE.search(query(1))));
});

test('a file replaced by one of the same length is CHANGED', async (context) => {
  const { server, collection } = await remote(context);
  const first = await collection.search(query(1), FEW);
  const other = damaged(FILE, sections(FILE, KINDS.cells));
  other[12] ^= 1;
  server.ways.file = other;
  await assert.rejects(collection.search(query(1), EVERYTHING), { code: 'CHANGED' });
  const asked = server.seen.length;
  await assert.rejects(collection.search(query(1), EVERYTHING), { code: 'CHANGED' });
  assert.equal(server.seen.length, asked, 'it is not asked for again');
  assert.deepEqual(plain(await collection.search(query(1), FEW)), plain(first));
});

test('a file replaced by one of another length is CHANGED', async (context) => {
  const { server, collection } = await remote(context);
  server.ways.file = new Uint8Array(FILE.length + 4096);
  await assert.rejects(collection.search(query(1), EVERYTHING), { code: 'CHANGED' });
});

test('a server without ranges: RANGE_UNSUPPORTED, or the whole file where that is allowed', async (context) => {
  const ways = { noRanges: true };
  await assert.rejects(remote(context, ways), { code: 'RANGE_UNSUPPORTED' });
  const reports = [];
  const options = { allowFullDownload: true, onProgress: (report) => reports.push(report) };
  const { snapshot, collection } = await remote(context, ways, options);
  const hits = await collection.search(query(1));
  assert.deepEqual([plain(hits), hits.approx], [plain(await WHOLE.search(query(1))), false]);
  assert.equal((await snapshot.stats()).complete, true);
  assert.ok(reports.length > 10);
  assert.equal(reports.at(-1).stage, 'ready');
  const small = { allowFullDownload: true, maxBytes: 1_000_000 };
  await assert.rejects(remote(context, ways, small), { code: 'BUDGET' });
});

test('a compressed or wrong reply at opening is RANGE_UNSUPPORTED, a foreign file FORMAT', async (context) => {
  await assert.rejects(remote(context, { gzip: true }), { code: 'RANGE_UNSUPPORTED', hint: /compresses/ });
  await assert.rejects(remote(context, { from: 4096 }), { code: 'RANGE_UNSUPPORTED' });
  await assert.rejects(remote(context, { file: new Uint8Array(100_000) }), { code: 'FORMAT' });
  await assert.rejects(remote(context, { file: FILE.subarray(0, 100_000) }), { code: 'FORMAT' });
  const front = damaged(FILE, [[70, 300]]);
  await assert.rejects(remote(context, { file: front }), { code: /CHECKSUM|FORMAT/ });
});

test('after close everything is CLOSED, what was under way too', async (context) => {
  const { server, snapshot, collection } = await remote(context, { hold: (start) => start > 65536 });
  const pending = collection.search(query(1), EVERYTHING);
  await until(() => server.seen.length > 1);
  const ended = assert.rejects(pending, ({ code }) => code === 'CLOSED' || code === 'ABORTED');
  await snapshot.close();
  await ended;
  await assert.rejects(collection.search(query(1)), { code: 'CLOSED' });
});

test('a close between the last byte and the answer is CLOSED or ABORTED, at whatever moment it comes', async (context) => {
  const calls = {
    codes: (snapshot) => snapshot.download('codes'),
    all: (snapshot) => snapshot.download('all'),
    recall: (snapshot) => snapshot.collection().recall({ sample: 1, seed: 1 }),
  };
  // A fetch of its own is in the same realm as the engine, so that few turns are between.
  const fetch = async (_, { headers }) => {
    const [, start, last] = /(\d+)-(\d+)/.exec(headers.get('range'));
    const body = FILE.slice(+start, +last + 1);
    return new Response(body, { status: 206, headers: { 'content-range': `bytes ${start}-${last}/${FILE.length}` } });
  };
  for (const [name, call] of Object.entries(calls)) {
    for (let turns = 0; turns < 25; turns += 1) {
      let snapshot;
      let closing;
      const onProgress = ({ bytes, offlineReady }) => {
        if (closing || (name === 'codes' ? !offlineReady : bytes < FILE.length)) return;
        closing = (async () => {
          for (let turn = 0; turn < turns; turn += 1) await undefined;
          await snapshot.close();
        })();
      };
      snapshot = await open('http://localhost/a.near', { fetch, prefetch: 'none', onProgress });
      context.after(() => snapshot.close());
      const code = await call(snapshot).then(() => 'CLOSED', (error) => error.code);
      assert.ok(['CLOSED', 'ABORTED'].includes(code), `${name}, ${turns} turns: ${code}`);
      await closing;
    }
  }
});

test('options that make no sense are refused before any request', async () => {
  const url = 'http://127.0.0.1:9/a.near';
  for (const options of [{ storage: 'disk' }, { prefetch: 'some' }, { maxBytes: -1 }, { cacheBytes: -1 }, { fetch: 'x' }]) {
    await assert.rejects(open(url, options), { code: 'PARAMETER' });
  }
  await assert.rejects(open('no url'), { code: 'PARAMETER' });
});

/** Holds replies at the server until `open` is called; `held` are their ranges. */
function gate() {
  const held = [];
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  const wait = (start, end) => {
    held.push([start, end]);
    return opened;
  };
  return { held, open, wait };
}

test('once a piece of a download has failed the others are not asked for', async (context) => {
  const { held, open: release, wait } = gate();
  let armed = false;
  let asked = 0;
  const fetch = async (url, init) => {
    if (armed) {
      asked += 1;
      if (asked === 1) return new Response('', { status: 404 });
      await wait(...init.headers.get('range').match(/\d+/g).map(Number));
    }
    return globalThis.fetch(url, init);
  };
  const { snapshot, collection } = await remote(context, {}, { fetch });
  // Between the cells of first answers there are many stretches that are not here.
  for (const number of [1, 2, 3]) await collection.search(query(number), FEW);
  const { residentBytes } = await snapshot.stats();
  armed = true;
  await assert.rejects(snapshot.download('rows'), { code: 'NETWORK', got: 404 });
  release();
  // At most one piece for each lane was requested, and it is kept.
  await until(async () => (await snapshot.stats()).residentBytes > residentBytes && held.length >= 5);
  await until(async () => {
    const coming = held.reduce((sum, [start, last]) => sum + last + 1 - start, 0);
    return (await snapshot.stats()).residentBytes >= residentBytes + coming;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(asked, 6);
});

test('what a prefetch brings after the file became whole changes nothing', async (context) => {
  const { server, snapshot, collection } = await remote(context);
  const [early, late] = [gate(), gate()];
  // Between the cells of a first answer there are many stretches that are not here.
  await collection.search(query(1), FEW);
  server.ways.wait = early.wait;
  // Two requests in the background are under way at once; those behind them are not even asked for yet.
  const behind = snapshot.download('codes');
  await until(() => early.held.length === 2);
  server.ways.wait = undefined;
  const exact = Promise.all([1, 2, 3].map((number) => collection.search(query(number), { mode: 'exact' })));
  const held = early.held.reduce((sum, [start, end]) => sum + end - start, 0);
  await until(async () => (await snapshot.stats()).residentBytes >= FILE.length - held);
  server.ways.wait = late.wait;
  early.open();
  for (const [index, hits] of (await exact).entries())
    assert.deepEqual(plain(hits), plain(await WHOLE.search(query(index + 1), { mode: 'exact' })));
  await until(() => late.held.length > 0);
  const { bytes, complete } = await snapshot.stats();
  assert.equal(complete, true);
  late.open();
  await behind;
  assert.ok((await snapshot.stats()).bytes > bytes, 'something came late');
  assert.deepEqual(plain(await collection.search(query(4))), plain(await WHOLE.search(query(4))));
});

test('a file without cells is not downloaded unasked: its search is refused', async (context) => {
  const bare = withoutCells(FILE);
  const { server, snapshot, collection } = await remote(context, { file: bare }, { maxBytes: 2 * FILE.length });
  assert.deepEqual(snapshot.info.collections.map(({ hasCells }) => hasCells), [false]);
  assert.equal((await snapshot.stats()).offlineReady, false);
  for (const ask of [() => collection.search(query(1)), () => collection.explain(query(1))])
    await assert.rejects(ask(), { code: 'RANGE_UNSUPPORTED', hint: /allowFullDownload/ });
  await snapshot.download('codes');
  assert.equal((await snapshot.stats()).offlineReady, false);
  assert.deepEqual(server.ranges(), ['bytes=0-65535'], 'no bytes of the rows were requested');
  assert.equal(await collection.count(), WHOLE.size);
  await snapshot.download('rows');
  assert.equal((await snapshot.stats()).offlineReady, true);
  const asked = server.seen.length;
  const exact = plain(await WHOLE.search(query(1), { mode: 'exact' }));
  assert.deepEqual(plain(await collection.search(query(1))), exact);
  assert.equal(server.seen.length, asked);
  assert.deepEqual((await remote(context)).snapshot.info.collections.map(({ hasCells }) => hasCells), [true]);
});

test('a file without cells is downloaded by its first search where that is allowed', async (context) => {
  const ways = { file: withoutCells(FILE) };
  const { snapshot, collection } = await remote(context, ways, { allowFullDownload: true });
  const hits = await collection.search(query(1));
  assert.deepEqual(plain(hits), plain(await WHOLE.search(query(1))));
  const { bytes, complete } = await snapshot.stats();
  assert.deepEqual([hits.stats.bytesFetched + 65536, bytes, complete], [FILE.length, FILE.length, true]);
  const small = await remote(context, ways, { allowFullDownload: true, maxBytes: 1_000_000 });
  await assert.rejects(small.collection.search(query(1)), { code: 'BUDGET' });
});

test('a small file without cells that came with the first request is searched', async (context) => {
  const { bytes, answer } = await fixture('v1');
  const { collection } = await remote(context, { file: new Uint8Array(bytes) });
  const hits = await collection.search([0.25, 0.25, 0.25, 0.25], { k: answer.length });
  assert.deepEqual(hits.map(({ id }) => id), answer.map(({ id }) => id));
});

test('a file that is replaced by one of another length while it is opened is opened anew', async (context) => {
  const { bytes, answer } = await fixture('v2');
  for (const says of [undefined, null]) {
    const torn = damaged(FILE, [[64, 200]]);
    let requests = 0;
    const ways = { says, file: () => ((requests += 1) === 1 ? torn : new Uint8Array(bytes)) };
    const { snapshot, collection } = await remote(context, ways);
    assert.equal((await snapshot.stats()).totalBytes, bytes.byteLength);
    assert.equal((await collection.search([0.25, 0.25, 0.25, 0.25], { k: answer.length })).length, answer.length);
  }
});

test('a longer file at the URL is CHANGED, also where its length cannot be seen, and what is open keeps its own', async (context) => {
  const { server, snapshot, collection } = await remote(context, { says: null });
  const first = await collection.search(query(1), FEW);
  const longer = new Uint8Array(FILE.length + 4096).fill(7);
  longer.set(FILE.subarray(0, 64));
  new DataView(longer.buffer).setBigUint64(24, BigInt(longer.length), true);
  server.ways.file = longer;
  await assert.rejects(collection.search(query(1), EVERYTHING), { code: 'CHANGED' });
  assert.equal((await snapshot.stats()).totalBytes, FILE.length);
  assert.deepEqual(plain(await collection.search(query(1), FEW)), plain(first));
});

test('memory of a file in part is little more than what was fetched', async () => {
  const { memory, NearFile } = await instanceOf('nearfield_wasm');
  const bytes = 64 << 20;
  const part = new NearFile('large.near', bytes);
  const before = memory.buffer.byteLength;
  const piece = new Uint8Array(1 << 20);
  for (let offset = 0; offset < bytes; offset += piece.length) part.supply(offset, piece);
  const grown = memory.buffer.byteLength - before;
  part.free();
  assert.ok(grown < 1.1 * bytes, `${grown} for ${bytes}`);
});
