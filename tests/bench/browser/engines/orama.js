// @orama/orama: every vector is compared, in JavaScript; stored as JSON.

import { create, insertMultiple, load, save, search } from '/packages/@orama/orama/dist/browser/index.js';

/** The database, in the page. */
export async function build(data) {
  const schema = { part: 'number', embedding: `vector[${data.dim}]` };
  const begun = performance.now();
  const database = create({ schema });
  for (let row = 0; row < data.count; row += 500) {
    const end = Math.min(row + 500, data.count);
    const documents = Array.from({ length: end - row }, (_, index) => ({
      id: String(row + index),
      part: data.partOf(row + index),
      embedding: Array.from(data.rows.subarray((row + index) * data.dim, (row + index + 1) * data.dim)),
    }));
    await insertMultiple(database, documents, 500);
    data.checkTime();
  }
  const buildMs = performance.now() - begun;
  const ask = async (value, limit, where) => {
    const question = { mode: 'vector', vector: { value, property: 'embedding' }, similarity: -1, limit, where };
    return (await search(database, question)).hits.map(({ id }) => Number(id));
  };
  let text;
  return {
    settings: [undefined],
    search: (query, k) => ask(query, k),
    filtered: (query, k) => ask(query, k, { part: { eq: data.part } }),
    buildMs,
    async store() {
      text = JSON.stringify(save(database));
      return text.length;
    },
    async reopen() {
      const again = performance.now();
      load(create({ schema }), JSON.parse(text));
      return performance.now() - again;
    },
  };
}
