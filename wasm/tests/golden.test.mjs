// The golden set of the project in Node, in Chromium and at the server: ids, order and bits of the committed file.
// The server merges what has many dead rows, and builds no graph for so few: there the exact answers are compared.
//
// Its collections are written by the Rust test that holds the engine to the same file, which is run if it has not been.

import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { open } from '../dist/index.js';
import { openPage } from './browser/page.mjs';
import { EXACT, KINDS, askGolden, dimOf, goldenOf, queriesOf } from './golden.mjs';
import { BINARY, serveDirectory } from './served.mjs';
import { writtenBy } from './written.mjs';

const HOME = writtenBy('golden', 'queries-codes');
const GOLDEN = fileURLToPath(new URL('../../tests/golden/answers.json', import.meta.url));
const STORED = ['cosine', 'dot', 'l2'].flatMap((metric) => [`${metric} f32`, `${metric} f16`]);
const CASES = STORED.flatMap((name) => [name, `${name} codes`]);
const QUERIES = 4;
const noServer = BINARY ? false : 'no program; cargo build --bin nearfield, or NEARFIELD_BINARY';

const fileOf = (name) => join(HOME, `${name.replaceAll(' ', '-')}.near`);

async function queriesFor(name) {
  const bytes = await readFile(join(HOME, queriesOf(name)));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** Compares the answers to each case, which `ask` gets. */
async function compare(t, kinds, ask) {
  const golden = JSON.parse(await readFile(GOLDEN, 'utf8'));
  let equal = 0;
  for (const name of CASES) {
    const expected = goldenOf(golden, name, kinds);
    const count = Object.keys(expected).length;
    assert.equal(count, Object.keys(kinds).length * QUERIES, name);
    assert.deepEqual(await ask(name), expected, name);
    equal += count;
  }
  t.diagnostic(`${equal} golden answers`);
}

test('Node gives the golden answers', async (t) => {
  await compare(t, KINDS, async (name) => {
    const floats = await queriesFor(name);
    const snapshot = await open(await readFile(fileOf(name)));
    const found = await askGolden(snapshot.collection(), floats, KINDS);
    await snapshot.close();
    return found;
  });
});

test('Chromium gives the golden answers', async (t) => {
  const files = Object.fromEntries(CASES.map((name) => [name, fileOf(name)]));
  const page = await openPage(t, {
    ...Object.fromEntries(CASES.map(queriesOf).map((file) => [file, join(HOME, file)])),
    ...files,
  });
  await compare(t, KINDS, (name) =>
    page.evaluate(async (name) => {
      const { open } = await import('/wasm/dist/index.js');
      const { KINDS, askGolden, queriesOf } = await import('/wasm/tests/golden.mjs');
      const [file, queries] = await Promise.all([name, queriesOf(name)].map((path) => fetch(`/extra/${encodeURIComponent(path)}`)));
      const snapshot = await open(await file.blob());
      const found = await askGolden(snapshot.collection(), new Float32Array(await queries.arrayBuffer()), KINDS);
      await snapshot.close();
      return found;
    }, name));
});

test('the server gives the golden answers', { skip: noServer }, async (t) => {
  const copies = await mkdtemp(join(tmpdir(), 'nearfield-golden-'));
  t.after(() => rm(copies, { recursive: true }));
  await compare(t, EXACT, async (name) => {
    const floats = await queriesFor(name);
    const copy = join(copies, name);
    await cp(fileOf(name).slice(0, -'.near'.length), copy, { recursive: true });
    const server = await serveDirectory(copy);
    try {
      return await askGolden(server.collection('c', dimOf(name)), floats, EXACT);
    } finally {
      await server.close();
    }
  });
});
