// The server on a directory, asked over HTTP as the package's collections are: `searchMany` with the same options and hits.
//
// NEARFIELD_BINARY names the program; else it is the one that cargo built last in this checkout.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where cargo puts what it builds, and its tests what others read. */
export const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url));
/** The program, or undefined if nothing built it yet. */
export const BINARY = process.env.NEARFIELD_BINARY ?? [join(TARGET, 'debug/nearfield')].find((path) => existsSync(path));
const START_MS = 60_000;
/** Neither checkpoint nor merge falls into a test: the files stay those that Python wrote. */
const STILL = ['--checkpoint-interval-secs', '86400', '--compaction-interval-secs', '86400'];
const QUERIES_AT_ONCE = 100;

/** Serves the database in `directory`. */
export async function serveDirectory(directory) {
  const flags = ['--data-dir', directory, '--port', '0', '--bootstrap-admin-key', 'true', ...STILL];
  const child = spawn(BINARY, ['serve-v2', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const close = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  try {
    const [port, key] = await said(child, [/listening on http:\/\/[^\s/]*:(\d+)/, /BOOTSTRAP_ADMIN_KEY=(\S+)/]);
    const address = `http://127.0.0.1:${port}/v2`;
    await ready(address, key);
    return { collection: (name, dim) => new Served(`${address}/collections/${name}`, key, dim), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Waits until it has recovered. */
async function ready(address, key) {
  const until = Date.now() + START_MS;
  for (;;) {
    const { ok } = await fetch(`${address}/health/ready`, { headers: { authorization: `Bearer ${key}` } });
    if (ok) return;
    if (Date.now() > until) throw new Error(`the server is not ready after ${START_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The first group of each pattern, as soon as all were printed. */
function said(child, patterns) {
  return new Promise((resolve, reject) => {
    let text = '';
    const late = setTimeout(() => reject(new Error(`the server did not start: ${text}`)), START_MS);
    const hear = (data) => {
      text += data;
      const found = patterns.map((pattern) => pattern.exec(text)?.[1]);
      if (!found.includes(undefined)) {
        clearTimeout(late);
        resolve(found);
      }
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('exit', (code) => {
      clearTimeout(late);
      reject(new Error(`the server ended with ${code}: ${text}`));
    });
  });
}

class Served {
  #url;
  #headers;
  #dim;

  constructor(url, key, dim) {
    this.#url = url;
    this.#dim = dim;
    this.#headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  }

  /** As of a collection of the package; `queries` are row-major. */
  async searchMany(queries, { k, ef, where, mode }) {
    const found = [];
    const dim = this.#dim;
    const step = QUERIES_AT_ONCE * dim;
    for (let at = 0; at < queries.length; at += step) {
      const part = queries.subarray(at, at + step);
      const vectors = Array.from({ length: part.length / dim }, (_, row) => Array.from(part.subarray(row * dim, (row + 1) * dim)));
      found.push(...(await this.#ask({ vectors, k, ef, filter: where, exact: mode === 'exact', include_metadata: false })));
    }
    return found;
  }

  async #ask(question) {
    const response = await fetch(`${this.#url}/query`, { method: 'POST', headers: this.#headers, body: JSON.stringify(question) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.status}: ${text}`);
    // Numbers of 64 bits do not survive JSON.parse; an id of digits in quotes keeps its quotes.
    const exact = text.replace(/"id":(\d+)/g, '"id":{"number":"$1"}');
    return JSON.parse(exact).data.results.map((hits) => hits.map(hitOf));
  }
}

function hitOf({ id, score }) {
  return { id: typeof id === 'string' ? id : BigInt(id.number), score: Math.fround(score) };
}
