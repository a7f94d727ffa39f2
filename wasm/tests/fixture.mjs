// The small exports of tests/fixtures and what is in them, as JavaScript sees it.

import { readFile } from 'node:fs/promises';
import { Buffer } from 'node:buffer';

const ROOT = new URL('../../tests/fixtures/', import.meta.url);

const read = (version, name) => readFile(new URL(`${version}/${name}`, ROOT));

/** Bytes and content of a version: `{bytes, answer: [{id, score}], points: Map(id -> {vector, metadata})}`. */
export async function fixture(version) {
  const [file, text] = await Promise.all([read(version, 'export.near'), read(version, 'expected.json')]);
  return { bytes: toArrayBuffer(file), ...content(JSON.parse(text)) };
}

/** The collection `dates` of version 5: its content, and `counts: [[filter, count]]`. */
export async function dates() {
  const expected = JSON.parse(await read('v5', 'dates.json'));
  return { counts: expected.counts, ...content(expected.content) };
}

function content(expected) {
  const points = Object.entries(expected.points).map(([id, { vector, metadata }]) => [
    idOf(id),
    { vector: Float32Array.from(vector, float), metadata: metadata === null ? undefined : JSON.parse(metadata) },
  ]);
  const answer = expected.answer.map((line) => {
    const [, id, bits] = /^(.*) ([0-9a-f]{8})$/.exec(line);
    return { id: idOf(id), score: Math.fround(Math.sqrt(float(bits))) };
  });
  return { answer, points: new Map(points) };
}

/** The query of the answer. */
export const QUERY = [0.25, 0.25, 0.25, 0.25];

function toArrayBuffer(buffer) {
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
}

function float(bits) {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(Number.parseInt(bits, 16));
  return buffer.readFloatBE();
}

/** Ids as Rust prints them: `U64(6)`, `I64(-6)`, `Str("a")`, `Uuid(12)`. */
function idOf(text) {
  const [, kind, value] = /^(\w+)\((.*)\)$/s.exec(text);
  if (kind === 'U64' || kind === 'I64') return Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value);
  if (kind === 'Str') return JSON.parse(value);
  const hex = BigInt(value).toString(16).padStart(32, '0');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
