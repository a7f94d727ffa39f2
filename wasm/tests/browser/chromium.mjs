// Chromium as a process of its own, so that it can be killed as a power user would, and a page to run code in.

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--remote-debugging-port=0',
];
const TYPES = { html: 'text/html', js: 'text/javascript', mjs: 'text/javascript', wasm: 'application/wasm' };
const START_MS = 60_000;

/** The package and its tests over HTTP on a free port of this machine. */
export async function serve() {
  const server = createServer(async ({ url }, response) => {
    const path = normalize(new URL(url, 'http://x').pathname);
    if (path === '/') {
      response.setHeader('content-type', TYPES.html);
      response.end('<!doctype html><title>test</title>');
      return;
    }
    try {
      const body = await readFile(join(ROOT, path));
      response.setHeader('content-type', TYPES[path.split('.').pop()] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** A directory for a profile, and how to remove it. */
export async function profile() {
  const path = await mkdtemp(join(tmpdir(), 'nearfield-profile-'));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** Starts a browser on a profile. */
export async function launch(profilePath) {
  const child = spawn(EXECUTABLE, [...FLAGS, `--user-data-dir=${profilePath}`, 'about:blank'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const address = await addressOf(child);
  const browser = await chromium.connectOverCDP(address);
  return {
    browser,
    context: browser.contexts()[0],
    /** The whole browser at once, as when the machine's memory is out. */
    async kill() {
      process.kill(-child.pid, 'SIGKILL');
      await ended;
    },
    /** The processes of its tabs. */
    async killRenderers() {
      const session = await browser.newBrowserCDPSession();
      const { processInfo } = await session.send('SystemInfo.getProcessInfo');
      for (const { type, id } of processInfo) if (type === 'renderer') process.kill(id, 'SIGKILL');
    },
    async close() {
      const session = await browser.newBrowserCDPSession();
      await session.send('Browser.close').catch(() => {});
      await ended;
    },
  };
}

function addressOf(child) {
  return new Promise((resolve, reject) => {
    let text = '';
    const late = setTimeout(() => reject(new Error(`no browser: ${text}`)), START_MS);
    child.stderr.on('data', (data) => {
      text += data;
      const [, address] = /DevTools listening on (ws:\S+)/.exec(text) ?? [];
      if (address) {
        clearTimeout(late);
        resolve(address);
      }
    });
    child.once('exit', (code) => reject(new Error(`the browser ended with ${code}: ${text}`)));
  });
}
