// A `.near` file that is large enough to be read in part, made by an example of the engine; and questions to it.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The bytes of the sample, made at the first call. */
export function sample() {
  const folder = `${ROOT}target/samples`;
  const file = `${folder}/sample-1.near`;
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    const words = ['run', '--quiet', '--package', 'nearfield-engine', '--example', 'sample_export', '--', file, '1'];
    execFileSync('cargo', words, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  return new Uint8Array(readFileSync(file));
}

/** Where sections of a kind (docs/internals/format.md) are: `[start, end]` of each. The sample has one collection. */
export function sections(bytes, wanted) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const directory = JSON.parse(new TextDecoder().decode(bytes.subarray(64, 64 + Number(view.getBigUint64(32, true)))));
  let at = 64 + Number(view.getBigUint64(32, true));
  const found = [];
  for (const segment of directory.collections[0].segments) {
    for (let index = 0; index < segment.sections; index += 1) {
      const entry = at + 64 * index;
      const [start, length] = [16, 24].map((field) => Number(view.getBigUint64(entry + field, true)));
      if (view.getUint16(entry, true) === wanted) found.push([start, start + length]);
    }
    at += segment.table_len;
  }
  return found;
}

/** Kinds of sections. */
export const KINDS = { vectors: 3, cellTable: 11, cells: 12 };

/** The checksum of the format. */
function crc32c(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

/** The same file as if it were of a version that made no cells: their bytes are there, but nothing names them. */
export function withoutCells(bytes) {
  const file = bytes.slice();
  const view = new DataView(file.buffer);
  const [frontLength, jsonLength] = [16, 32].map((at) => Number(view.getBigUint64(at, true)));
  const directory = JSON.parse(new TextDecoder().decode(file.subarray(64, 64 + jsonLength)));
  let at = 64 + jsonLength;
  const tables = [];
  for (const segment of directory.collections[0].segments) {
    const table = file.slice(at, at + segment.table_len);
    at += segment.table_len;
    const kindOf = (index) => new DataView(table.buffer).getUint16(64 * index, true);
    const indices = Array.from({ length: segment.sections }, (_, index) => index);
    const kept = indices.filter((index) => ![KINDS.cellTable, KINDS.cells].includes(kindOf(index)));
    tables.push(...kept.map((index) => table.subarray(64 * index, 64 * index + 64)), table.subarray(64 * segment.sections));
    segment.table_len -= 64 * (segment.sections - kept.length);
    segment.sections = kept.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(directory));
  file.fill(0, 64, frontLength);
  let place = 64;
  for (const part of [json, ...tables]) {
    file.set(part, place);
    place += part.length;
  }
  view.setBigUint64(32, BigInt(json.length), true);
  view.setUint32(12, 0, true);
  view.setUint32(12, crc32c(file.subarray(0, frontLength)), true);
  return file;
}

/** A copy with every 100th byte of some ranges changed. */
export function damaged(bytes, ranges) {
  const copy = bytes.slice();
  for (const [start, end] of ranges) for (let at = start; at < end; at += 100) copy[at] ^= 0x55;
  return copy;
}

/** A query for the sample; each number another one. */
export function query(number) {
  let state = number + 1;
  return Float32Array.from({ length: 32 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 0.2 + state / 2 ** 32;
  });
}

/** Ids and scores, to be compared. */
export const plain = (hits) => hits.map(({ id, score }) => ({ id, score }));
