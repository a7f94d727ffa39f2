// Ours, in four forms: an export in the package's own worker (the default), the same in the page's thread, one
// of rows in half precision, and a collection that is written in the page.

import { create, open } from '/package/index.js';

const SETTINGS = [10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 200, 400];

function engine(points, { part }) {
  const rowsOf = (hits) => hits.map(({ id }) => id);
  return {
    settings: SETTINGS,
    search: async (query, k, ef) => rowsOf(await points.search(query, { k, ef })),
    filtered: async (query, k, ef) => rowsOf(await points.search(query, { k, ef, where: { part: { eq: part } } })),
  };
}

async function opened(data, worker, suffix = '') {
  const file = await data.file(suffix);
  const bytes = file.byteLength;
  // The package's code comes first, as in a page that has asked something before.
  const small = await open(await data.smallFile(), { worker });
  await small.close();
  const begun = performance.now();
  let snapshot = await open(file, { worker });
  const openMs = performance.now() - begun;
  const reopen = async () => {
    await snapshot.close();
    const again = performance.now();
    snapshot = await open(file, { worker });
    return performance.now() - again;
  };
  return { ...engine(snapshot.collection(), data), openMs, store: async () => bytes, reopen };
}

/** In a worker, as `open` does by default. */
export const inWorker = (data) => opened(data, undefined);

/** Without one: no message between question and answer. */
export const inPage = (data) => opened(data, false);

/** In the page, of rows in half precision. */
export const halves = (data) => opened(data, false, '-f16');

/** Written here. */
export async function written(data) {
  const begun = performance.now();
  const points = await create({ dim: data.dim, metric: 'cosine', storage: 'memory' });
  for (let row = 0; row < data.count; row += 1000) {
    const end = Math.min(row + 1000, data.count);
    const ids = Array.from({ length: end - row }, (_, index) => row + index);
    const part = ids.map((id) => data.partOf(id));
    await points.upsert({ ids, vectors: data.rows.subarray(row * data.dim, end * data.dim), metadata: { part } });
    data.checkTime();
  }
  await points.flush();
  await quiet(points, data);
  const buildMs = performance.now() - begun;
  const store = async () => (await points.export()).size;
  return { ...engine(points, data), buildMs, store, note: describe(await points.stats()) };
}

/** Waits until no merge has changed the segments for a second. */
async function quiet(points, data) {
  let before;
  let since = performance.now();
  while (performance.now() - since < 1000) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    data.checkTime();
    const now = describe(await points.stats());
    if (now !== before) since = performance.now();
    before = now;
  }
}

function describe({ segments }) {
  return segments.map(({ rows, graph }) => `${rows}${graph ? ' graph' : ''}`).join(', ');
}
