// The pure parts of the demo page, in Node.

import assert from 'node:assert/strict';
import test from 'node:test';

import * as address from '../demo/address.js';
import { fromFilter, toFilter, valueOf } from '../demo/conditions.js';
import { pixelsOf } from '../demo/pixels.js';
import { project } from '../demo/projection.js';
import { VectorProblem, readVector } from '../demo/vector_text.js';
import { bytes, milliseconds, percent } from '../demo/words.js';

test('a vector is read from JSON, commas, spaces and lines', () => {
  const expected = Float32Array.of(1, -2.5, 300);
  for (const text of ['[1,-2.5,3e2]', ' [ 1 , -2.5 , 300 ] ', '1, -2.5, 300', '1 -2.5\n300', '1,-2.5,300,']) {
    assert.deepEqual(readVector(text, 3), expected, text);
  }
});

test('a wrong vector is refused with the position of what is wrong', () => {
  for (const [text, position] of [['1, two, 3', 3], ['[1, 2, 3', 8], ['[1, 2, 3] x', 10], ['1 2', 3], ['', 0], ['1, 1e99, 2', 3], ['1,,2,3', 2], ['0x10 1 2', 0], ['NaN 1 2', 0]]) {
    const refused = (error) => error instanceof VectorProblem && error.position === position;
    assert.throws(() => readVector(text, 3), refused, `${text} at ${position}`);
  }
});

test('a drawing fills the image in height wherever and however large it was drawn', () => {
  const line = (x, from, to) => [[{ x, y: from }, { x, y: to }]];
  const tall = pixelsOf(line(0.5, 0.1, 0.9));
  assert.deepEqual(pixelsOf(line(0.1, 0.4, 0.6)), tall);
  assert.equal(tall.length, 64);
  assert.ok(tall.every((pixel) => Number.isInteger(pixel) && pixel >= 0 && pixel <= 16));
  for (let row = 1; row < 7; row += 1) {
    assert.ok(tall[row * 8 + 3] > 8 && tall[row * 8 + 4] > 8, 'in the middle');
    assert.equal(tall[row * 8], 0);
  }
  assert.equal(pixelsOf([]), undefined);
  assert.ok(pixelsOf([[{ x: 0.2, y: 0.2 }]]).some((pixel) => pixel > 0), 'a dot is a drawing');
});

test('rows of the builder and their filter are the same thing', () => {
  const rows = [
    { field: 'label', operator: 'eq', value: '5' },
    { field: 'name', operator: 'ne', value: '"5"' },
    { field: 'tag', operator: 'in', value: 'a, 2, true' },
    { field: 'note', operator: 'exists', value: 'false' },
  ];
  const filter = toFilter(rows, 'or');
  const conditions = [{ label: { eq: 5 } }, { name: { ne: '5' } }, { tag: { in: ['a', 2, true] } }, { note: { exists: false } }];
  assert.deepEqual(filter, { or: conditions });
  assert.deepEqual(fromFilter(filter), { rows, joiner: 'or' });
  assert.deepEqual(toFilter([rows[0], { field: ' ', operator: 'eq', value: '' }], 'and'), { label: { eq: 5 } });
  assert.equal(toFilter([], 'and'), undefined);
});

test('filters beyond the builder are left alone', () => {
  for (const filter of [{ not: { a: { eq: 1 } } }, { a: { eq: 1 }, b: { eq: 2 } }, { a: 1 }, { and: [{ or: [] }] }, { a: { gt: 1, lt: 2 } }, 7, [], null]) {
    assert.equal(fromFilter(filter), undefined, JSON.stringify(filter));
  }
  assert.equal(valueOf('007x'), '007x');
});

test('two components order points along the line they lie on, always in the same way', () => {
  const rows = Array.from({ length: 20 }, (_, i) => Float32Array.of(i, 2 * i, -i, i % 2));
  const places = rows.map(project(rows).place);
  const along = places.map(([x]) => x);
  const sorted = [...along].sort((a, b) => a - b);
  assert.ok(along.join() === sorted.join() || along.join() === sorted.reverse().join());
  assert.deepEqual(rows.map(project(rows).place), places);
  const same = project([Float32Array.of(1, 1), Float32Array.of(1, 1)]).place(Float32Array.of(1, 1));
  assert.ok(same.every(Number.isFinite), 'points that are all one');
});

test('an address gives the question back, and nonsense nothing', () => {
  const question = { url: 'https://example.org/a b.near', id: 'x', k: 7, mode: 'fast', where: { a: { eq: '&' } } };
  assert.deepEqual(address.read(address.write(question)), question);
  const drawn = { vector: [0, 16, 2.5], k: 10, mode: 'exact' };
  assert.deepEqual(address.read(address.write(drawn)), drawn);
  assert.deepEqual(address.read('#k=x&mode=slow&where={&vector=1,two'), {});
  const long = { vector: Float32Array.from({ length: 1536 }, Math.random), k: 1, mode: 'fast' };
  assert.deepEqual(address.read(address.write(long)), { k: 1, mode: 'fast' });
});

test('numbers are said in words that fit them', () => {
  assert.deepEqual([bytes(1), bytes(999), bytes(65_536), bytes(999_600), bytes(2_345_678)], ['1 byte', '999 bytes', '66 kB', '1.0 MB', '2.3 MB']);
  assert.deepEqual([percent(0), percent(0.001), percent(0.28), percent(0.999), percent(1)], ['0 %', 'less than 1 %', '28 %', 'more than 99 %', '100 %']);
  assert.deepEqual([milliseconds(0.42), milliseconds(1234.5)], ['0.4 ms', '1,235 ms']);
});
