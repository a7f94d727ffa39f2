// Numbers and errors in words. Pure.

const COUNT = new Intl.NumberFormat('en');

/** 1,797 */
export function count(number) {
  return COUNT.format(number);
}

/** One thing, or several: "1 request", "2 requests". */
export function several(number, thing) {
  return `${count(number)} ${thing}${number === 1 ? '' : 's'}`;
}

/** 64 kB, of 1,000 bytes each. */
export function bytes(number) {
  if (number < 1000) return several(number, 'byte');
  const units = ['kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [number / 1000, 0];
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** 0.4 ms */
export function milliseconds(number) {
  return number < 10 ? `${number.toFixed(1)} ms` : `${count(Math.round(number))} ms`;
}

/** 28 % */
export function percent(share) {
  if (share > 0 && share < 0.01) return 'less than 1 %';
  if (share < 1 && share > 0.99) return 'more than 99 %';
  return `${Math.round(share * 100)} %`;
}

/** An error as a sentence, with what can be done. */
export function sentence(error) {
  const text = error?.message ?? String(error);
  const hint = error?.hint ? ` Hint: ${error.hint}.` : '';
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}${hint}`;
}
