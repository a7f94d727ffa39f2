// Where the engines of a run live: a server that counts what each page loads as code, a browser for each engine, its memory.
// The pages are cross-origin isolated, because their clock is coarse otherwise.

import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { readFile, readdir, stat } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { transform } from 'esbuild';
import { chromium } from 'playwright-core';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm' };
const EXECUTABLE = process.env.NEARFIELD_CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--js-flags=--max-old-space-size=8192',
];
/** What of a checkout is served where. Only the first two are code of an engine. */
const PLACES = { '/package/': here('../../../wasm/dist/'), '/packages/': here('node_modules/'), '/engines/': here('engines/') };

/** A server for one engine's page; `loaded` are the files of its code. */
export async function serve(work) {
  const loaded = new Set();
  const places = { ...PLACES, '/data/': `${work}/`, '/page.js': here('page.js') };
  const server = createServer(async ({ url }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname));
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    const place = Object.keys(places).find((prefix) => path.startsWith(prefix));
    const file = place && join(places[place], path.slice(place.length));
    const found = file && (await stat(file).catch(() => undefined));
    if (!found?.isFile()) {
      const isPage = path === '/';
      response.writeHead(isPage ? 200 : 404, { 'content-type': 'text/html' }).end(isPage ? '<!doctype html><title>bench</title>' : '');
      return;
    }
    if (place === '/package/' || place === '/packages/') loaded.add(file);
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.setHeader('content-length', found.size);
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { loaded, origin: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** Gzipped bytes of files: as shipped, and with scripts minified (each by itself, nothing left out). */
export async function codeBytes(files) {
  const sizes = { wasm: 0, js: 0, minified: 0 };
  for (const file of files) {
    const bytes = await readFile(file);
    if (extname(file) === '.wasm') {
      sizes.wasm += gzipSync(bytes, { level: 9 }).length;
      continue;
    }
    const { code } = await transform(bytes.toString(), { minify: true, format: 'esm', target: 'es2022' });
    sizes.js += gzipSync(bytes, { level: 9 }).length;
    sizes.minified += gzipSync(code, { level: 9 }).length;
  }
  return sizes;
}

/** A browser of its own with one page. */
export async function openBrowser(origin) {
  const server = await chromium.launchServer({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
  const browser = await chromium.connect(server.wsEndpoint());
  const page = await browser.newPage();
  await page.goto(origin);
  const devtools = await page.context().newCDPSession(page);
  /** The least of three measurements a second apart, each after a collection of garbage. */
  const settled = async () => {
    let least = new Map();
    for (let time = 0; time < 3; time += 1) {
      await devtools.send('HeapProfiler.collectGarbage');
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const found = await renderersMiB(server.process().pid);
      least = new Map([...found].map(([pid, mib]) => [pid, Math.min(mib, least.get(pid) ?? mib)]));
    }
    return least;
  };
  const empty = await settled();
  return {
    page,
    version: browser.version(),
    /** MiB by which the process of the page and its workers has grown since the page was empty, after collections of garbage. */
    async growth() {
      const now = await settled();
      // Other renderers of a browser stay as they are, or end.
      return Math.max(...[...now].filter(([pid]) => empty.has(pid)).map(([pid, mib]) => mib - empty.get(pid)));
    },
    close: () => server.kill(),
  };
}

/** Of each renderer, by its pid; pages shared with other processes count by their share. */
async function renderersMiB(root) {
  const parents = new Map();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    parents.set(Number(pid), Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const isOfRoot = (pid) => pid === root || (parents.get(pid) > 1 && isOfRoot(parents.get(pid)));
  const found = new Map();
  for (const pid of [...parents.keys()].filter(isOfRoot)) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (!command.includes('--type=renderer')) continue;
    const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    found.set(pid, Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0) / 1024);
  }
  return found;
}
