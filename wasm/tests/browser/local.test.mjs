// Stores in files of the origin, in Chromium: killed tabs and browsers, two tabs, a full quota, exports.
// What was acknowledged is known outside of the browser, and must be there with the right answers.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { create } from '../../dist/index.js';
import { DIM, rowsOf, vectorOf } from '../points.mjs';
import { launch, profile, serve } from './chromium.mjs';

const BATCH = 500;
const ALL = 10_000;
const QUERIES = [3, 77, 5_001];
const SEARCH = { k: 10, mode: 'exact', where: { parity: { eq: 'odd' } } };

let server;
let home;
let chromium;

before(async () => {
  server = await serve();
  home = await profile();
  chromium = await launch(home.path);
});

after(async () => {
  await chromium?.close();
  server?.close();
  await home?.remove();
});

/** A page in which `store(name)` opens a store and `points` are those of the tests. */
async function newPage() {
  const page = await chromium.context.newPage();
  await page.goto(server.origin);
  await page.evaluate(async () => {
    window.near = await import('/dist/index.js');
    window.points = await import('/tests/points.mjs');
    window.attempt = async (promise) => {
      try {
        return { value: await promise };
      } catch ({ name, code, message, hint }) {
        return { error: { name, code, message, hint } };
      }
    };
    window.store = async (name) => (window.open_ = await window.near.create({ dim: window.points.DIM, metric: 'l2', name }));
  });
  return page;
}

/** Writes batches until it is stopped or all are written; resolves with what was acknowledged. */
async function write(page, name, { until = ALL, flushAt = -1 } = {}) {
  let acknowledged = 0;
  let enough;
  const reached = new Promise((resolve) => (enough = resolve));
  await page.exposeFunction('acknowledge', (count) => {
    acknowledged = count;
    if (count >= until) enough();
  });
  const writing = page.evaluate(
    async ({ name, BATCH, ALL, flushAt }) => {
      const collection = await store(name);
      for (let start = 0; start < ALL; start += BATCH) {
        await collection.upsert(points.rowsOf(start, start + BATCH));
        window.acknowledge(start + BATCH);
        if (start === flushAt) await collection.flush();
      }
    },
    { name, BATCH, ALL, flushAt },
  );
  writing.catch(() => {});
  await Promise.race([reached, writing.then(() => {})]);
  return { writing, acknowledged: () => acknowledged };
}

/** Opens the store in a new page and checks that it holds a prefix of the points, at least `least`. */
async function check(name, least) {
  const page = await newPage();
  const found = await page.evaluate(
    async ({ name, QUERIES, SEARCH }) => {
      const collection = await store(name);
      const ids = [];
      let wrong = 0;
      for await (const { id, vector, metadata } of collection.scan({ vectors: true })) {
        ids.push(id);
        const right = points.vectorOf(id);
        if (vector.some((value, at) => value !== right[at]) || metadata.n !== id) wrong += 1;
      }
      const answers = [];
      for (const query of QUERIES) {
        const hits = await collection.search(points.vectorOf(query), SEARCH);
        answers.push(hits.map(({ id, score }) => ({ id, score })));
      }
      await collection.close();
      return { ids: ids.sort((a, b) => a - b), wrong, answers, size: collection.size };
    },
    { name, QUERIES, SEARCH },
  );
  await page.close();
  const { ids, size } = found;
  assert.equal(found.wrong, 0);
  assert.equal(ids.length, size);
  assert.ok(size >= least, `${size} points, ${least} were acknowledged`);
  assert.equal(size % BATCH, 0, 'batches are atomic');
  ids.forEach((id, index) => assert.equal(id, index));
  assert.deepEqual(found.answers, await rightAnswers(size));
  return size;
}

/** The answers over the first `count` points, by a store in memory of this process. */
async function rightAnswers(count) {
  const collection = await create({ dim: DIM, metric: 'l2' });
  await collection.upsert(rowsOf(0, count));
  const answers = [];
  for (const query of QUERIES) {
    const hits = await collection.search(vectorOf(query), SEARCH);
    answers.push(hits.map(({ id, score }) => ({ id, score })));
  }
  await collection.close();
  return answers;
}

test('10,000 vectors are there after the tab is closed without a word', async () => {
  const page = await newPage();
  const { writing } = await write(page, 'all', { flushAt: 4_000 });
  await writing;
  await page.close({ runBeforeUnload: false });
  assert.equal(await check('all', ALL), ALL);
});

test('a tab that is closed in the middle of writing loses nothing it acknowledged', async () => {
  const page = await newPage();
  const { acknowledged } = await write(page, 'closed', { until: 6_000, flushAt: 2_000 });
  await page.close({ runBeforeUnload: false });
  await check('closed', acknowledged());
});

test('a killed process of a tab loses nothing it acknowledged', async () => {
  const page = await newPage();
  const crashed = new Promise((resolve) => page.once('crash', resolve));
  const { acknowledged } = await write(page, 'renderer', { until: 5_000, flushAt: 1_000 });
  await chromium.killRenderers();
  await crashed;
  await page.close();
  await check('renderer', acknowledged());
});

test('a killed browser loses nothing that was acknowledged', async () => {
  const page = await newPage();
  const { acknowledged } = await write(page, 'browser', { until: 7_000, flushAt: 3_000 });
  await chromium.kill();
  chromium = await launch(home.path);
  await check('browser', acknowledged());
  assert.equal(await check('all', ALL), ALL, 'and an older store is as it was');
});

test('a second tab is refused while the first one writes, gets its broadcasts, and may write after it', async () => {
  const [first, second] = [await newPage(), await newPage()];
  const heard = second.evaluate(
    () => new Promise((resolve) => {
      new BroadcastChannel('nearfield:two').onmessage = ({ data }) => resolve(data);
    }),
  );
  await first.evaluate(() => store('two'));
  const open = (page) => page.evaluate(() => attempt(store('two').then(({ size }) => size)));
  const { error } = await open(second);
  assert.equal(error.code, 'LOCKED', error.message);
  const deleted = await second.evaluate(() => attempt(near.deleteStore('two')));
  assert.equal(deleted.error.code, 'LOCKED');
  await first.evaluate(() => open_.upsert(points.rowsOf(0, 5)));
  assert.equal((await heard).size, 5);
  await first.evaluate(() => open_.close());
  assert.deepEqual(await open(second), { value: 5 });
  await Promise.all([first.close(), second.close()]);
});

test('a page that is reloaded opens its store again', async () => {
  const page = await newPage();
  await page.evaluate(() => store('reloaded').then((collection) => collection.upsert(points.rowsOf(0, 7))));
  await page.reload();
  const size = await page.evaluate(async () => {
    const { create } = await import('/dist/index.js');
    const { DIM } = await import('/tests/points.mjs');
    return (await create({ dim: DIM, metric: 'l2', name: 'reloaded' })).size;
  });
  assert.equal(size, 7);
  await page.close();
});

test('a store is what it was made as, and is gone once it is deleted', async () => {
  const page = await newPage();
  const found = await page.evaluate(async () => {
    const collection = await store('shape');
    await collection.upsert(points.rowsOf(0, 3));
    await collection.close();
    const other = await attempt(near.create({ dim: 3, metric: 'l2', name: 'shape' }));
    const listed = (await near.stores()).find(({ name }) => name === 'shape');
    const deleted = [await near.deleteStore('shape'), await near.deleteStore('shape')];
    return { other, listed, deleted, size: (await store('shape')).size };
  });
  assert.equal(found.other.error.code, 'CONFLICT', found.other.error.message);
  // Files made beforehand, a log, and what names them.
  assert.ok(found.listed.bytes > 16 * 8_192, JSON.stringify(found.listed));
  assert.deepEqual(found.deleted, [true, false]);
  assert.equal(found.size, 0);
  await page.close();
});

test('a full quota refuses a write, loses nothing, and writing goes on once there is space', async () => {
  const page = await newPage();
  const session = await chromium.context.newCDPSession(page);
  const used = await page.evaluate(async () => {
    await store('full');
    return (await navigator.storage.estimate()).usage;
  });
  const limit = (quotaSize) => session.send('Storage.overrideQuotaForOrigin', { origin: server.origin, quotaSize });
  await limit(used + 3_000_000);
  // A write that failed may leave space to the next one, which begins by mending: so until nothing goes.
  const found = await page.evaluate(async ({ BATCH, SEARCH }) => {
    const codes = new Set();
    let [acknowledged, refused] = [0, 0];
    while (refused < 3 && acknowledged < 100_000) {
      const { error } = await attempt(open_.upsert(points.rowsOf(acknowledged, acknowledged + BATCH)));
      if (error) {
        codes.add(error.code);
        refused += 1;
      } else {
        [acknowledged, refused] = [acknowledged + BATCH, 0];
      }
    }
    const flushed = await attempt(open_.flush());
    const hits = await open_.search(points.vectorOf(1), SEARCH);
    return { acknowledged, refused, codes: [...codes], flushed, first: hits[0].id, count: await open_.count() };
  }, { BATCH, SEARCH });
  assert.deepEqual([found.codes, found.refused], [['QUOTA'], 3], JSON.stringify(found));
  assert.equal(found.flushed.error?.code ?? 'QUOTA', 'QUOTA', JSON.stringify(found));
  assert.ok(found.acknowledged >= BATCH);
  assert.equal(found.first, 1);
  assert.ok([0, BATCH].includes(found.count - found.acknowledged), JSON.stringify(found));
  const none = await page.evaluate(() => attempt(near.create({ dim: 3, name: 'no-room' })));
  assert.equal(none.error?.code, 'QUOTA', JSON.stringify(none));
  await limit(undefined);
  const rest = { start: found.acknowledged, BATCH };
  const report = await page.evaluate(({ start, BATCH }) => attempt(open_.upsert(points.rowsOf(start, start + BATCH))), rest);
  assert.ok(report.value, JSON.stringify(report));
  await page.close();
  await check('full', found.acknowledged + BATCH);
});

test('a store whose worker stopped is opened again by the next call; one in memory says that it is gone', async () => {
  const page = await newPage();
  const found = await page.evaluate(async () => {
    const outcomes = [];
    for (const storage of ['opfs', 'memory']) {
      const workers = [];
      const worker = () => {
        workers.push(new Worker('/tests/browser/dying.js', { type: 'module' }));
        return workers.at(-1);
      };
      const name = storage === 'opfs' ? 'stopped' : undefined;
      const collection = await near.create({ dim: points.DIM, metric: 'l2', name, worker });
      await collection.upsert(points.rowsOf(0, 300));
      const rows = collection.scan({ batchSize: 10 });
      for (let row = 0; row < 10; row += 1) await rows.next();
      workers[0].postMessage('die');
      const waiting = await attempt(collection.upsert(points.rowsOf(300, 400)));
      const next = await attempt(collection.count());
      const scan = await attempt(rows.next());
      outcomes.push({ workers: workers.length, waiting: waiting.error?.code, next, scan });
    }
    return outcomes;
  });
  const [opfs, memory] = found;
  // The write in flight may have been done before the worker stopped.
  assert.deepEqual([opfs.workers, opfs.waiting], [2, 'WASM'], JSON.stringify(opfs));
  assert.ok([300, 400].includes(opfs.next.value), JSON.stringify(opfs));
  assert.match(opfs.scan.error?.message, /and with it the scan/, JSON.stringify(opfs));
  assert.equal(memory.next.error?.code, 'WASM', JSON.stringify(memory));
  await page.close();
});

test('the next call reports a trap in background work, and the one after it opens the store again', async () => {
  const page = await newPage();
  const found = await page.evaluate(async () => {
    const scripts = ['/tests/browser/trapping_upkeep.js', '/dist/worker.js'];
    const worker = () => new Worker(scripts.shift(), { type: 'module' });
    const trapped = new Promise((resolve) => {
      new BroadcastChannel('upkeep').onmessage = resolve;
    });
    const collection = await near.create({ dim: points.DIM, metric: 'l2', name: 'upkeep', worker });
    const written = await attempt(collection.upsert(points.rowsOf(0, 300)));
    await trapped;
    const [reported, count] = [await attempt(collection.count()), await attempt(collection.count())];
    await collection.close();
    return { written, reported, count, left: scripts.length };
  });
  assert.equal(found.written.value?.inserted, 300, JSON.stringify(found));
  assert.equal(found.reported.error?.code, 'WASM', JSON.stringify(found));
  assert.deepEqual([found.count, found.left], [{ value: 300 }, 0]);
  await page.close();
});

test('each wrong call has its own error code and the store goes on', async () => {
  const page = await newPage();
  const codes = await page.evaluate(async () => {
    const collection = await store('wrong');
    const { ids, vectors } = points.rowsOf(0, 2);
    await collection.upsert({ ids, vectors });
    const calls = [
      collection.upsert({ ids, vectors: vectors.map((value, at) => (at === 5 ? NaN : value)) }),
      collection.upsert({ ids, vectors: vectors.slice(1) }),
      collection.search(vectors.slice(0, 3)),
      collection.search(points.vectorOf(1), { k: 1e9 }),
      collection.search(points.vectorOf(1), { where: { parity: { near: 1 } } }),
    ];
    const codes = [];
    for (const call of calls) codes.push((await attempt(call)).error?.code);
    return [...codes, (await collection.search(points.vectorOf(1)))[0].id];
  });
  assert.deepEqual(codes, ['NON_FINITE', 'DIMENSION', 'DIMENSION', 'PARAMETER', 'FILTER', 1]);
  await page.close();
});

test('an export of the page opens in Python with the same answers', async (context) => {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const python = process.env.NEARFIELD_PYTHON ?? join(root, '.venv/bin/python');
  if (!existsSync(python)) {
    context.skip(`no Python with nearfield at ${python}; NEARFIELD_PYTHON names one`);
    return;
  }
  const page = await newPage();
  const { bytes, answer } = await page.evaluate(async (SEARCH) => {
    const collection = await store('all');
    const hits = await collection.search(points.vectorOf(3), SEARCH);
    const exported = new Uint8Array(await (await collection.export()).arrayBuffer());
    let binary = '';
    for (let at = 0; at < exported.length; at += 32_768) binary += String.fromCharCode(...exported.subarray(at, at + 32_768));
    return { bytes: btoa(binary), answer: hits.map(({ id, score }) => [id, score]) };
  }, SEARCH);
  await page.close();
  const file = join(home.path, 'export.near');
  await writeFile(file, Buffer.from(bytes, 'base64'));
  const script = `
import json, sys, nearfield, numpy
db = nearfield.open(sys.argv[1])
collection = db["all"]
query = numpy.array(json.loads(sys.argv[2]), dtype=numpy.float32)
hits = collection.search(query, k=10, where={"parity": {"eq": "odd"}}, exact=True)
pairs = zip(hits.ids.tolist(), hits.scores.tolist())
print(json.dumps([len(collection), [list(pair) for pair in pairs]]))
`;
  const { stdout } = await promisify(execFile)(python, ['-c', script, file, JSON.stringify(Array.from(vectorOf(3)))]);
  assert.deepEqual(JSON.parse(stdout), [ALL, answer]);
});
