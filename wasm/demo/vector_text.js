// A vector that the user pasted: JSON, or numbers between commas or spaces. Pure.

/** What is wrong with it, and at which character (from 0). */
export class VectorProblem extends Error {
  constructor(message, position) {
    super(message);
    this.position = position;
  }
}

const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const GAP = /\s*,?\s*/y;
const SHOWN = 12;

function match(pattern, text, position) {
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0] ?? '';
}

/**
 * Reads a vector.
 * @param {string} text
 * @param {number} dim how many numbers there must be
 * @returns {Float32Array}
 */
export function readVector(text, dim) {
  let position = match(/\s*/y, text, 0).length;
  const end = text.trimEnd().length;
  if (position >= end) throw new VectorProblem(`expected ${dim} numbers, got nothing`, 0);
  const bracket = text[position] === '[';
  if (bracket) position += 1;
  position += match(/\s*/y, text, position).length;
  const numbers = [];
  while (position < end && !(bracket && text[position] === ']')) {
    const number = match(NUMBER, text, position);
    const after = text[position + number.length] ?? '';
    if (number === '' || !/^[\s,\]]?$/.test(after) || !Number.isFinite(Math.fround(Number(number)))) {
      const got = text.slice(position, position + SHOWN).split(/[\s,\]]/)[0] || text[position];
      throw problem(numbers.length, position, 'a number of 32 bits', `"${got}"`);
    }
    numbers.push(Number(number));
    position += number.length;
    position += match(GAP, text, position).length;
  }
  if (bracket && position >= end) throw problem(numbers.length, end, '"]"', 'the end');
  if (bracket && position < end - 1) {
    const rest = position + 1 + match(/\s*/y, text, position + 1).length;
    throw new VectorProblem(`character ${rest + 1}: expected the end, got "${text[rest]}"`, rest);
  }
  if (numbers.length !== dim) {
    throw new VectorProblem(`expected ${dim} numbers, got ${numbers.length}`, Math.min(position, end));
  }
  return Float32Array.from(numbers);
}

function problem(index, position, expected, got) {
  return new VectorProblem(`number ${index + 1}, character ${position + 1}: expected ${expected}, got ${got}`, position);
}
