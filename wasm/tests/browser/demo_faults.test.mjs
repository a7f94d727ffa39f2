// The demo page where people stumbled: what belongs to one question stays with it, what is typed is in force, and on a
// telephone the answer is in sight of the drawing.

import assert from 'node:assert/strict';
import test from 'node:test';

import { answered, draw, names, openPage, servePage, startBrowser } from './demo_page.mjs';

const ONE = [[0.52, 0.12], [0.5, 0.5], [0.49, 0.88]];

async function start(t, options = {}) {
  const server = await servePage();
  t.after(() => server.stop().catch(() => {}));
  const browser = await startBrowser(t);
  return { ...(await openPage(browser, server.url, options)), server };
}

const textOf = (page, id) => page.locator(id).textContent();

async function openFilter(page) {
  await page.locator('#filter-box > summary').click();
  return page.locator('#filter-json');
}

test('what was wrong with a vector is not said of a drawing', async (t) => {
  const { page } = await start(t);
  await page.getByLabel('vector', { exact: true }).check();
  await page.locator('#vector').fill('1, x');
  await page.locator('#panel-vector button').click();
  assert.match(await textOf(page, '#ask-said'), /expected/);
  await page.getByLabel('drawing', { exact: true }).check();
  assert.equal(await textOf(page, '#ask-said'), '');
});

test('clearing the drawing clears its answer', async (t) => {
  const { page } = await start(t);
  await draw(page, ONE);
  await page.waitForFunction(() => /Looks like a 1/.test(document.querySelector('#verdict').textContent));
  await page.locator('#clear').click();
  assert.deepEqual(await names(page), []);
  assert.equal(await textOf(page, '#verdict'), '');
  assert.equal(await textOf(page, '#asked'), '');
  // A setting that changes has nothing to ask again.
  await page.getByLabel('exact').check();
  assert.deepEqual(await names(page), []);
  await draw(page, ONE);
  await page.waitForFunction(() => /Looks like a 1/.test(document.querySelector('#verdict').textContent));
});

test('a filter is in force while it is typed, and an error is not called off', async (t) => {
  const { page } = await start(t);
  const json = await openFilter(page);
  await json.pressSequentially('{"label": {"eq": 5}}');
  await page.waitForFunction(() => [...document.querySelectorAll('#hits .name')].every(({ textContent }) => textContent === 'a 5'));
  assert.equal(await textOf(page, '#filter-state'), 'on');
  await json.press('Backspace');
  assert.equal(await textOf(page, '#filter-state'), 'not applied');
  await json.press('Tab');
  assert.match(await textOf(page, '#filter-said'), /^Not JSON: .*the filter before it is in force/);
  assert.equal(await textOf(page, '#filter-state'), 'not applied');
  await json.fill('{"label": {"near": 8}}');
  await page.waitForFunction(() => document.querySelector('#filter-state').textContent === 'refused');
  assert.match(await textOf(page, '#filter-said'), /near/);
  await json.fill('');
  await page.waitForFunction(() => document.querySelectorAll('#hits li').length === 10);
  assert.equal(await textOf(page, '#filter-state'), 'off');
});

test('the thing to do comes before what it costs', async (t) => {
  const { page } = await start(t);
  const isBefore = await page.evaluate(() => {
    const [pad, bytes] = ['pad', 'bytes-here'].map((id) => document.getElementById(id));
    return Boolean(pad.compareDocumentPosition(bytes) & Node.DOCUMENT_POSITION_FOLLOWING);
  });
  assert.ok(isBefore);
});

test('on a telephone the verdict is on the first screen, near the drawing', async (t) => {
  const { page } = await start(t, { viewport: { width: 390, height: 844 }, hasTouch: true });
  const [pad, verdict] = await page.evaluate(() => ['#pad', '#verdict'].map((id) => document.querySelector(id).getBoundingClientRect().toJSON()));
  assert.ok(verdict.bottom <= 844, `the verdict ends at ${verdict.bottom}`);
  assert.ok(verdict.top - pad.bottom < 200, `${verdict.top - pad.bottom} pixels between them`);
});

test('a server that is gone is seen, although the browser has a network', async (t) => {
  const { page, server } = await start(t);
  await page.waitForFunction(() => /Works offline/.test(document.querySelector('#badge').textContent));
  await page.waitForFunction(() => /whole on this device/.test(document.querySelector('#open-file').textContent));
  await server.stop();
  await page.reload();
  await answered(page);
  await page.waitForFunction(() => /Offline/.test(document.querySelector('#badge').textContent));
});
