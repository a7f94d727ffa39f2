// The answer: hits with pictures or metadata, and what the search did and cost, in words.

import { at, make } from './element.js';
import { picture } from './picture.js';
import { bytes, count, milliseconds, percent, several } from './words.js';

/** A value of metadata longer than this is cut. */
const VALUE_CHARS = 160;

/**
 * Shows hits.
 * @param {object} hits of the package
 * @param {{size: number, isDigits: boolean, isFiltered: boolean, isPassing: boolean, onPick: (id: unknown) => void}} about `isPassing`:
 * the next ones come at once, so these are not announced
 */
export function showHits(hits, { size, isDigits, isFiltered, isPassing, onPick }) {
  if (!isPassing) at('count').textContent = `${several(hits.length, 'result')}, ${hits.approx ? 'approximate' : 'exact'}`;
  at('verdict').textContent = isDigits ? verdict(hits, isFiltered) : '';
  at('cost').textContent = costWords(hits, size);
  at('hits').classList.toggle('pictures', isDigits);
  at('hits').replaceChildren(...hits.map((hit) => card(hit, isDigits, onPick)));
  at('nothing').hidden = hits.length > 0;
}

/** Instead of hits: why there are none. */
export function showProblem(words) {
  at('answer-said').textContent = words;
  if (words !== '') showNothing('No answer');
}

/** No hits: there is no question, or no answer to it. */
export function showNothing(words) {
  at('count').textContent = words;
  at('verdict').textContent = at('cost').textContent = '';
  at('hits').replaceChildren();
  at('nothing').hidden = true;
}

/** What most of the neighbours are; a filter may have decided that, and not the question. */
function verdict(hits, isFiltered) {
  const votes = new Map();
  for (const { metadata } of hits) votes.set(metadata?.label, (votes.get(metadata?.label) ?? 0) + 1);
  const [best] = [...votes].sort((a, b) => b[1] - a[1]);
  if (!best) return '';
  const [label, votesFor] = best;
  if (isFiltered) return `Of those that pass the filter, ${votesFor} of the ${hits.length} nearest are a ${label}.`;
  return `Looks like a ${label}: ${votesFor} of the ${hits.length} nearest are.`;
}

/** What it did, how far it looked, what it cost. */
export function costWords({ approx, coverage, stats }, size) {
  const sentences = [];
  if (stats.cellsTotal > 0) {
    sentences.push(`Read ${count(stats.cellsSearched)} of ${several(stats.cellsTotal, 'cell')}, ${percent(coverage)} of ${several(size, 'point')}.`);
  } else if (approx) {
    sentences.push(`Went through a graph and compared ${count(stats.scored)} of ${several(size, 'point')}.`);
  } else {
    const compared = stats.scored > 0 ? `Compared ${several(stats.scored, 'point')} of ${count(size)}` : `Went through ${several(size, 'point')}`;
    sentences.push(`${compared}: nothing nearer exists${stats.scored < size && stats.scored > 0 ? ' among those that pass the filter' : ''}.`);
  }
  if (stats.reranked > 0) sentences.push(`${several(stats.reranked, 'hit')} scored again from the original vectors.`);
  const fetched = stats.requests > 0
    ? `fetched ${bytes(stats.bytesFetched)} in ${several(stats.requests, 'request')}`
    : 'nothing fetched';
  sentences.push(`${milliseconds(stats.ms)}, ${fetched}.`);
  return sentences.join(' ');
}

function card(hit, isDigits, onPick) {
  const { id, score, scoreKind, metadata = {}, vector } = hit;
  const name = nameOf(hit, isDigits);
  const again = make('button', { type: 'button', class: 'quiet', 'aria-label': `Find similar to ${name}, ${id}` }, 'Find similar');
  again.addEventListener('click', () => onPick(id));
  const parts = [make('span', { class: 'name' }, name), make('span', { class: 'dim' }, `${scoreKind} ${score.toFixed(3)}`)];
  if (isDigits) {
    parts.unshift(picture(vector, `Image ${id}: ${name}`));
    parts.push(make('span', { class: 'dim' }, `image ${id}`));
  } else {
    parts.push(facts(metadata));
  }
  return make('li', {}, ...parts, again);
}

/** What a point is called. */
export function nameOf({ id, metadata }, isDigits) {
  if (isDigits && metadata?.label !== undefined) return `a ${metadata.label}`;
  const named = ['title', 'name', 'label'].map((key) => metadata?.[key]).find((value) => value !== undefined);
  return named === undefined ? String(id) : String(named).slice(0, VALUE_CHARS);
}

function facts(metadata) {
  const pairs = Object.entries(metadata).flatMap(([key, value]) => {
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
    const shown = text.length > VALUE_CHARS ? `${text.slice(0, VALUE_CHARS)}…` : text;
    return [make('dt', {}, key), make('dd', {}, shown)];
  });
  return make('dl', { class: 'facts' }, ...pairs);
}
