// Files that a Rust test of this checkout leaves below cargo's directory; the test is run here if they are not there.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { TARGET } from './served.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * @param {string} name of the test program, and of its directory
 * @param {string} file that it writes last
 * @returns {string} the directory
 */
export function writtenBy(name, file) {
  const home = join(TARGET, 'tmp', name);
  if (existsSync(join(home, file))) return home;
  const words = ['test', '--quiet', '--package', 'nearfield-tests', '--test', name];
  execFileSync('cargo', words, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  if (!existsSync(join(home, file))) throw new Error(`no ${home}/${file}, although cargo ${words.join(' ')} passed`);
  return home;
}
