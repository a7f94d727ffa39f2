// The page of one engine: fetches the data, builds, and answers queries one at a time. What is asked for, and when, is decided
// outside (run.mjs); an engine is a module of engines/ that gives `{search, filtered?, settings, filterSettings?, store, reopen?}`.

const K = 10;
/** Forms of ours that open a file and need no rows, which would count as their memory. */
const OPENED = ['inWorker', 'inPage', 'halves'];
let engine;
let queries;
let dim;

async function floats(name) {
  return new Float32Array(await (await fetch(`/data/${name}`)).arrayBuffer());
}

/** Builds or opens; what it took, and what can be asked of it. */
export async function build({ module, form, count, dim: elements, part, parts, limitMs }) {
  dim = elements;
  queries = await floats('queries.f32');
  const code = await import(`/engines/${module}.js`);
  const begun = performance.now();
  const bytes = async (name) => (await fetch(`/data/${name}`)).arrayBuffer();
  engine = await code[form]({
    count, dim, part,
    rows: OPENED.includes(form) ? undefined : await floats(`rows-${count}.f32`),
    file: (suffix) => bytes(`${count}${suffix}.near`),
    smallFile: () => bytes('1000.near'),
    partOf: (row) => row % parts,
    checkTime() {
      if (performance.now() - begun > limitMs) throw new Error(`not built in ${limitMs / 1000} s`);
    },
  });
  const { buildMs, openMs, settings, filterSettings = settings, note } = engine;
  return { buildMs, openMs, settings, filterSettings, note, hasFilter: engine.filtered !== undefined };
}

/** Queries `from` to `to`: the milliseconds and the rows found of each. Ends early after `limitMs`. */
export async function ask({ from, to, setting, filtered, limitMs = Infinity }) {
  const question = filtered ? engine.filtered : engine.search;
  const ms = [];
  const found = [];
  const limit = performance.now() + limitMs;
  for (let index = from; index < to && performance.now() < limit; index += 1) {
    const query = queries.slice(index * dim, (index + 1) * dim);
    const begun = performance.now();
    const rows = await question(query, K, setting);
    ms.push(performance.now() - begun);
    found.push(Array.from(rows));
  }
  return { ms, found };
}

/** Bytes of what is stored, and the milliseconds of opening it again. */
export async function keep() {
  const result = {};
  // hnswlib-wasm has something stored only after `reopen`; voy and orama reopen what `store` made.
  for (const step of engine.stores === 'last' ? ['reopen', 'store'] : ['store', 'reopen']) {
    try {
      result[step] = await engine[step]?.();
    } catch (error) {
      result[`${step}Error`] = String(error?.message ?? error);
    }
  }
  return result;
}
