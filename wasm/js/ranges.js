// Arithmetic of byte ranges: `merge`, `subtract`, `intersect` and others take and return lists of `[start,
// end)`, sorted, without overlap. Pure; knows no file and no network. Called by `Remote`, `Fetcher`,
// `Resident` and `BlockCache`.

/** @typedef {[number, number]} Range */

/** @param {Range[]} ranges @returns {number} */
export const total = (ranges) => ranges.reduce((sum, [start, end]) => sum + end - start, 0);

/**
 * Sorted, without empty ones, and with those joined that are at most `gap` bytes apart.
 * @param {Range[]} ranges @param {number} [gap] @returns {Range[]}
 */
export function merge(ranges, gap = 0) {
  const sorted = ranges.filter(([start, end]) => end > start).sort((a, b) => a[0] - b[0]);
  const merged = [];
  for (const [start, end] of sorted) {
    const last = merged.at(-1);
    if (last && start <= last[1] + gap) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/**
 * What of `ranges` is not in `taken`; both merged.
 * @param {Range[]} ranges @param {Range[]} taken @returns {Range[]}
 */
export function subtract(ranges, taken) {
  const left = [];
  for (let [start, end] of ranges) {
    for (const [from, to] of taken) {
      if (to <= start) continue;
      if (from >= end) break;
      if (from > start) left.push([start, from]);
      start = to;
    }
    if (start < end) left.push([start, end]);
  }
  return left;
}

/** What is in both; both merged. @param {Range[]} a @param {Range[]} b @returns {Range[]} */
export const intersect = (a, b) => subtract(a, subtract(a, b));

/**
 * Outward to multiples of `unit`, but not over `length`.
 * @param {Range[]} ranges @param {number} unit @param {number} length @returns {Range[]}
 */
export const align = (ranges, unit, length) =>
  merge(
    ranges.map(([start, end]) => [
      Math.floor(start / unit) * unit,
      Math.min(Math.ceil(end / unit) * unit, length),
    ]),
  );

/** In pieces of at most `size` bytes. @param {Range[]} ranges @param {number} size @returns {Range[]} */
export function split(ranges, size) {
  const pieces = [];
  for (const [start, end] of ranges)
    for (let at = start; at < end; at += size) pieces.push([at, Math.min(at + size, end)]);
  return pieces;
}
