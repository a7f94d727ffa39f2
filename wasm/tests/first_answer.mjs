// What a first answer costs in Chromium: bytes, requests and recall@10 of queries that each open the file anew.
//
// `node wasm/tests/first_answer.mjs FILE.near FOLDER [QUERIES]`: FOLDER has query.npy (f32 or f16) and gt100.npy (i32), the
// ids of FILE are the numbers of the rows. Ends with 1 if more than 5 MB, more than 12 requests, or less than .9.

import { readFile } from 'node:fs/promises';

import { openPage } from './browser/page.mjs';
import { serve } from './range_server.mjs';

const BYTES_MAX = 5e6;
const REQUESTS_MAX = 12;
const RECALL_MIN = 0.9;

function widen(half) {
  const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

/** The rows of a two-dimensional .npy file. */
async function rowsOf(path) {
  const file = await readFile(path);
  const end = 10 + file.readUInt16LE(8);
  const [, type, width] = /'descr': '(<\w+)'.*'shape': \(\d+, (\d+)\)/.exec(file.subarray(10, end).toString());
  const data = file.buffer.slice(file.byteOffset + end, file.byteOffset + file.length);
  const read = {
    '<f4': () => new Float32Array(data),
    '<f2': () => Float32Array.from(new Uint16Array(data), widen),
    '<i4': () => new Int32Array(data),
  };
  const values = read[type]();
  return (row) => Array.from(values.subarray(row * width, (row + 1) * width));
}

const [file, folder, count = '200'] = process.argv.slice(2);
const [queries, truth] = await Promise.all([rowsOf(`${folder}/query.npy`), rowsOf(`${folder}/gt100.npy`)]);
const ends = [];
const server = await serve(await readFile(file), { cors: '*' });
const page = await openPage({ after: (end) => ends.push(end) });

/** Opens, asks one question, and says what came. */
const firstAnswer = ([url, query]) =>
  import('/wasm/dist/index.js').then(async ({ open }) => {
    const begun = performance.now();
    const snapshot = await open(url, { storage: 'memory', prefetch: 'none' });
    const hits = await snapshot.collection().search(query);
    const ms = performance.now() - begun;
    const stats = await snapshot.stats();
    await snapshot.close();
    return { ids: hits.map(({ id }) => id), coverage: hits.coverage, ms, ...stats };
  });

const all = [];
let found = 0;
for (let number = 0; number < Number(count); number += 1) {
  server.seen.length = 0;
  const answer = await page.evaluate(firstAnswer, [server.url, queries(number)]);
  const nearest = truth(number).slice(0, 10);
  found += answer.ids.filter((id) => nearest.includes(id)).length;
  all.push({ ...answer, requests: server.seen.length });
}
const mean = (name) => all.reduce((sum, answer) => sum + answer[name], 0) / all.length;
const most = (name) => Math.max(...all.map((answer) => answer[name]));
const recall = found / all.length / 10;
console.log(`${all.length} first answers of a file of ${(all[0].totalBytes / 1e6).toFixed(1)} MB: recall@10 ${recall.toFixed(4)}`);
for (const name of ['bytes', 'requests', 'coverage', 'ms']) console.log(`${name}: mean ${mean(name).toFixed(3)}, most ${most(name).toFixed(3)}`);
for (const end of ends) await end();
await server.close();
process.exitCode = most('bytes') <= BYTES_MAX && most('requests') <= REQUESTS_MAX && recall >= RECALL_MIN ? 0 : 1;
