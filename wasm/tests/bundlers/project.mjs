// A project as a user has it: the package installed from its tarball, a page that searches, and a file to search.
//
// NEARFIELD_PACKAGE names another build of the package than wasm/dist: the directory with its scripts.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { fixture } from '../fixture.mjs';

const BUILT = fileURLToPath(new URL('../../dist', import.meta.url));
const SCRIPTS = resolve(process.env.NEARFIELD_PACKAGE ?? BUILT);
const TOOLS = fileURLToPath(new URL('node_modules', import.meta.url));
/** Searches `file.near` beside the page and a collection that is written there; a page may have set `options`. */
export const PAGE = `import { create, open } from 'nearfield';

const plain = (hits) => hits.map(({ id, score }) => ({ id, score }));

globalThis.ask = async (query) => {
  const options = globalThis.options ?? {};
  const snapshot = await open('file.near', options.read);
  const found = plain(await snapshot.collection().search(query, { mode: 'exact' }));
  await snapshot.close();
  const written = await create({ dim: 2, metric: 'l2', ...options.write });
  await written.upsert({ ids: ['far', 'near'], vectors: [3, 4, 0, 1] });
  const [nearest] = plain(await written.search([0, 0], { k: 1 }));
  await written.close();
  return { found, nearest };
};
`;

/** What `ask` has to find in the page. */
export const { bytes: FILE, answer: ANSWER } = await fixture('v2');

/** Packs the package, as it is published, and returns the tarball and the names in it. */
function pack(directory) {
  if (!existsSync(join(SCRIPTS, 'index.js'))) throw new Error(`no package in ${SCRIPTS}: cargo run -p xtask -- wasm`);
  const root = existsSync(join(SCRIPTS, 'package.json')) ? SCRIPTS : dirname(SCRIPTS);
  const words = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory];
  const said = JSON.parse(execFileSync('npm', words, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
  const [packed] = Array.isArray(said) ? said : Object.values(said);
  return { tarball: join(directory, packed.filename), names: packed.files.map(({ path }) => path) };
}

/** The package of a new project, in a directory of its own that is removed by `remove`. */
export function project() {
  const root = mkdtempSync(join(tmpdir(), 'nearfield-project-'));
  const { tarball, names } = pack(root);
  const installed = join(root, 'node_modules/nearfield');
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
  writeFileSync(join(root, 'package.json'), '{ "name": "page", "private": true, "type": "module" }\n');
  writeFileSync(join(root, 'page.js'), PAGE);
  writeFileSync(join(root, 'index.html'), '<!doctype html><title>page</title><script type="module" src="/page.js"></script>\n');
  return {
    root,
    installed,
    names,
    /** The directory of another build of it, with the file that is searched. */
    output(name) {
      const directory = join(root, name);
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, 'file.near'), Buffer.from(FILE));
      return directory;
    },
    /** Makes a tool of these tests one of the project. */
    link(tool) {
      symlinkSync(join(TOOLS, tool), join(root, 'node_modules', tool));
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}
