// A drawing becomes an image as those of the sample are made: the digit fills a bitmap of 32 × 32 in height,
// and each of 8 × 8 pixels counts the set dots of its 4 × 4 (0 to 16). Pure geometry.

/** Pixels along an edge. */
export const EDGE = 8;
/** Dots along an edge of a pixel; its largest value is the square. */
const DOTS = 4;
const GRID = EDGE * DOTS;
/** Half the width of a pen, in dots: the strokes of the sample are about that wide. */
const PEN = 2.6;

/**
 * @typedef {{x: number, y: number}} Point anywhere; only proportions count
 * @param {Point[][]} strokes
 * @returns {Float32Array | undefined} 64 pixels, row by row; nothing for an empty drawing
 */
export function pixelsOf(strokes) {
  const lines = fitted(strokes.filter((stroke) => stroke.length > 0));
  if (lines.length === 0) return undefined;
  const pixels = new Float32Array(EDGE * EDGE);
  for (let y = 0; y < GRID; y += 1) {
    for (let x = 0; x < GRID; x += 1) {
      if (!lines.some((line) => isNear(line, x + 0.5, y + 0.5))) continue;
      pixels[Math.floor(y / DOTS) * EDGE + Math.floor(x / DOTS)] += 1;
    }
  }
  return pixels;
}

/** Strokes as lines in dots, as high as the grid (as wide, if they are wider), in its middle. */
function fitted(strokes) {
  const points = strokes.flat();
  if (points.length === 0) return [];
  const [left, right] = extremes(points.map(({ x }) => x));
  const [top, bottom] = extremes(points.map(({ y }) => y));
  const room = GRID - 2 * PEN;
  const size = Math.max(right - left, bottom - top);
  const scale = size > 0 ? room / size : 0;
  const place = ({ x, y }) => [
    GRID / 2 + (x - (left + right) / 2) * scale,
    GRID / 2 + (y - (top + bottom) / 2) * scale,
  ];
  return strokes.flatMap((stroke) => {
    const placed = stroke.map(place);
    return placed.map((point, index) => [placed[Math.max(0, index - 1)], point]);
  });
}

function extremes(numbers) {
  return [Math.min(...numbers), Math.max(...numbers)];
}

/** Whether a dot lies under the pen that drew a line. */
function isNear([[ax, ay], [bx, by]], x, y) {
  const [dx, dy] = [bx - ax, by - ay];
  const square = dx * dx + dy * dy;
  const along = square > 0 ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / square)) : 0;
  return Math.hypot(x - ax - along * dx, y - ay - along * dy) <= PEN;
}
