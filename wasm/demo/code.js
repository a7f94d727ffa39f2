// The last question as a program, in three languages. Pure but for the panel at the end.

import { at, chosen } from './element.js';

/** @typedef {{source: {kind: string, name: string, url?: string}, collection: string, vector: Float32Array, k: number, mode: string, where?: object}} Question */

const list = (vector) => `[${Array.from(vector, (value) => String(value)).join(', ')}]`;

/** @param {Question} question */
function javascript({ source, collection, vector, k, mode, where }) {
  const from = source.url === undefined ? 'file /* of an <input type="file"> */' : JSON.stringify(source.url);
  const filter = where === undefined ? '' : `  where: ${JSON.stringify(where)},\n`;
  return `import { open } from 'nearfield';

const snapshot = await open(${from});
const hits = await snapshot.collection(${JSON.stringify(collection)}).search(${list(vector)}, {
  k: ${k},
  mode: '${mode}',
${filter}  include: ['metadata'],
});
console.log(hits, hits.approx, hits.coverage);
`;
}

/** JSON as Python writes it. */
function pythonOf(value) {
  if (Array.isArray(value)) return `[${value.map(pythonOf).join(', ')}]`;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'object') {
    return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${pythonOf(item)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}

function python({ source, collection, vector, k, mode, where }) {
  const file = (source.url ?? source.name).split('/').pop();
  const options = [`k=${k}`];
  if (where !== undefined) options.push(`where=${pythonOf(where)}`);
  if (mode === 'fast') options.push(`ef=${Math.max(k, 32)}`);
  if (mode === 'exact') options.push('exact=True');
  return `import nearfield

query = ${list(vector)}
with nearfield.open(${JSON.stringify(file)}) as db:
    hits = db.collection(${JSON.stringify(collection)}).search(query, ${options.join(', ')})
    print(hits.ids, hits.scores)
`;
}

function curl({ collection, vector, k, mode, where }) {
  const body = { vector: Array.from(vector), k };
  if (mode === 'exact') body.exact = true;
  if (mode === 'fast') body.ef = Math.max(k, 32);
  if (where !== undefined) body.filter = where;
  const text = JSON.stringify(body).replaceAll("'", "'\\''");
  const path = `/v2/collections/${encodeURIComponent(collection)}/query`;
  return `curl http://127.0.0.1:8080${path} \\
  -H "authorization: Bearer $NEARFIELD_KEY" -H 'content-type: application/json' \\
  -d '${text}'
`;
}

const LANGUAGES = { javascript, python, curl };

/** A question in a language. @param {'javascript' | 'python' | 'curl'} language @param {Question} question */
export function program(language, question) {
  return LANGUAGES[language](question);
}

/** Makes the panel work. */
export function coding() {
  const form = at('code-form');
  let question;
  const refresh = () => {
    at('code').textContent = question ? program(chosen(form, 'language'), question) : '';
    at('code-said').textContent = '';
  };
  form.addEventListener('change', refresh);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(at('code').textContent);
      at('code-said').textContent = 'Copied.';
    } catch {
      getSelection().selectAllChildren(at('code'));
      at('code-said').textContent = 'The browser did not allow it; the text is selected, copy it by keyboard.';
    }
  });
  return {
    /** @param {Question} next */
    show(next) {
      question = next;
      refresh();
    },
  };
}
