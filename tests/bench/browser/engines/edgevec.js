// edgevec: HNSW (its flat index takes binary vectors only). `ef_search` belongs to the index, not to the search.
// Its default metric, l2: with `cosine` version 0.9.0 returns the farthest first. Ids are what `insert…` returns.

import init, { EdgeVec, EdgeVecConfig } from '/packages/edgevec/edgevec.js';

async function build(data, efSearch) {
  await init();
  const begun = performance.now();
  const config = new EdgeVecConfig(data.dim);
  if (efSearch) config.ef_search = efSearch;
  const index = new EdgeVec(config);
  const rowOf = new Map();
  for (let row = 0; row < data.count; row += 1) {
    const vector = data.rows.subarray(row * data.dim, (row + 1) * data.dim);
    rowOf.set(index.insertWithMetadata(vector, { part: data.partOf(row) }), row);
    if (row % 100 === 0) data.checkTime();
  }
  const buildMs = performance.now() - begun;
  const rowsOf = (hits) => hits.map(({ id }) => rowOf.get(id));
  const filter = `part = ${data.part}`;
  return {
    settings: [efSearch],
    filterSettings: ['auto', 'post', 'pre'],
    search: (query, k) => rowsOf(index.search(query, k)),
    filtered(query, k, strategy) {
      // 10 is the most candidates for each result that it takes; 3, the default, finds less.
      const options = strategy === 'auto' ? { filter, strategy } : { filter, strategy, oversampleFactor: 10 };
      return rowsOf(JSON.parse(index.searchFiltered(query, k, JSON.stringify(options))).results);
    },
    buildMs,
    async store() {
      const stream = index.save_stream();
      let bytes = 0;
      for (let chunk = stream.next_chunk(); chunk; chunk = stream.next_chunk()) bytes += chunk.length;
      return bytes;
    },
    async reopen() {
      await index.save('bench');
      const again = performance.now();
      await EdgeVec.load('bench');
      return performance.now() - again;
    },
  };
}

/** With the defaults of the package. */
export const graph = (data) => build(data);

/** With more candidates in a search. */
export const graphWide = (data) => build(data, 200);
