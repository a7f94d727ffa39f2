// The package as users build it: from its tarball, by esbuild, Vite, webpack and without a bundler; each page opens a
// file by its URL in Chromium, in a worker, under the policy of the manual, and writes a collection. `npm ci` in this directory first.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, before } from 'node:test';

import { QUERY } from '../fixture.mjs';
import { asked, serveFiles, startChromium } from './browser.mjs';
import { ANSWER, PAGE, project } from './project.mjs';

const MODULES = ['nearfield_wasm_bg.wasm', 'nearfield_store_bg.wasm'];
const EXPECTED = { found: ANSWER, nearest: { id: 'near', score: 1 } };
let browser;
let app;

before(async () => {
  app = project();
  browser = await startChromium();
});
after(async () => {
  await browser?.close();
  app?.remove();
});

/** Serves a built page; its answers have to be the known ones, given by a worker, and every file has to be there. */
async function works(directory) {
  const server = await serveFiles(directory);
  try {
    const { answers, workers, failed } = await asked(browser, server.url, QUERY);
    assert.deepEqual(answers, EXPECTED);
    assert.deepEqual(failed, []);
    assert.equal(workers.length, 2, 'one for each of the file and the collection');
    return workers.map((url) => new URL(url).pathname);
  } finally {
    await server.close();
  }
}

/** Where the package's file of an export is. */
const exported = (name) => join(app.installed, JSON.parse(readFileSync(join(app.installed, 'package.json'), 'utf8')).exports[name]);

test('esbuild: page and worker as two entries, the modules beside them', async () => {
  const esbuild = await import('esbuild');
  const out = app.output('out-esbuild');
  await esbuild.build({
    absWorkingDir: app.root, entryPoints: { page: './page.js', worker: 'nearfield/worker.js' },
    bundle: true, minify: true, format: 'esm', outdir: out, logLevel: 'silent',
  });
  for (const name of MODULES) copyFileSync(exported(`./${name}`), join(out, name));
  assert.deepEqual(await works(out), ['/worker.js', '/worker.js']);
});

test('files that were moved and renamed are named by the options worker and wasmUrl', async () => {
  const esbuild = await import('esbuild');
  const out = app.output('out-moved');
  const moved = `import read from 'nearfield/nearfield_wasm_bg.wasm';
import write from 'nearfield/nearfield_store_bg.wasm';
const worker = () => new Worker('threads/searching.js', { type: 'module' });
globalThis.options = { read: { worker, wasmUrl: read }, write: { worker, wasmUrl: write } };
`;
  writeFileSync(join(app.root, 'moved.js'), moved + PAGE);
  await esbuild.build({
    absWorkingDir: app.root, entryPoints: { page: './moved.js', 'threads/searching': 'nearfield/worker.js' },
    bundle: true, format: 'esm', outdir: out, logLevel: 'silent', loader: { '.wasm': 'file' }, assetNames: 'modules/[name]-[hash]',
  });
  assert.deepEqual(await works(out), ['/threads/searching.js', '/threads/searching.js']);
});

test('Vite: build without settings', async () => {
  const { build } = await import('vite');
  const out = app.output('out-vite');
  await build({ root: app.root, configFile: false, logLevel: 'error', build: { outDir: out, emptyOutDir: false } });
  const workers = await works(out);
  assert.ok(workers.every((path) => /^\/assets\/worker-.*\.js$/.test(path)), workers.join());
});

test('Vite: development server, the package left out of its optimizer', async (t) => {
  const { createServer } = await import('vite');
  app.output('public');
  const server = await createServer({
    root: app.root, configFile: false, logLevel: 'error', optimizeDeps: { exclude: ['nearfield'] },
    server: { host: '127.0.0.1', port: 0, strictPort: false, hmr: false, watch: null },
  });
  t.after(() => server.close());
  await server.listen();
  const { answers, workers } = await asked(browser, `http://127.0.0.1:${server.httpServer.address().port}/`, QUERY);
  assert.deepEqual(answers, EXPECTED);
  assert.equal(workers.length, 2);
});

test('webpack: production build without settings', async () => {
  const { default: webpack } = await import('webpack');
  const out = app.output('out-webpack');
  const compiler = webpack({ mode: 'production', context: app.root, entry: './page.js', output: { path: out, filename: 'page.js' } });
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, done) => compiler.close(() => (error ? reject(error) : resolve(done))));
  });
  assert.deepEqual(stats.toJson({ all: false, errors: true, warnings: true }).errors.map(({ message }) => message), []);
  await works(out);
  assert.equal(readdirSync(out).filter((name) => name.endsWith('.wasm')).length, 2, 'each module once');
});

test('no bundler: the files as they come out of the tarball', async () => {
  const out = app.output('out-none');
  execFileSync('cp', ['-r', app.installed, join(out, 'nearfield')]);
  const entry = JSON.parse(readFileSync(join(app.installed, 'package.json'), 'utf8')).exports['.'].default;
  writeFileSync(join(out, 'page.js'), PAGE.replace("'nearfield'", `'./nearfield/${entry}'`));
  await works(out);
});

test('Node: the installed package opens the file', async () => {
  const program = `import { readFileSync } from 'node:fs'; import { open } from 'nearfield';
const found = await (await open(readFileSync(process.argv[1]))).collection().search(${JSON.stringify(QUERY)}, { mode: 'exact' });
console.log(JSON.stringify(found.map(({ id, score }) => ({ id, score }))));`;
  const file = join(app.output('out-node'), 'file.near');
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program, file], { cwd: app.root, encoding: 'utf8' });
  assert.deepEqual(JSON.parse(said), ANSWER.map(({ id, score }) => ({ id, score })));
});

test('a worker or a module that is not there is named, with what to do', async () => {
  const out = app.output('out-broken');
  execFileSync('cp', ['-r', app.installed, join(out, 'nearfield')]);
  const entry = JSON.parse(readFileSync(join(app.installed, 'package.json'), 'utf8')).exports['.'].default;
  const page = PAGE.replace("'nearfield'", `'./nearfield/${entry}'`);
  const server = await serveFiles(out);
  try {
    writeFileSync(join(out, 'page.js'), `globalThis.options = { read: { worker: () => new Worker('/gone.js', { type: 'module' }) } };\n${page}`);
    const { answers: noWorker } = await asked(browser, server.url, QUERY);
    assert.equal(noWorker.code, 'WASM');
    assert.match(noWorker.message, /worker.*could not be loaded/);
    assert.match(noWorker.hint, /nearfield\/worker\.js/);
    writeFileSync(join(out, 'page.js'), `globalThis.options = { read: { wasmUrl: 'gone.wasm' } };\n${page}`);
    const { answers: noModule } = await asked(browser, server.url, QUERY);
    assert.equal(noModule.code, 'WASM');
    assert.equal(noModule.message, `${server.url}gone.wasm: the server answered 404`);
    assert.match(noModule.hint, /wasmUrl/);
  } finally {
    await server.close();
  }
});

test('the tarball says what it is, and its scripts import nothing that only Node has', () => {
  for (const name of ['README.md', 'LICENSE', 'package.json', 'index.d.ts', 'local.d.ts']) assert.ok(app.names.includes(name), name);
  const about = JSON.parse(readFileSync(join(app.installed, 'package.json'), 'utf8'));
  assert.ok(about.repository && about.license && about.description);
  for (const name of app.names.filter((name) => name.endsWith('.js'))) {
    assert.doesNotMatch(readFileSync(join(app.installed, name), 'utf8'), /["'`]node:/, name);
  }
});

test('the types compile with the libraries of ES2022 and DOM alone', () => {
  const program = `import { create, open, type Hits, type Snapshot } from 'nearfield';
const snapshot: Snapshot = await open(new Blob([]));
const hits: Hits = await snapshot.collection().search([1], { k: 3, where: { n: { lt: 4 } } });
const written = await create({ dim: hits.length, name: 'notes' });
await written.close();
await snapshot.close();
export {};
`;
  writeFileSync(join(app.root, 'typed.ts'), program);
  const compiler = new URL('node_modules/typescript/bin/tsc', import.meta.url).pathname;
  const flags = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--module', 'esnext', '--moduleResolution', 'bundler', '--types', ''];
  try {
    execFileSync(process.execPath, [compiler, ...flags, 'typed.ts'], { cwd: app.root, encoding: 'utf8' });
  } catch ({ stdout }) {
    assert.fail(stdout);
  }
});
