// Byte ranges against a model: sets of single bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { align, intersect, merge, split, subtract, total } from '../js/ranges.js';

/** A small repeatable generator (mulberry32). */
const generator = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const bytesOf = (ranges) => {
  const set = new Set();
  for (const [start, end] of ranges) for (let at = start; at < end; at += 1) set.add(at);
  return [...set].sort((a, b) => a - b);
};

test('merge, subtract and intersect are those of sets of bytes', () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = generator(seed);
    const some = () =>
      Array.from({ length: random() * 6 }, () => {
        const start = Math.floor(random() * 60);
        return [start, start + Math.floor(random() * 12)];
      });
    const [a, b] = [merge(some()), merge(some())];
    const inB = new Set(bytesOf(b));
    const text = `seed ${seed}`;
    assert.deepEqual(bytesOf(subtract(a, b)), bytesOf(a).filter((at) => !inB.has(at)), text);
    assert.deepEqual(bytesOf(intersect(a, b)), bytesOf(a).filter((at) => inB.has(at)), text);
    assert.equal(total(a), bytesOf(a).length, text);
    assert.equal(total(split(a, 5)), total(a), text);
    assert.ok(split(a, 5).every(([start, end]) => end - start <= 5), text);
  }
});

test('neighbours within the gap become one range, others do not', () => {
  assert.deepEqual(merge([[0, 10], [20, 30]], 10), [[0, 30]]);
  assert.deepEqual(merge([[0, 10], [20, 30]], 9), [[0, 10], [20, 30]]);
  assert.deepEqual(merge([[20, 30], [5, 5], [0, 25]]), [[0, 30]]);
});

test('aligned ranges end at the end of the file', () => {
  assert.deepEqual(align([[5, 9], [4097, 8000]], 4096, 7000), [[0, 7000]]);
});
