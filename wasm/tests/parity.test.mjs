// The same data in Python, in Node, in Chromium and at the server: the same ids, order and scores to the last bit.
//
// Python (with the wheel of this checkout) writes files, queries and answers; see parity.py. The server serves the
// directory of which the file is an export. Environment: NEARFIELD_PYTHON names the interpreter, else that of `.venv`;
// NEARFIELD_BINARY the server's program, else that of cargo (served.mjs). NEARFIELD_BENCH_DATA names the data of the
// benchmarks, else `../shared/bench/data` beside the checkout is used if it is there.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { open } from '../dist/index.js';
import { openPage } from './browser/page.mjs';
import { askAll, differences } from './parity.mjs';
import { BINARY, serveDirectory } from './served.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = process.env.NEARFIELD_PYTHON ?? here('../../.venv/bin/python');
const BENCH = process.env.NEARFIELD_BENCH_DATA ?? here('../../../shared/bench/data');
const SETS = ['random-f32', 'docs-minilm-384', 'fashion-mnist-784', 'bsds-sift-128'];

async function made(t, ...what) {
  const directory = await mkdtemp(join(tmpdir(), 'nearfield-parity-'));
  t.after(() => rm(directory, { recursive: true }));
  await promisify(execFile)(PYTHON, [here('parity.py'), directory, ...what]);
  const names = (await readdir(directory)).filter((name) => name.endsWith('.json'));
  return names.map((name) => join(directory, name.slice(0, -5)));
}

async function questions(path) {
  const [queries, text] = await Promise.all(['queries', 'json'].map((ending) => readFile(`${path}.${ending}`)));
  const floats = new Float32Array(queries.buffer.slice(queries.byteOffset, queries.byteOffset + queries.length));
  return { floats, expected: JSON.parse(text) };
}

async function inNode(t, path) {
  const { floats, expected } = await questions(path);
  const snapshot = await open(await readFile(`${path}.near`));
  const found = await askAll(snapshot.collection(), floats, expected);
  await snapshot.close();
  return differences(found, expected);
}

async function atServer(t, path) {
  const { floats, expected } = await questions(path);
  const server = await serveDirectory(path);
  try {
    return differences(await askAll(server.collection('points', expected.dim), floats, expected), expected);
  } finally {
    await server.close();
  }
}

async function inChromium(t, path) {
  const endings = ['near', 'queries', 'json'];
  const page = await openPage(t, Object.fromEntries(endings.map((ending) => [ending, `${path}.${ending}`])));
  return page.evaluate(async () => {
    const { open } = await import('/wasm/dist/index.js');
    const { askAll, differences } = await import('/wasm/tests/parity.mjs');
    const [file, queries, text] = await Promise.all(['near', 'queries', 'json'].map((name) => fetch(`/extra/${name}`)));
    const expected = await text.json();
    const snapshot = await open(await file.blob());
    const floats = new Float32Array(await queries.arrayBuffer());
    return differences(await askAll(snapshot.collection(), floats, expected), expected);
  });
}

async function compare(t, ...what) {
  const homes = { Node: inNode, Chromium: inChromium, ...(BINARY && { server: atServer }) };
  if (!BINARY) t.diagnostic('SKIPPED at the server: no program; cargo build --bin nearfield, or NEARFIELD_BINARY');
  for (const path of await made(t, ...what)) {
    for (const [home, ask] of Object.entries(homes)) {
      const differing = await ask(t, path);
      t.diagnostic(`${path.split('/').pop()} in Python and ${home}: ${differing.equal} of ${differing.asked} answers equal`);
      assert.deepEqual(differing.first, undefined);
      assert.ok(differing.asked > 0 && differing.equal === differing.asked);
    }
  }
}

const noPython = existsSync(PYTHON) ? false : `no ${PYTHON}: bash tests/run makes it`;
const noData = noPython || (existsSync(BENCH) ? false : `no benchmark data at ${BENCH}`);

test('small collections of every metric, id and filter answer as in Python', { skip: noPython }, (t) =>
  compare(t, 'small'));

for (const name of SETS) {
  test(`1,000 queries to ${name} answer as in Python, plain and filtered`, { skip: noData }, (t) =>
    compare(t, 'bench', name, BENCH));
}
