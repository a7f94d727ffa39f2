// A page in headless Chromium: a static server on the loopback, a fresh profile, and both ended with the test.
// Environment: NEARFIELD_CHROMIUM names another browser program.

import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const CHECKOUT = fileURLToPath(new URL('../../../', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
export const EXECUTABLE = process.env.NEARFIELD_CHROMIUM ?? '/usr/bin/chromium';
export const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** Serves `/checkout/…` from this checkout, `/extra/name` from the given files, and an empty page at `/`. */
async function serve(extra) {
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    if (path === '/') {
      response.setHeader('content-type', 'text/html').end('<!doctype html><title>test</title>');
      return;
    }
    const file = path.startsWith('/extra/') ? extra[path.slice(7)] : join(CHECKOUT, normalize(path));
    const found = file && (await stat(file).catch(() => undefined));
    if (!found?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.setHeader('content-length', found.size);
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/**
 * An open page of a new browser; ended by `t.after`.
 * @param {{after: (end: () => Promise<void>) => void}} t
 * @param {Record<string, string>} [extra] files served at `/extra/…`
 */
export async function openPage(t, extra = {}) {
  const server = await serve(extra);
  const browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
  t.after(async () => {
    await browser.close();
    // Of another browser that a test may have started; it would be waited for.
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  return page;
}
