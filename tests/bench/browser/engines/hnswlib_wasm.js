// hnswlib-wasm: M = 16, ef_construction = 200, as in the other tables; filters are callbacks with the label.

const FILE = 'bench.dat';

/** The graph, in the page. */
export async function build(data) {
  const library = await import('/packages/hnswlib-wasm/dist/hnswlib.js');
  await library.__tla;
  const { HierarchicalNSW, EmscriptenFileSystemManager } = await library.loadHnswlib();
  const begun = performance.now();
  const index = new HierarchicalNSW('cosine', data.dim, FILE);
  index.initIndex(data.count, 16, 200, 100);
  // In batches: it writes to IndexedDB after each call.
  for (let from = 0; from < data.count; from += 500) {
    const labels = Array.from({ length: Math.min(500, data.count - from) }, (_, at) => from + at);
    index.addPoints(labels.map((row) => data.rows.subarray(row * data.dim, (row + 1) * data.dim)), labels, false);
    data.checkTime();
  }
  const buildMs = performance.now() - begun;
  const isAllowed = (label) => data.partOf(label) === data.part;
  const ask = (query, k, ef, filter) => {
    index.setEfSearch(ef);
    return index.searchKnn(query, k, filter).neighbors;
  };
  return {
    settings: [10, 16, 24, 32, 48, 64, 96, 128, 200, 400],
    search: (query, k, ef) => ask(query, k, ef, undefined),
    filtered: (query, k, ef) => ask(query, k, ef, isAllowed),
    buildMs,
    async reopen() {
      await index.writeIndex(FILE);
      await library.syncFileSystem('write');
      if (!EmscriptenFileSystemManager.checkFileExists(FILE)) throw new Error('nothing was written');
      const other = new HierarchicalNSW('cosine', data.dim, FILE);
      const again = performance.now();
      await other.readIndex(FILE, data.count);
      return performance.now() - again;
    },
    stores: 'last',
    store: () => storedBytes(),
  };
}

/** The file as its file system keeps it in IndexedDB. */
async function storedBytes() {
  let bytes = 0;
  for (const { name } of await indexedDB.databases()) {
    const database = await promised(indexedDB.open(name));
    for (const store of database.objectStoreNames) {
      const files = await promised(database.transaction(store).objectStore(store).getAll());
      for (const { contents } of files) bytes += contents?.byteLength ?? 0;
    }
    database.close();
  }
  return bytes;
}

function promised(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
