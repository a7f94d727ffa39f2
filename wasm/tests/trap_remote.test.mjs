// A trap while bytes of a file at a URL are on their way: what comes later does not enter the module again.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { open } from '../dist/index.js';
import { searchAsked } from '../js/asked.js';
import { Remote } from '../js/remote.js';
import { instanceOf } from './glue.mjs';
import { serve } from './range_server.mjs';
import { query, sample } from './sample.mjs';
import { enteredAfterTrap, trapOnce } from './trap.mjs';

const FILE = sample();
const FEW = { mode: 'fast' };

/** A server of the sample that holds its replies from `hold` to `release`; `held` counts them. */
async function slow(context) {
  const server = await serve(FILE);
  context.after(() => server.close());
  const gate = { url: server.url, held: 0 };
  const opened = new Promise((resolve) => (gate.release = resolve));
  gate.hold = () => {
    server.ways.wait = () => {
      gate.held += 1;
      return opened;
    };
  };
  return gate;
}

/** Resolves when `happened()`. */
async function until(happened) {
  while (!happened()) await new Promise((resolve) => setImmediate(resolve));
}

test('a download that is under way when a search traps ends with WASM and delivers nothing more', async (context) => {
  const server = await slow(context);
  const snapshot = await open(server.url, { prefetch: 'none' });
  context.after(() => snapshot.close());
  const ask = () => snapshot.collection().search(query(1), FEW);
  const first = await ask();
  server.hold();
  const ended = assert.rejects(snapshot.download('codes'), { code: 'WASM' });
  await until(() => server.held === 2);
  const entered = enteredAfterTrap('nearfile');
  trapOnce('nearfile_search');
  await assert.rejects(ask(), { code: 'WASM', message: /out of bounds/ });
  server.release();
  await ended;
  assert.deepEqual(entered, []);
  assert.deepEqual((await ask()).map(({ id, score }) => [id, score]), first.map(({ id, score }) => [id, score]));
});

test('after a trap in a delivery the other pieces, and the bytes that are here, stay out', async (context) => {
  const module = await instanceOf('nearfield_wasm');
  const server = await slow(context);
  const remote = await Remote.open(module, server.url, { storage: 'memory', prefetch: 'none' });
  context.after(() => remote.abandon());
  const [{ name }] = remote.info().collections;
  server.hold();
  const ask = () => remote.search(name, query(1), searchAsked(FEW));
  const ended = assert.rejects(ask(), WebAssembly.RuntimeError);
  await until(() => server.held > 1);
  const entered = enteredAfterTrap('nearfile');
  trapOnce('nearfile_supply');
  server.release();
  await ended;
  await assert.rejects(ask(), WebAssembly.RuntimeError);
  assert.deepEqual(entered, []);
});
