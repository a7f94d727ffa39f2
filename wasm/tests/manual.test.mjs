// The examples of docs/browser.md and docs/browser-ranges.md, run as they stand: an example that fails fails the build.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';

import { open } from '../dist/index.js';
import { QUERY, fixture } from './fixture.mjs';
import { serve } from './range_server.mjs';
import { query, sample } from './sample.mjs';

const AsyncFunction = (async () => {}).constructor;

async function examples(name) {
  const page = await readFile(new URL(`../../docs/${name}`, import.meta.url), 'utf8');
  return [...page.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
}

test('the examples of the manual run and find something', async () => {
  const { bytes, points: expected } = await fixture('v2');
  const [opening, asking] = await examples('browser.md');
  const printed = [];
  const console = { log: (...line) => printed.push(line) };
  const file = new Blob([bytes]);
  const without_import = opening.replace(/^import .*$/m, '');
  await new AsyncFunction('open', 'file', 'console', without_import)(open, file, console);
  assert.ok(printed.length > 1 && printed[0][2].n < 400, JSON.stringify(printed));

  const points = (await open(bytes)).collection();
  const results = 'return { near, all, rows, ids, count, report, plan, segments };';
  const run = new AsyncFunction('points', 'vector', 'ids', `${asking}\n${results}`);
  const found = await run(points, QUERY, []);
  assert.equal(found.near.length, 10);
  assert.equal(found.all.length, 2);
  assert.deepEqual(found.rows.missing, expected.has(3) ? [] : [3]);
  assert.ok(found.ids.length > 0 && found.count > 0 && found.report.recall === 1);
  assert.ok(found.plan.segments.length > 0 && found.segments.length > 0);
});

test('the example of files at a URL searches ranges and then the whole file', async (context) => {
  const server = await serve(sample());
  context.after(() => server.close());
  const [example] = await examples('browser-ranges.md');
  const here = example.replace('https://example.org/docs.near', server.url);
  assert.notEqual(here, example);
  const run = new AsyncFunction('open', 'query', `${here}\nreturn { hits, snapshot };`);
  const { hits, snapshot } = await run(open, query(1));
  context.after(() => snapshot.close());
  assert.ok(hits.length === 10 && hits.stats.cellsSearched > 0 && hits.stats.requests > 0, JSON.stringify(hits.stats));
  assert.equal((await snapshot.collection().search(query(1))).approx, false);
});
