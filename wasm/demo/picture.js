// An image of 8 × 8 pixels (0 to 16) as a canvas that says in words what it shows.

import { make } from './element.js';
import { EDGE } from './pixels.js';

const MOST = 16;

/** Draws pixels on a canvas of 8 × 8; dark ink on light paper, whatever the colours of the page. */
export function paint(canvas, pixels) {
  const context = canvas.getContext('2d');
  const image = context.createImageData(EDGE, EDGE);
  for (let index = 0; index < EDGE * EDGE; index += 1) {
    const ink = Math.min(1, Math.max(0, (pixels?.[index] ?? 0) / MOST));
    const shade = [252 - ink * 232, 251 - ink * 224, 247 - ink * 203, 255];
    image.data.set(shade, index * 4);
  }
  context.putImageData(image, 0, 0);
}

/** A canvas with an image. */
export function picture(pixels, words) {
  const canvas = make('canvas', { class: 'picture', width: EDGE, height: EDGE, role: 'img', 'aria-label': words });
  paint(canvas, pixels);
  return canvas;
}
