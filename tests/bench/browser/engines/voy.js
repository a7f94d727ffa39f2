// voy-search: a k-d tree; no filters. Its entry point is for bundlers, so the module is put together here.

import * as glue from '/packages/voy-search/voy_search_bg.js';

/** The tree, in the page. */
export async function build(data) {
  const source = fetch('/packages/voy-search/voy_search_bg.wasm');
  const { instance } = await WebAssembly.instantiateStreaming(source, { './voy_search_bg.js': glue });
  glue.__wbg_set_wasm(instance.exports);
  const begun = performance.now();
  const embeddings = Array.from({ length: data.count }, (_, row) => ({
    id: String(row),
    title: '',
    url: '',
    embeddings: Array.from(data.rows.subarray(row * data.dim, (row + 1) * data.dim)),
  }));
  const index = new glue.Voy({ embeddings });
  const buildMs = performance.now() - begun;
  let text;
  return {
    settings: [undefined],
    search: (query, k) => index.search(query, k).neighbors.map(({ id }) => Number(id)),
    buildMs,
    async store() {
      text = index.serialize();
      return text.length;
    },
    async reopen() {
      const again = performance.now();
      glue.Voy.deserialize(text);
      return performance.now() - again;
    },
  };
}
