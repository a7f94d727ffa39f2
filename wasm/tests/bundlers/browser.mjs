// A static server with the policy that the manual names, and pages of one Chromium.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

import { chromium } from 'playwright-core';

import { EXECUTABLE, FLAGS } from '../browser/page.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };
/** What docs/browser.md says a page has to allow. */
export const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

/** Serves a directory, files by byte ranges too; a missing index.html is a page that runs `/page.js`. */
export async function serveFiles(directory, policy = POLICY) {
  const server = createServer(async ({ url, headers }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname));
    const name = path.endsWith('/') ? `${path}index.html` : path;
    response.setHeader('content-security-policy', policy);
    response.setHeader('content-type', TYPES[extname(name)] ?? 'application/octet-stream');
    let bytes = await readFile(join(directory, name)).catch(() => undefined);
    if (name === '/index.html') bytes ??= Buffer.from('<!doctype html><title>page</title><script type="module" src="/page.js"></script>');
    if (bytes === undefined) return response.writeHead(404).end();
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '');
    if (!range) return response.end(bytes);
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, bytes.length)];
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${bytes.length}`);
    return response.writeHead(206).end(bytes.subarray(start, end));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function startChromium() {
  return chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
}

/**
 * Opens a page and asks what `ask` of the project's page answers.
 * @returns {Promise<{answers: object, workers: string[], failed: string[]}>} `workers`: addresses of all that were
 *   started; `failed`: requests that got no file
 */
export async function asked(browser, url, query) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const [workers, failed] = [[], []];
  page.on('worker', (worker) => workers.push(worker.url()));
  context.on('response', (response) => response.status() >= 400 && failed.push(`${response.status()} ${response.url()}`));
  try {
    await page.goto(url);
    await page.waitForFunction(() => globalThis.ask !== undefined);
    const answers = await page.evaluate(
      (vector) => globalThis.ask(vector).catch(({ code, message, hint }) => ({ code, message, hint })), query);
    return { answers, workers, failed: failed.filter((line) => !line.endsWith('/favicon.ico')) };
  } finally {
    await context.close();
  }
}
