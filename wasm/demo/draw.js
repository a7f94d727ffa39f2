// Drawing a digit, with mouse, finger, pen or the arrow keys; each change gives its 64 pixels.
// Knows nothing of searches.

import { at } from './element.js';
import { paint } from './picture.js';
import { pixelsOf } from './pixels.js';

/** Steps of the arrow keys across the canvas. */
const KEY_STEPS = 16;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Makes the canvas draw.
 * @param {(pixels: Float32Array, isDone: boolean) => void} onChange `isDone` when the pen is lifted
 * @param {() => void} onClear nothing is drawn any more
 */
export function drawing(onChange, onClear) {
  const canvas = at('pad');
  let strokes = [];
  /** Where the arrow keys are, and whether their pen is down. */
  const key = { x: 0.5, y: 0.25, down: false, shown: false };

  function changed(isDone) {
    const pixels = pixelsOf(strokes);
    show(canvas, strokes, key.shown ? key : undefined);
    paint(at('preview'), pixels);
    at('pad-hint').hidden = strokes.length > 0;
    if (pixels !== undefined) onChange(pixels, isDone);
  }

  function pointOf(event) {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    key.shown = key.down = false;
    strokes.push([pointOf(event)]);
    changed(false);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    strokes.at(-1).push(...(passed.length > 0 ? passed : [event]).map(pointOf));
    changed(false);
  });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => changed(true));

  canvas.addEventListener('keydown', (event) => {
    const move = MOVES[event.key];
    if (move) {
      key.x = Math.min(1, Math.max(0, key.x + move[0] / KEY_STEPS));
      key.y = Math.min(1, Math.max(0, key.y + move[1] / KEY_STEPS));
      if (key.down) strokes.at(-1).push({ x: key.x, y: key.y });
    } else if (event.key === ' ') {
      key.down = !key.down;
      if (key.down) strokes.push([{ x: key.x, y: key.y }]);
    } else {
      return;
    }
    event.preventDefault();
    key.shown = true;
    changed(!key.down);
  });
  canvas.addEventListener('blur', () => {
    key.shown = key.down = false;
    show(canvas, strokes);
  });

  function clear() {
    strokes = [];
    key.down = false;
    changed(true);
    onClear();
  }
  at('clear').addEventListener('click', clear);
  show(canvas, strokes);
  paint(at('preview'), undefined);

  return {
    /** Shows pixels that were not drawn here, as the image that is searched. */
    showPixels(pixels) {
      strokes = [];
      at('pad-hint').hidden = false;
      show(canvas, strokes);
      paint(at('preview'), pixels);
    },
  };
}

function show(canvas, strokes, key) {
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  context.fillStyle = '#fcfbf7';
  context.fillRect(0, 0, width, height);
  context.strokeStyle = context.fillStyle = '#141b2c';
  context.lineWidth = width / 9;
  context.lineCap = context.lineJoin = 'round';
  for (const stroke of strokes) {
    context.beginPath();
    for (const { x, y } of stroke) context.lineTo(x * width, y * height);
    if (stroke.length === 1) context.lineTo(stroke[0].x * width + 0.1, stroke[0].y * height);
    context.stroke();
  }
  if (key) {
    context.strokeStyle = '#a4200d';
    context.lineWidth = 3;
    context.beginPath();
    context.arc(key.x * width, key.y * height, key.down ? 6 : 12, 0, 2 * Math.PI);
    context.stroke();
  }
}
