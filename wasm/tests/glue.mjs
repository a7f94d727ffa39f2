// An instance of one of the package's modules, by itself: its functions and classes, without the package around it.

import { readFile } from 'node:fs/promises';

/** @param {'nearfield_wasm' | 'nearfield_store'} name */
export async function instanceOf(name) {
  const place = new URL(`../../target/browser-package/${name}.js`, import.meta.url);
  const { default: glue } = await import(place.href).catch((error) => {
    throw new Error(`${place.pathname}: ${error.message}; cargo run -p xtask -- wasm makes it`);
  });
  const instance = glue();
  const bytes = await readFile(new URL(`../dist/${name}_bg.wasm`, import.meta.url));
  const exports = await instance({ module_or_path: bytes });
  return { ...instance, memory: exports.memory };
}
