// The browser package beside its peers in Chromium, all on the same rows and queries:
//
//   npm ci --ignore-scripts && taskset -c 1 node run.mjs --rows 10000 --data DIR --python PYTHON --out results.json
//
// Wants the package (`cargo run -p xtask -- wasm`), a Python with the wheel and numpy, and a folder of base.npy and query.npy.
// Every engine has a browser of its own and answers one query at a time. The least setting with recall@10 >= .95
// is found first; then the 300 queries are asked in rounds, a part of them from each engine in turn, each query
// timed once. Figures are medians. It asserts nothing; an engine that cannot build in time is left out and named.

import { execFileSync, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { codeBytes, openBrowser, serve } from './host.mjs';
import { markdown, median, percentile } from './table.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const QUERIES = 300;
const RECALL_LEAST = 0.95;
const BUILD_LIMIT_MS = 180_000;
const WARM_MS = 3_000;
/** Of Python; the same as in engines/nearfield.js. */
const EFS = [10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 200, 400];
/** Name to module and form; those of ours that open a file need no building. */
const ENGINES = {
  'nearfield (worker)': ['nearfield', 'inWorker'],
  'nearfield (page)': ['nearfield', 'inPage'],
  'nearfield (page f16)': ['nearfield', 'halves'],
  'nearfield (written)': ['nearfield', 'written'],
  'edgevec': ['edgevec', 'graph'],
  'edgevec ef 200': ['edgevec', 'graphWide'],
  'hnswlib-wasm': ['hnswlib_wasm', 'build'],
  'voy-search': ['voy', 'build'],
  'orama': ['orama', 'build'],
};
const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000,53248' },
    engines: { type: 'string', default: Object.keys(ENGINES).join(',') },
    data: { type: 'string', default: here('../../../../shared/bench/data/docs-minilm-384') },
    python: { type: 'string', default: here('../../../.venv/bin/python') },
    work: { type: 'string', default: join(tmpdir(), 'nearfield-browser-bench') },
    rounds: { type: 'string', default: '10' },
    out: { type: 'string' },
  },
});

/** An engine in a page. */
async function inBrowser(name, truth) {
  const [module, form] = ENGINES[name];
  const server = await serve(options.work);
  const browser = await openBrowser(server.origin);
  const { page } = browser;
  const call = (method, argument) =>
    page.evaluate(async ([wanted, given]) => (await import('/page.js'))[wanted](given), [method, argument]);
  const close = async () => {
    await browser.close();
    server.close();
  };
  const asked = { module, form, count: truth.rows, dim: truth.dim, part: truth.wanted_part, parts: truth.parts };
  try {
    const built = await inTime(call('build', { ...asked, limitMs: BUILD_LIMIT_MS }), BUILD_LIMIT_MS + 20_000);
    const code = await codeBytes(server.loaded);
    return { name, ...built, growth: browser.growth, code, version: browser.version, ask: (what) => call('ask', what), keep: () => call('keep'), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function inTime(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The Python package, on one thread. */
async function native(truth) {
  const child = spawn(options.python, [here('native.py')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const call = async (message) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error('python ended');
    return JSON.parse(value);
  };
  const opened = await call({ open: join(options.work, `${truth.rows}.near`) });
  const part = truth.wanted_part;
  return {
    name: 'nearfield (Python)',
    openMs: opened.ms,
    note: opened.instruction_set,
    hasFilter: true,
    settings: EFS,
    filterSettings: EFS,
    growth: async () => undefined,
    ask: ({ from, to, setting, filtered }) => call({ from, to, ef: setting ?? null, filtered, part }),
    keep: async () => ({}),
    close: async () => child.stdin.end(),
  };
}

function recall(found, truth) {
  const shares = found.map((rows, index) => truth[index].filter((row) => rows.includes(row)).length / truth[index].length);
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

/** The least setting with enough recall, or the one with most; one setting needs warming only. */
async function tune(engine, filtered, truth) {
  const settings = filtered ? engine.filterSettings : engine.settings;
  if (settings.length === 1) {
    await engine.ask({ from: 0, to: QUERIES, setting: settings[0], filtered, limitMs: WARM_MS });
    return settings[0];
  }
  let best = { recall: -1 };
  for (const setting of settings) {
    const { found } = await engine.ask({ from: 0, to: QUERIES, setting, filtered });
    const reached = recall(found, truth);
    if (reached > best.recall) best = { recall: reached, setting };
    if (reached >= RECALL_LEAST) break;
  }
  return best.setting;
}

/** What is asked of each engine: without filter, with it, and of ours at its default too. */
async function questions(engine, truth) {
  const asked = [['plain', await tune(engine, false, truth.plain)]];
  if (engine.hasFilter) asked.push(['filtered', await tune(engine, true, truth.filtered)]);
  if (engine.name.startsWith('nearfield')) asked.push(['default', undefined], ['default filtered', undefined]);
  return asked.map(([kind, setting]) => ({ kind, setting, filtered: kind.endsWith('filtered'), ms: [], found: [] }));
}

async function rounds(engines, truth) {
  const count = Number(options.rounds);
  for (let round = 0; round < count; round += 1) {
    const [from, to] = [round, round + 1].map((at) => Math.floor((at * QUERIES) / count));
    for (const engine of engines) {
      for (const question of engine.questions) {
        const { ms, found } = await engine.ask({ from, to, setting: question.setting, filtered: question.filtered });
        question.ms.push(...ms);
        question.found.push(...found);
      }
    }
  }
  for (const engine of engines) {
    for (const question of engine.questions) {
      question.recall = recall(question.found, question.filtered ? truth.filtered : truth.plain);
      question.p50 = median(question.ms);
      question.p95 = percentile(question.ms, 0.95);
    }
  }
}

async function started(names, truth) {
  const engines = [];
  const leftOut = [];
  for (const name of names) {
    try {
      const engine = name === 'nearfield (Python)' ? await native(truth) : await inBrowser(name, truth);
      engine.questions = await questions(engine, truth);
      engines.push(engine);
      console.log(`${name}, ${truth.rows} rows: ready`, engine.openMs ?? engine.buildMs, engine.note ?? '');
    } catch (error) {
      leftOut.push({ name, why: String(error.message).split('\n')[0] });
      console.log(`${name}, ${truth.rows} rows: left out: ${error.message}`);
    }
  }
  return { engines, leftOut };
}

/** Everything at one number of rows. */
async function measure(count, names) {
  const truth = JSON.parse(await readFile(join(options.work, `truth-${count}.json`)));
  const { engines, leftOut } = await started(['nearfield (Python)', ...names], truth);
  await rounds(engines, truth);
  const lines = engines.map(({ name, buildMs, openMs, code, note, version, questions: asked }) => {
    const figures = asked.map(({ kind, setting, p50, p95, recall: reached }) => ({ kind, setting, p50, p95, recall: reached }));
    return { name, buildMs, openMs, code, note, version, kept: {}, figures };
  });
  results.push({ rows: count, native: truth.native, lines, leftOut });
  await write();
  for (const [index, engine] of engines.entries()) {
    lines[index].memory = await engine.growth();
    lines[index].kept = await engine.keep().catch((error) => ({ storeError: String(error.message) }));
    await engine.close();
    await write();
  }
}

/** As far as it is; a run that is cut short leaves what it has. */
async function write() {
  if (options.out) await writeFile(options.out, JSON.stringify(report, null, 1));
}

const results = [];
const report = { date: new Date().toISOString().slice(0, 10), machine: cpus()[0].model, node: process.version, results };
const counts = options.rows.split(',').map(Number);
// 1,000 always: with that file our code is loaded and compiled before an opening is timed.
const made = new Set(['1000', ...counts.map(String)]);
execFileSync(options.python, [here('prepare.py'), options.work, options.data, ...made], { stdio: 'inherit' });
for (const count of counts) await measure(count, options.engines.split(','));
console.log(markdown(report));
