// The demo page, used as a person would use it, in Chromium.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import test from 'node:test';

import { answered, draw, names, openPage, servePage, startBrowser } from './demo_page.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds, in short. The page's own policy is not in the way: the script comes by the debugger. */
async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`));
}

async function start(t, { hasRanges, ...options } = {}) {
  const server = await servePage({ hasRanges });
  t.after(() => server.stop().catch(() => {}));
  const browser = await startBrowser(t);
  return { server, ...(await openPage(browser, server.url, options)) };
}

async function open(page, id) {
  if (!(await page.locator(id).evaluate((details) => details.open))) await page.locator(`${id} > summary`).click();
}

test('the sample opens by itself, in parts, and says what the first answer cost', async (t) => {
  const { page, server, complaints } = await start(t);
  assert.match(await page.locator('#open-now').textContent(), /1,797 points of 64 dimensions/);
  await page.waitForFunction(() => /First answer after/.test(document.querySelector('#first-answer').textContent));
  assert.match(await page.locator('#first-answer').textContent(), /First answer after \d+ kB of [\d.]+ [kM]B, in \d+ requests?\./);
  assert.equal(server.requests[0], 'bytes=0-65535');
  assert.ok(server.requests.every((range) => range !== undefined), 'never the whole file unasked');
  assert.match((await names(page))[0], /^a 3$/, 'the example is its own nearest');
  assert.deepEqual(complaints, []);
});

test('a drawn 1 finds ones, and a drawn 0 zeros', async (t) => {
  const { page } = await start(t);
  await draw(page, [[0.52, 0.12], [0.5, 0.5], [0.49, 0.88]]);
  await page.waitForFunction(() => /Looks like a 1/.test(document.querySelector('#verdict').textContent));
  const ones = (await names(page)).filter((name) => name === 'a 1');
  assert.ok(ones.length >= 8, `${ones.length} of 10`);
  await page.locator('#clear').click();
  const circle = Array.from({ length: 25 }, (_, step) => (step / 24) * 2 * Math.PI);
  await draw(page, circle.map((angle) => [0.5 + 0.22 * Math.sin(angle), 0.5 - 0.36 * Math.cos(angle)]));
  await page.waitForFunction(() => /Looks like a 0/.test(document.querySelector('#verdict').textContent));
});

test('the keyboard draws too', async (t) => {
  const { page } = await start(t);
  await page.locator('#pad').focus();
  await page.keyboard.press(' ');
  for (let step = 0; step < 8; step += 1) await page.keyboard.press('ArrowDown');
  await page.keyboard.press(' ');
  await page.waitForFunction(() => /Looks like a 1/.test(document.querySelector('#verdict').textContent));
});

test('a filter changes the results, by rows and by JSON', async (t) => {
  const { page } = await start(t);
  await open(page, '#filter-box');
  await page.locator('#add-condition').click();
  await page.getByLabel('Field').fill('label');
  await page.getByLabel('Operator').selectOption('eq');
  await page.getByLabel('Value').fill('5');
  await page.getByLabel('Value').press('Tab');
  await page.waitForFunction(() => [...document.querySelectorAll('#hits .name')].every(({ textContent }) => textContent === 'a 5'));
  assert.deepEqual(JSON.parse(await page.locator('#filter-json').inputValue()), { label: { eq: 5 } });
  await page.locator('#filter-json').fill('{"or": [{"label": {"eq": 8}}, {"label": {"eq": 9}}]}');
  await page.locator('#filter-json').press('Tab');
  await page.waitForFunction(() => [...document.querySelectorAll('#hits .name')].every(({ textContent }) => /^a [89]$/.test(textContent)));
  assert.equal(await page.locator('#conditions li').count(), 2);
  assert.match(await page.evaluate(() => location.hash), /where=/);
  await page.locator('#filter-json').fill('{"label": {"eq": ');
  await page.locator('#filter-json').press('Tab');
  assert.match(await page.locator('#filter-said').textContent(), /Not JSON/);
  await page.locator('#filter-json').fill('{"label": {"near": 8}}');
  await page.locator('#filter-json').press('Tab');
  await page.waitForFunction(() => /near/.test(document.querySelector('#filter-said').textContent));
});

test('a pasted vector is searched, and a wrong one is refused with its place', async (t) => {
  const { page } = await start(t);
  await page.getByLabel('vector', { exact: true }).check();
  const box = page.getByLabel(/A vector of 64 numbers/);
  const three = await box.inputValue();
  assert.equal(three.split(',').length, 64, 'the last vector is there to be edited');
  await box.fill(`[${three}]`);
  await page.locator('#panel-vector button').click();
  await page.waitForFunction(() => document.querySelector('#asked').textContent === 'to the pasted vector');
  assert.equal((await names(page))[0], 'a 3');
  await box.fill('0, 0, five, 1');
  await page.locator('#panel-vector button').click();
  assert.match(await page.locator('#ask-said').textContent(), /number 3, character 7: expected a number of 32 bits, got "five"/);
  await box.fill('1, 2, 3');
  await page.locator('#panel-vector button').click();
  assert.match(await page.locator('#ask-said').textContent(), /expected 64 numbers, got 3/);
});

test('recall is measured here, with its interval', async (t) => {
  const { page } = await start(t);
  await page.getByLabel('fast').check();
  await page.locator('#measure').click();
  await page.waitForFunction(() => /Recall@10 =/.test(document.querySelector('#recall-said').textContent));
  const said = await page.locator('#recall-said').textContent();
  const [, recall, low, high] = /Recall@10 = (\d\.\d+), 95 % interval (\d\.\d+) to (\d\.\d+)/.exec(said).map(Number);
  assert.ok(low <= recall && recall <= high && recall > 0.5, said);
});

test('the mode exact compares everything', async (t) => {
  const { page } = await start(t);
  await page.getByLabel('exact').check();
  await page.waitForFunction(() => /, exact$/.test(document.querySelector('#count').textContent));
  assert.match(await page.locator('#cost').textContent(), /nothing nearer exists/);
});

test('the map can be walked by keyboard, and Enter searches', async (t) => {
  const { page } = await start(t);
  const list = page.locator('#map-list');
  await list.locator('[role=option]').first().waitFor();
  await list.focus();
  const selected = () => list.locator('[aria-selected=true]').getAttribute('id');
  assert.equal(await selected(), 'point-0');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await selected(), 'point-2');
  assert.equal(await list.getAttribute('aria-activedescendant'), 'point-2');
  await page.keyboard.press('End');
  const words = await list.locator('[aria-selected=true]').textContent();
  const [, id] = /image (\d+)/.exec(words);
  assert.match(words, /right/);
  await page.keyboard.press('Enter');
  await page.waitForFunction((image) => document.querySelector('#asked').textContent.includes(`image ${image},`), id);
});

test('after a reload with the network cut the page still answers', async (t) => {
  const { page, context, server } = await start(t);
  await page.waitForFunction(() => /Works offline/.test(document.querySelector('#badge').textContent));
  await page.waitForFunction(() => /whole on this device/.test(document.querySelector('#open-file').textContent));
  await server.stop();
  await context.setOffline(true);
  await page.reload();
  await answered(page);
  await page.waitForFunction(() => /Offline/.test(document.querySelector('#badge').textContent));
  assert.match(await page.locator('#first-answer').textContent(), /without the network/);
  await draw(page, [[0.52, 0.12], [0.5, 0.5], [0.49, 0.88]]);
  await page.waitForFunction(() => /Looks like a 1/.test(document.querySelector('#verdict').textContent));
});

test('what is kept on this device is listed and can be deleted', async (t) => {
  const { page } = await start(t);
  const line = page.locator('#files li');
  await line.first().waitFor();
  await page.waitForFunction(() => /digits\.near: .*whole/.test(document.querySelector('#files').textContent));
  assert.match(await page.locator('#quota').textContent(), /used of/);
  await line.getByRole('button').click();
  await page.waitForFunction(() => /deleted/.test(document.querySelector('#kept-said').textContent));
  assert.equal(await line.count(), 0);
  await page.getByLabel('exact').check();
  await answered(page);
});

test('collections that were written here are listed with their sizes and can be deleted', async (t) => {
  const { page, server } = await start(t);
  assert.ok(await page.locator('#no-stores').isVisible());
  await page.evaluate(async (package_) => {
    const { create } = await import(package_);
    window.written = await create({ dim: 2, name: 'notes' });
    await window.written.upsert({ vectors: [0, 1, 1, 0] });
  }, `${server.url}nearfield/index.js`);
  await page.getByLabel('exact').check();
  const line = page.locator('#stores li');
  await line.first().waitFor();
  assert.match(await line.textContent(), /^notes: \d+ kB/);
  const answers = [];
  page.on('dialog', (dialog) => {
    answers.push(dialog.message());
    return answers.length === 1 ? dialog.dismiss() : dialog.accept();
  });
  const press = () => line.getByRole('button', { name: 'Delete notes' }).click();
  const said = (words) => page.waitForFunction((words) => document.querySelector('#kept-said').textContent.includes(words), words);
  await press();
  await press();
  await said('open in another tab');
  await page.evaluate(() => window.written.close());
  await press();
  await said('notes was deleted');
  await page.locator('#stores li').waitFor({ state: 'detached' });
  assert.equal(answers.length, 3);
  assert.match(answers[0], /with all its points/);
});

test('from a server without ranges the sample is read whole, and a URL asks first', async (t) => {
  const { page, server, complaints } = await start(t, { hasRanges: false });
  assert.match(await page.locator('#open-now').textContent(), /1,797/);
  await open(page, '#ways-box');
  await page.locator('#url').fill(`${server.url}digits.near?again`);
  await page.locator('#url-form button').click();
  await page.locator('#download-whole').click();
  await page.waitForFunction(() => /again, collection digits/.test(document.querySelector('#open-now').textContent));
  await page.locator('#url').fill('http://[');
  await page.locator('#url-form button').click();
  assert.match(await page.locator('#source-said').textContent(), /not a URL/);
  assert.deepEqual(complaints, []);
});

test('a file of this device is opened, and what is none is refused in words', async (t) => {
  const { page, server } = await start(t);
  const bytes = Buffer.from(await (await fetch(`${server.url}digits.near`)).arrayBuffer());
  await page.locator('#file').setInputFiles({ name: 'mine.near', mimeType: '', buffer: bytes });
  await page.waitForFunction(() => /mine\.near/.test(document.querySelector('#open-now').textContent));
  await answered(page);
  await page.locator('#file').setInputFiles({ name: 'cat.png', mimeType: '', buffer: Buffer.from('not a near file at all') });
  await page.waitForFunction(() => /cat\.png could not be opened/.test(document.querySelector('#source-said').textContent));
});

test('the address shares the question', async (t) => {
  const { page, server } = await start(t);
  const [, id] = await page.locator('#hits li .dim').filter({ hasText: 'image' }).allTextContents();
  await page.locator('#hits li button').nth(1).click();
  const image = id.replace('image ', '');
  await page.waitForFunction((words) => document.querySelector('#asked').textContent.includes(`image ${words},`), image);
  const shared = await page.evaluate(() => location.href);
  assert.ok(shared.includes(`id=${image}`), shared);
  const other = await page.context().newPage();
  await other.goto(shared.replace(/k=10/, 'k=4'));
  await answered(other);
  assert.match(await other.locator('#asked').textContent(), new RegExp(`image ${image},`));
  assert.equal(await other.locator('#hits li').count(), 4);
  assert.ok(server.url);
});

test('the question is there as code', async (t) => {
  const { page } = await start(t);
  const code = page.locator('#code');
  await page.waitForFunction(() => /snapshot/.test(document.querySelector('#code').textContent));
  await page.getByLabel('Python').check();
  assert.match(await code.textContent(), /nearfield\.open\("digits\.near"\)/);
  await page.getByLabel('curl').check();
  assert.match(await code.textContent(), /\/v2\/collections\/digits\/query/);
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing, ${colorScheme}`, async (t) => {
    const { page } = await start(t, { colorScheme });
    await page.locator('#map-list [role=option]').first().waitFor();
    await page.locator('#files li').first().waitFor();
    assert.deepEqual(await violations(page), [], 'drawing');
    await open(page, '#filter-box');
    await page.locator('#add-condition').click();
    await page.getByLabel('Field').fill('label');
    await page.locator('#add-condition').click();
    await page.getByLabel('example', { exact: true }).check();
    await page.locator('#filter-json').fill('{');
    await page.locator('#filter-json').press('Tab');
    assert.deepEqual(await violations(page), [], 'example, filter, an error');
    await page.getByLabel('vector', { exact: true }).check();
    await page.locator('#vector').fill('1, x');
    await page.locator('#panel-vector button').click();
    await open(page, '#ways-box');
    await page.locator('#url').fill('nowhere.near');
    await page.locator('#url-form button').click();
    await page.waitForFunction(() => document.querySelector('#source-said').textContent !== '');
    await page.locator('#measure').click();
    await page.waitForFunction(() => /Recall@/.test(document.querySelector('#recall-said').textContent));
    assert.deepEqual(await violations(page), [], 'vector, a file that is not there, recall');
  });
}

test('nothing is wider than a telephone, or than a screen at 200 %', async (t) => {
  const { page } = await start(t);
  await page.locator('#map-list [role=option]').first().waitFor();
  await open(page, '#filter-box');
  await page.locator('#add-condition').click();
  for (const width of [640, 390, 320]) {
    await page.setViewportSize({ width, height: 800 });
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, String(width));
  }
});
