// Dates of declared fields, in Node and in Chromium: the answers of the oracle, and what is refused.
//
// The export with sections of format 1 is written by tests/tests/dates.rs, which is run if it has not been.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';

import * as near from '../dist/index.js';
import { openPage } from './browser/page.mjs';
import { askAll } from './dates.mjs';
import { writtenBy } from './written.mjs';

const CASES = JSON.parse(await readFile(new URL('../../tests/dates.json', import.meta.url), 'utf8'));
const FORMAT_1 = join(writtenBy('dates', 'dates.near'), 'dates.near');
const RIGHT = { asked: 4 * CASES.questions.length, wrong: [] };

test('answers in Node are those of the oracle', async () => {
  assert.deepEqual(await askAll(near, CASES, await readFile(FORMAT_1)), RIGHT);
});

test('answers in Chromium are those of the oracle', async (t) => {
  const page = await openPage(t, { 'format1.near': FORMAT_1 });
  const found = await page.evaluate(async () => {
    const near = await import('/wasm/dist/index.js');
    const { askAll } = await import('/wasm/tests/dates.mjs');
    const cases = await (await fetch('/tests/dates.json')).json();
    return askAll(near, cases, await (await fetch('/extra/format1.near')).blob());
  });
  assert.deepEqual(found, RIGHT);
});

test('what is no date is refused in rows and in filters', async () => {
  const collection = await near.create({ dim: 1, fields: { at: 'datetime' } });
  for (const wrong of [7, true, ...CASES.no_dates]) {
    await assert.rejects(collection.count({ at: wrong }), { code: 'FILTER' });
    await assert.rejects(collection.upsert({ vectors: [1], metadata: { at: [wrong] } }), { code: 'METADATA' });
  }
  await assert.rejects(near.create({ dim: 1, fields: { at: 'date' } }), { code: 'PARAMETER' });
  await collection.close();
});
