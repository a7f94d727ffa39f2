// The map: a sample of the points in two dimensions on a canvas, and the same points as a list beside it that
// works by keyboard and screen reader. Colour never says anything that text does not.

import { nameOf } from './answer.js';
import { at, make } from './element.js';
import { project } from './projection.js';
import { bytes, sentence, several } from './words.js';

/** Points on the map, and the most rows that are read to find them. */
const POINTS_MAX = 500;
const ROWS_MAX = 20_000;
/** In pixels of the page, as all lengths here. */
const MARGIN = 22;
/** A click finds a point this near. */
const REACH = 16;

/** What lies where, in words. */
function region(x, y) {
  const third = (value, words) => words[Math.min(2, Math.floor(value * 3))];
  const [row, column] = [third(y, ['top', 'middle', 'bottom']), third(x, ['left', 'centre', 'right'])];
  return `${row} ${column}`;
}

/** Points spread evenly over the collection. */
async function sampled(collection, signal) {
  const rows = Math.min(collection.size, ROWS_MAX);
  const step = Math.max(1, Math.ceil(rows / POINTS_MAX));
  const points = [];
  let row = 0;
  for await (const point of collection.scan({ vectors: true, signal })) {
    if (row % step === 0) points.push(point);
    row += 1;
    if (row >= rows) break;
  }
  return points;
}

/** @param {(id: unknown) => void} onPick called when the user picks a point to search by */
export function mapping(onPick) {
  const [canvas, list] = [at('map'), at('map-list')];
  let [points, place, frame, isDigits] = [[], undefined, undefined, false];
  let [active, near, question] = [-1, new Map(), undefined];
  let running;

  async function draw(collection, digits) {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    at('map-said').textContent = 'Reading points…';
    at('draw-map').disabled = true;
    try {
      const found = await sampled(collection, signal);
      if (signal.aborted) return;
      isDigits = digits;
      at('map-box').hidden = found.length === 0;
      lay(found);
      at('draw-map').hidden = true;
      at('map-said').textContent = `${several(points.length, 'point')} of ${collection.size.toLocaleString('en')}, by their two principal components.`;
    } catch (error) {
      if (error.code !== 'ABORTED') at('map-said').textContent = sentence(error);
    } finally {
      if (!signal.aborted) at('draw-map').disabled = false;
    }
  }

  function lay(found) {
    [points, active] = [[], -1];
    list.replaceChildren();
    list.removeAttribute('aria-activedescendant');
    if (found.length === 0) return;
    ({ place } = project(found.map(({ vector }) => vector)));
    const placed = found.map((point) => ({ ...point, vector: undefined, at: place(point.vector) }));
    const [xs, ys] = [0, 1].map((axis) => placed.map((point) => point.at[axis]));
    frame = { left: Math.min(...xs), right: Math.max(...xs), top: Math.max(...ys), bottom: Math.min(...ys) };
    points = placed.sort((a, b) => a.at[0] - b.at[0]);
    list.append(...points.map((point, index) => {
      const { id } = point;
      const [x, y] = share(point.at);
      const name = nameOf(point, isDigits);
      const words = isDigits ? `${name} (image ${id})` : name;
      return make('li', { role: 'option', id: `point-${index}`, 'aria-selected': 'false' }, `${words}, ${region(x, y)}`);
    }));
    paint();
  }

  /** From 0 to 1 in each direction, down from the top. */
  function share([x, y]) {
    const { left, right, top, bottom } = frame;
    return [(x - left) / (right - left || 1), (top - y) / (top - bottom || 1)];
  }

  function spot(where) {
    const [x, y] = share(where);
    return [MARGIN + x * (canvas.clientWidth - 2 * MARGIN), MARGIN + y * (canvas.clientHeight - 2 * MARGIN)];
  }

  function paint() {
    const context = canvas.getContext('2d');
    const style = getComputedStyle(canvas);
    const [ink, mark, ground] = ['--ink', '--accent', '--page'].map((name) => style.getPropertyValue(name));
    // As sharp as the screen is.
    const density = globalThis.devicePixelRatio;
    canvas.width = canvas.clientWidth * density;
    canvas.height = canvas.clientHeight * density;
    context.scale(density, density);
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const here = new Set(points.map(({ id }) => id));
    const others = [...near.values()].filter(({ id, vector }) => vector && !here.has(id));
    const shown = [...points, ...others.map((hit) => ({ ...hit, at: place(hit.vector) }))];
    for (const [index, point] of shown.entries()) {
      const [x, y] = spot(point.at);
      const isNear = near.has(point.id);
      const label = point.metadata?.label;
      if (isDigits && label !== undefined) {
        context.fillStyle = `hsl(${label * 36} 70% ${dark ? 72 : 34}%)`;
        context.font = `${isNear ? 'bold 18px' : '13px'} system-ui, sans-serif`;
        context.fillText(String(label), x, y);
      } else {
        context.fillStyle = ink;
        circle(context, x, y, isNear ? 4.5 : 2.5);
        context.fill();
      }
      context.strokeStyle = mark;
      if (isNear) ring(context, x, y, 11, 2);
      if (index === active) ring(context, x, y, 15, 4);
    }
    if (question && place) star(context, spot(place(question)), ink, ground);
  }

  function choose(index, isPicked) {
    if (points.length === 0) return;
    list.children[active]?.setAttribute('aria-selected', 'false');
    active = Math.min(points.length - 1, Math.max(0, index));
    const option = list.children[active];
    option.setAttribute('aria-selected', 'true');
    list.setAttribute('aria-activedescendant', option.id);
    // Only the list scrolls, not the page.
    const [top, bottom] = [option.offsetTop, option.offsetTop + option.offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top;
    if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
    paint();
    if (isPicked) onPick(points[active].id);
  }

  list.addEventListener('keydown', (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -points.length, End: points.length };
    if (event.key in moves) choose(active + moves[event.key], false);
    else if (event.key === 'Enter' || event.key === ' ') choose(active, true);
    else return;
    event.preventDefault();
  });
  list.addEventListener('focus', () => active < 0 && choose(0, false));
  list.addEventListener('click', (event) => {
    const option = event.target.closest('[role=option]');
    if (option) choose([...list.children].indexOf(option), true);
  });
  canvas.addEventListener('click', (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const distances = points.map((point) => {
      const [px, py] = spot(point.at);
      return Math.hypot(px - x, py - y);
    });
    const nearest = distances.indexOf(Math.min(...distances));
    if (distances[nearest] <= REACH) choose(nearest, true);
  });
  const repaint = () => points.length > 0 && paint();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
  new ResizeObserver(repaint).observe(canvas);

  return {
    draw,
    /**
     * Forgets the points of a file that is closed.
     * @param {object} [distant] a collection whose vectors have to be fetched for a map
     */
    clear(distant) {
      running?.abort();
      lay([]);
      [near, question, place] = [new Map(), undefined, undefined];
      at('map-box').hidden = true;
      at('draw-map').disabled = at('draw-map').hidden = false;
      at('map-said').textContent = distant ? `Reads about ${bytes(4 * distant.dim * Math.min(distant.size, ROWS_MAX))} of vectors, as far as they are not here.` : '';
    },
    /** Marks a question and its hits; those with vectors also if they are not among the points. */
    mark(vector, hits) {
      question = vector;
      near = new Map(hits.map((hit) => [hit.id, hit]));
      if (points.length > 0) paint();
    },
  };
}

function circle(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
}

function ring(context, x, y, radius, width) {
  context.lineWidth = width;
  circle(context, x, y, radius);
  context.stroke();
}

/** The question: a cross, with its name, legible over the points. */
function star(context, [x, y], ink, ground) {
  context.beginPath();
  for (const [dx, dy] of [[9, 0], [0, 9]]) {
    context.moveTo(x - dx, y - dy);
    context.lineTo(x + dx, y + dy);
  }
  for (const [colour, width] of [[ground, 7], [ink, 3.5]]) {
    [context.strokeStyle, context.lineWidth] = [colour, width];
    context.stroke();
  }
  const words = 'your question';
  context.font = 'bold 14px system-ui, sans-serif';
  const half = context.measureText(words).width / 2 + 6;
  const middle = Math.min(context.canvas.clientWidth - half, Math.max(half, x));
  const line = y > 36 ? y - 20 : y + 22;
  [context.strokeStyle, context.lineWidth, context.fillStyle] = [ground, 5, ink];
  context.strokeText(words, middle, line);
  context.fillText(words, middle, line);
}
