// Results as text: one table for each number of rows. `node table.mjs results.json …` prints those that were kept.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The value below which `share` of them are. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** The middle value. */
export const median = (values) => percentile(values, 0.5);

const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : '-');
const kilobytes = (bytes) => number(bytes / 1e3, 0);
const millions = (bytes) => number(bytes / 1e6, 1);

function answer(figures, kind) {
  const found = figures.find((figure) => figure.kind === kind);
  if (!found) return '-';
  const setting = found.setting ?? undefined;
  return `${number(found.p50, 3)} @${found.recall.toFixed(3)}${setting === undefined ? '' : ` (${setting})`}`;
}

function line({ name, buildMs, openMs, memory, code, kept, figures }) {
  const built = buildMs === undefined ? `open ${number(openMs, 0)} ms` : `${number(buildMs / 1e3, 1)} s`;
  const size = code ? `${kilobytes(code.wasm + code.js)} / ${kilobytes(code.wasm + code.minified)}` : '-';
  const kinds = ['plain', 'filtered', 'default', 'default filtered'].map((kind) => answer(figures, kind));
  const stored = kept.store === undefined ? (kept.storeError ?? '-').slice(0, 40) : millions(kept.store);
  const again = kept.reopen === undefined ? (kept.reopenError ?? '-').slice(0, 40) : number(kept.reopen, 0);
  return `| ${[name, built, ...kinds, size, stored, again, number(memory, 0)].join(' | ')} |`;
}

/** Tables of a report. */
export function markdown({ date, machine, node, results }) {
  const parts = [`${machine}, ${date}, node ${node}`];
  for (const { rows, native, lines, leftOut } of results) {
    parts.push('', `${rows} rows; .near of ${native.bytes} bytes, its graph took ${native.build_s.toFixed(1)} s (one thread, native)`, '');
    parts.push('| engine | build or open | p50 ms @recall (setting) | filtered | default | default, filtered | code gz kB, shipped / minified | stored MB | open again ms | memory MiB |');
    parts.push('|---|---|---|---|---|---|---|--:|--:|--:|');
    parts.push(...lines.map(line));
    parts.push(...leftOut.map(({ name, why }) => `| ${name} | ${why} | | | | | | | | |`));
  }
  return parts.join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of process.argv.slice(2)) console.log(markdown(JSON.parse(await readFile(file))));
}
