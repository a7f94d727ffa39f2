// The demo page as it is shipped, in Chromium: a static server for wasm/dist/demo with byte ranges (or without),
// a browser of its own, and what a person does there. The server can be stopped: that is what offline is.

import { createServer } from 'node:http';
import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { extname, join, normalize } from 'node:path';

import { chromium } from 'playwright-core';

const PAGE = fileURLToPath(new URL('../../dist/demo/', import.meta.url));
const TYPES = {
  '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.json': 'application/json',
  '.svg': 'image/svg+xml', '.wasm': 'application/wasm',
};
/** How long a condition may take: a limit for a page that hangs, not for a machine that is busy. */
const PATIENCE_MS = 120_000;
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Serves the page; `hasRanges: false` as `python -m http.server` would. `requests` counts those for the sample. */
export async function servePage({ hasRanges = true } = {}) {
  await stat(join(PAGE, 'digits.near')).catch(() => {
    throw new Error(`${PAGE} is not built: cargo run -p xtask -- wasm && cargo run -p xtask -- demo`);
  });
  const requests = [];
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const name = path.endsWith('/') ? `${path}index.html` : path;
    let bytes;
    try {
      bytes = await readFile(join(PAGE, name));
    } catch {
      response.writeHead(404).end();
      return;
    }
    if (name.endsWith('.near')) requests.push(request.headers.range);
    response.setHeader('content-type', TYPES[extname(name)] ?? 'application/octet-stream');
    const range = hasRanges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (!range) {
      response.end(bytes);
      return;
    }
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, bytes.length)];
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${bytes.length}`);
    response.writeHead(206).end(bytes.subarray(start, end));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    requests,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A browser, ended by `t.after`. */
export async function startBrowser(t) {
  const executablePath = process.env.NEARFIELD_CHROMIUM ?? '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
  t.after(() => browser.close());
  return browser;
}

/**
 * The page, open, with its first answer. What it logs as an error or throws is kept in `complaints`.
 * @param {object} options of `browser.newContext`
 */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(url);
  await answered(page);
  return { context, page, complaints };
}

/** Waits for an answer with results. */
export function answered(page) {
  return page.waitForFunction(() => document.querySelectorAll('#hits li').length > 0);
}

/** Draws a stroke through points, each from 0 to 1 in both directions, as a mouse does. */
export async function draw(page, points) {
  // One finger, one screen: the pad has to be in sight.
  await page.locator('#pad').scrollIntoViewIfNeeded();
  const box = await page.locator('#pad').boundingBox();
  const place = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...place(points[0]));
  await page.mouse.down();
  for (const point of points) await page.mouse.move(...place(point), { steps: 6 });
  await page.mouse.up();
  await page.waitForFunction(() => document.querySelector('#asked').textContent === 'to your drawing');
}

/** The names of the results, such as `a 1`. */
export function names(page) {
  return page.locator('#hits .name').allTextContents();
}
