// The package in Chromium: the worker, its death and its return, and a browser without SIMD.

import assert from 'node:assert/strict';
import test from 'node:test';

import { QUERY, fixture } from '../fixture.mjs';
import { openPage } from './page.mjs';

const { answer } = await fixture('v2');
const newest = (await fixture('v5')).answer;

/** Defines `near(options)` in the page: the fixture, opened. */
async function prepare(page) {
  await page.evaluate(async () => {
    const { open, NearfieldError } = await import('/wasm/dist/index.js');
    const bytes = await (await fetch('/tests/fixtures/v2/export.near')).arrayBuffer();
    globalThis.near = (options, source = bytes) => open(source, options);
    globalThis.plain = (hits) => hits.map(({ id, score }) => ({ id, score }));
    globalThis.codeOf = (call) => call.then(() => 'none', (error) => (error instanceof NearfieldError ? error.code : String(error)));
    globalThis.bytes = bytes;
  });
}

test('a file gives the known answer in a worker and in the page, from a buffer, a blob and a file', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const answers = await page.evaluate(async (query) => {
    const answers = [];
    for (const worker of [true, false]) {
      for (const source of [bytes, new Blob([bytes]), new File([bytes], 'a.near')]) {
        const snapshot = await near({ worker }, source);
        answers.push(plain(await snapshot.collection().search(query, { mode: 'exact' })));
        await snapshot.close();
      }
    }
    return answers;
  }, QUERY);
  assert.equal(answers.length, 6);
  for (const found of answers) assert.deepEqual(found, answer);
});

test('files of both formats give the known answers', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const found = await page.evaluate(async (query) => {
    const file = await (await fetch('/tests/fixtures/v5/export.near')).arrayBuffer();
    const ask = async (source) => {
      const snapshot = await near({}, source);
      const hits = await snapshot.collection('a').search(query, { mode: 'exact' });
      await snapshot.close();
      return plain(hits);
    };
    return [await ask(bytes), await ask(file)];
  }, QUERY);
  assert.deepEqual(found, [answer, newest]);
});

test('the engine runs on SIMD and reports its capabilities', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const [set, can] = await page.evaluate(async () => {
    const { capabilities } = await import('/wasm/dist/index.js');
    return [(await near()).info.engine.instructionSet, await capabilities()];
  });
  assert.equal(set, 'simd128');
  assert.equal(can.simd, true);
  assert.equal(typeof can.opfs, 'boolean');
});

test('after a trap the call in flight gets WASM and the worker comes back with the same answers', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const outcome = await page.evaluate(async (query) => {
    let workers = 0;
    const worker = () => {
      workers += 1;
      return new Worker('/wasm/tests/browser/trapping_worker.js', { type: 'module' });
    };
    const collection = (await near({ worker })).collection();
    const before = plain(await collection.search(query, { mode: 'exact' }));
    const ready = new Promise((resolve) => {
      new BroadcastChannel('trapping').onmessage = resolve;
    });
    new BroadcastChannel('trap').postMessage('now');
    await ready;
    const codes = await Promise.all([codeOf(collection.search(query)), codeOf(collection.count())]);
    const after = plain(await collection.search(query, { mode: 'exact' }));
    return { before, codes, after, workers };
  }, QUERY);
  assert.deepEqual(outcome, { before: answer, codes: ['WASM', 'WASM'], after: answer, workers: 2 });
});

test('an abort reaches calls that wait in the worker, close reaches all', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const codes = await page.evaluate(async (query) => {
    const snapshot = await near();
    const collection = snapshot.collection();
    const aborter = new AbortController();
    const first = collection.search(query);
    const second = codeOf(collection.search(query, { signal: aborter.signal }));
    aborter.abort();
    const codes = [await codeOf(first), await second];
    const third = codeOf(collection.recall());
    await snapshot.close();
    return [...codes, await third, await codeOf(collection.search(query))];
  }, QUERY);
  assert.deepEqual(codes, ['none', 'ABORTED', 'CLOSED', 'CLOSED']);
});

test('a browser without SIMD and a missing module have messages of their own', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const [simd, missing, worker] = await page.evaluate(async () => {
    const messageOf = (call) => call.then(() => 'none', ({ code, message }) => `${code}: ${message}`);
    const missing = await messageOf(near({ worker: false, wasmUrl: '/nowhere.wasm' }));
    const worker = await messageOf(near({ worker: () => new Worker('/nowhere.js', { type: 'module' }) }));
    WebAssembly.validate = () => false;
    return [await messageOf(near({ worker: false })), missing, worker];
  });
  assert.match(simd, /^WASM: WebAssembly with 128-bit SIMD is needed/);
  assert.match(missing, /^WASM: .*nowhere\.wasm/);
  assert.match(worker, /^WASM: the worker stopped/);
});

test('a file larger than any memory is refused with its size, and nothing dies', async (t) => {
  const page = await openPage(t);
  await prepare(page);
  const [refusal, found] = await page.evaluate(async (query) => {
    const collection = (await near({ worker: false })).collection();
    const piece = new Blob([new Uint8Array(16 << 20)]);
    const huge = new Blob(Array.from({ length: 272 }, () => piece));
    const refusal = await near({ worker: false }, huge).catch(({ code, message }) => `${code}: ${message}`);
    return [refusal, plain(await collection.search(query, { mode: 'exact' }))];
  }, QUERY);
  assert.equal(refusal, 'QUOTA: no memory for 4563402752 bytes');
  assert.deepEqual(found, answer);
});
