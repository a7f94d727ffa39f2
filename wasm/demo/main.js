// The page: the open file, the searches, and the parts of the page that show their results. Each part is a module
// of its own; this one only connects them.

import * as address from './address.js';
import { nameOf, showHits, showNothing, showProblem } from './answer.js';
import { coding } from './code.js';
import { valueOf } from './conditions.js';
import { drawing } from './draw.js';
import { at, chosen, make } from './element.js';
import { filtering } from './filter.js';
import { mapping } from './map.js';
import { workOffline } from './offline.js';
import { EDGE } from './pixels.js';
import { measuring } from './recall.js';
import { Searcher } from './search.js';
import { sources } from './source.js';
import { keeping } from './storage.js';
import { VectorProblem, readVector } from './vector_text.js';
import { bytes, count, sentence } from './words.js';

/** The image of the first search: a three. */
const FIRST_DIGIT = 3;
/** A map of so small a file is drawn without being asked for. */
const MAP_BYTES = 4_000_000;
const MODES = {
  fast: 'Fast looks at little and may miss some.',
  balanced: 'Balanced finds nearly all.',
  exact: 'Exact compares every point; of a file at a URL it downloads the rest first.',
};

/** What is open: snapshot, source, collection, searcher, isDigits, progress. */
let opened;
/** The query: `{vector, id?}`. */
let question;
/** What the address said, until it was asked. */
let shared = address.read(location.hash);

const ask = at('ask');
const pad = drawing((pixels, isDone) => search({ vector: pixels, words: 'to your drawing' }, !isDone), forget);
const filter = filtering(() => again());
const map = mapping((id) => searchById(id));
const recall = measuring(() => opened && { collection: opened.collection, ...options() });
const keeper = keeping(() => opened);
const code = coding();
const source = sources(show);

function options() {
  return { k: Number(at('k').value), mode: chosen(ask, 'mode'), where: filter.filter };
}

/** There is no question any more: neither is its answer, nor what is on its way to one. */
function forget() {
  opened.searcher.stop();
  question = undefined;
  at('asked').textContent = at('answer-said').textContent = '';
  showNothing('Nothing is drawn.');
  map.mark(undefined, []);
  const url = opened.source.kind === 'url' ? opened.source.url : undefined;
  history.replaceState(undefined, '', address.write({ url, ...options() }));
}

/** A file is open: the old one is closed, and the page shows what the new one can do. */
function show({ snapshot, source: from, progress }) {
  opened?.searcher.stop();
  opened?.snapshot.close();
  const { collections, engine } = snapshot.info;
  at('version').textContent = `${engine.version}, ${engine.instructionSet}`;
  const names = collections.map(({ name }) => make('option', { value: name }, name));
  at('collection').replaceChildren(...names);
  at('collection-form').hidden = collections.length < 2;
  opened = { snapshot, source: from, progress };
  for (const id of ['work', 'more']) at(id).hidden = collections.length === 0;
  if (collections.length === 0) at('open-now').textContent = `${from.name}: a file without collections.`;
  else enter(collections[0].name);
}

/** Shows one collection and asks a first question. */
async function enter(name) {
  const { snapshot, source: from } = opened;
  const collection = snapshot.collection(name);
  const isDigits = name === 'digits' && collection.dim === EDGE * EDGE;
  Object.assign(opened, { collection, isDigits, searcher: new Searcher(collection) });
  const title = from.kind === 'sample' ? 'The sample, handwritten digits' : `${from.name}, collection ${name}`;
  at('open-now').textContent = `${title}: ${count(collection.size)} points of ${count(collection.dim)} dimensions, ${collection.metric}, ${bytes(snapshot.info.bytes)}.`;
  at('by-drawing').hidden = !isDigits;
  at('vector-label').textContent = `A vector of ${collection.dim} numbers: JSON, or with commas or spaces between`;
  question = undefined;
  map.clear(from.kind === 'url' ? collection : undefined);
  recall.reset();
  at('asked').textContent = '';
  at('hits').replaceChildren();
  for (const id of ['verdict', 'count', 'cost', 'answer-said']) at(id).textContent = '';
  choosePanel(isDigits ? 'drawing' : 'example');
  await askFirst();
  keeper.refresh();
}

/** After the first answer: downloads what makes later ones faster, or possible offline. A failure is ignored. */
async function prepare({ snapshot, source: from, collection, isDigits }) {
  if (from.kind !== 'file') await snapshot.download(from.kind === 'sample' ? 'all' : 'codes').catch(() => {});
  const stats = await snapshot.stats().catch(() => undefined);
  keeper.refresh();
  const isHere = stats?.complete && opened.collection === collection;
  if (isHere && stats.totalBytes <= MAP_BYTES) map.draw(collection, isDigits);
}

/** What the address asks, else an example. */
async function askFirst() {
  const { id, vector, k, mode, where } = shared;
  shared = {};
  const { collection, isDigits } = opened;
  filter.show(where);
  if (k !== undefined) at('k').value = k;
  if (mode !== undefined) ask.elements.mode.value = mode;
  sayMode();
  if (id !== undefined) return searchById(valueOf(id));
  if (vector?.length === collection.dim) {
    if (isDigits) pad.showPixels(vector);
    return search({ vector: Float32Array.from(vector), words: 'to the vector of the address' });
  }
  if (isDigits) return searchById(FIRST_DIGIT);
  for await (const { id: first } of collection.scan({ batchSize: 1, metadata: false })) return searchById(first);
  at('count').textContent = 'The collection is empty.';
  return undefined;
}

function choosePanel(by) {
  ask.elements.by.value = by;
  // What was wrong with one way to ask says nothing about another.
  at('ask-said').textContent = '';
  at('vector').removeAttribute('aria-invalid');
  for (const name of ['drawing', 'example', 'vector']) at(`panel-${name}`).hidden = name !== by;
}

function sayMode() {
  at('mode-says').textContent = MODES[chosen(ask, 'mode')];
}

async function searchById(id) {
  at('ask-said').textContent = '';
  try {
    const point = await opened.searcher.vectorOf(id);
    if (point === undefined) {
      at('ask-said').textContent = `There is no point ${JSON.stringify(id)}.`;
      return;
    }
    const { isDigits } = opened;
    at('example').value = typeof id === 'string' && valueOf(id) !== id ? `"${id}"` : String(id);
    at('vector').value = Array.from(point.vector).join(', ');
    if (isDigits) pad.showPixels(point.vector);
    const name = nameOf(point, isDigits);
    await search({ vector: point.vector, id, words: isDigits ? `to image ${id}, ${name}` : `to ${name}` });
  } catch (error) {
    showProblem(sentence(error));
  }
}

function searchByVector() {
  const text = at('vector');
  at('ask-said').textContent = '';
  try {
    const vector = readVector(text.value, opened.collection.dim);
    text.removeAttribute('aria-invalid');
    if (opened.isDigits) pad.showPixels(vector);
    search({ vector, words: 'to the pasted vector' });
  } catch (error) {
    if (!(error instanceof VectorProblem)) throw error;
    text.setAttribute('aria-invalid', 'true');
    at('ask-said').textContent = `The vector: ${error.message}.`;
    text.focus();
    text.setSelectionRange(error.position, error.position + 1);
  }
}

/** The same question under other conditions. */
function again() {
  recall.reset();
  if (opened?.collection && question) search(question);
}

/**
 * Searches, and shows the results.
 * @param {{vector: Float32Array, id?: unknown, words: string}} next
 * @param {boolean} isPassing while the user draws: only the hits are shown
 */
async function search(next, isPassing = false) {
  const { searcher, collection, isDigits, snapshot, progress } = opened;
  question = next;
  const asked = options();
  const isCount = at('k').checkValidity();
  at('k').setAttribute('aria-invalid', String(!isCount));
  at('k-said').textContent = isCount ? '' : 'Results: expected a number from 1 to 100.';
  if (!isCount) return;
  at('ask-said').textContent = '';
  try {
    const include = isDigits ? ['metadata', 'vector'] : ['metadata'];
    const hits = await searcher.ask(next.vector, { ...asked, include });
    if (hits === undefined) return;
    showProblem('');
    showHits(hits, { size: collection.size, isDigits, isFiltered: asked.where !== undefined, isPassing, onPick: searchById });
    at('asked').textContent = next.words;
    map.mark(next.vector, hits);
    if (isPassing) return;
    const stats = await snapshot.stats();
    if (question === next) await showRest(hits, next, asked, stats, progress);
  } catch (error) {
    if (error.code === 'FILTER') filter.refuse(sentence(error));
    if (error.code !== 'CLOSED') showProblem(sentence(error));
  }
}

/** Shows everything but the hits after a search. */
async function showRest(hits, { vector, id }, asked, stats, progress) {
  const { source: from, collection } = opened;
  if (progress.answered(stats)) prepare(opened);
  const fields = new Set(hits.flatMap(({ metadata }) => Object.keys(metadata ?? {})));
  if (fields.size > 0) filter.suggest([...fields].sort());
  code.show({ source: from, collection: collection.name, vector, ...asked });
  const url = from.kind === 'url' ? from.url : undefined;
  const text = address.write({ url, id: id === undefined ? undefined : String(id), vector, ...asked });
  history.replaceState(undefined, '', text);
  keeper.refresh();
}

ask.addEventListener('submit', (event) => {
  event.preventDefault();
  const by = chosen(ask, 'by');
  if (by === 'vector') searchByVector();
  else if (by === 'example') searchById(valueOf(at('example').value));
});
at('work').addEventListener('change', ({ target }) => {
  if (target.name === 'by') choosePanel(target.value);
  if (target.name === 'mode') sayMode();
  if (target.name === 'mode' || target === at('k')) again();
});
at('draw-map').addEventListener('click', () => map.draw(opened.collection, opened.isDigits));
at('collection').addEventListener('change', ({ target }) => enter(target.value));
addEventListener('hashchange', () => {
  shared = address.read(location.hash);
  if (shared.url !== undefined && shared.url !== opened?.source.url) source.openUrl(shared.url);
  else if (opened?.collection) askFirst();
});

workOffline();
if (shared.url) source.openUrl(shared.url);
else source.openSample();
