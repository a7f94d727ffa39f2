// Metadata texts as users get them.

import assert from 'node:assert/strict';
import test from 'node:test';

import { parseMetadata } from '../js/answers.js';

test('numbers of many digits come as they were given, integers that a number cannot hold as BigInts', () => {
  for (const value of [{ a: 0.1 + 0.2 }, { a: -1.7976931348623157e308, b: [1234567.1234567891] }, { a: 9007199254740991 }]) {
    assert.deepEqual(parseMetadata(JSON.stringify(value)), value);
  }
  assert.deepEqual(parseMetadata('{"a":9007199254740993,"b":[-12345678901234567890]}'), {
    a: 9007199254740993n,
    b: [-12345678901234567890n],
  });
  for (let count = 0; count < 2000; count += 1) {
    const value = { a: Math.random(), b: Math.random() * 1e6 };
    assert.deepEqual(parseMetadata(JSON.stringify(value)), value);
  }
});

test('texts that look like numbers stay texts', () => {
  const value = { a: '9007199254740993', b: '\u0000BigInt12', c: 'x "1234567890123456" \\', d: 1 / 3 };
  assert.deepEqual(parseMetadata(JSON.stringify(value)), value);
});
