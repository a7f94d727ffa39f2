// Loads a WebAssembly module, once for each realm (page, worker, Node), and again after it died. There are two:
// one reads `.near` files, the other writes as well and is half as large again, for those who need it.
// Checks for SIMD first: without it the browser's own message would be about an invalid opcode.

import { NearfieldError } from './errors.js';

/** `(module (func (result v128) (i32.const 0) (i8x16.splat)))` */
const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
];

/** Names of the modules, by what they are for. */
const NAMES = { reading: 'nearfield_wasm', writing: 'nearfield_store' };

const loading = {};
let generation = 0;

/** Whether this browser's WebAssembly has 128-bit SIMD. */
export function hasSimd() {
  return typeof WebAssembly === 'object' && WebAssembly.validate(new Uint8Array(SIMD_MODULE));
}

/**
 * A module's functions and classes; the same ones until `forgetEngine`.
 * @param {'reading' | 'writing'} purpose
 * @param {string} [wasmUrl] where the `.wasm` file is, if not beside this script
 */
export function loadEngine(purpose, wasmUrl) {
  loading[purpose] ??= load(NAMES[purpose], wasmUrl).catch((error) => {
    loading[purpose] = undefined;
    throw error;
  });
  return loading[purpose];
}

/** After a panic or trap: the next `loadEngine` makes new instances. */
export function forgetEngine() {
  loading.reading = loading.writing = undefined;
  generation += 1;
}

async function load(name, wasmUrl) {
  if (!hasSimd()) {
    const got = typeof WebAssembly === 'object' ? 'WebAssembly without it' : 'no WebAssembly';
    const hint = 'update the browser: Chrome 91, Firefox 89, Safari 16.4 and later have it';
    const details = { expected: '128-bit SIMD', got, hint };
    throw new NearfieldError('WASM', `WebAssembly with 128-bit SIMD is needed; here is ${got}`, details);
  }
  // The glue keeps its instance in the module's scope: a new one needs the module under a new address.
  const place = new URL(`./${name}.js${generation > 0 ? `?${generation}` : ''}`, import.meta.url);
  const glue = await import(place.href);
  const address = new URL(wasmUrl ?? `./${name}_bg.wasm`, import.meta.url);
  try {
    await glue.default({ module_or_path: await moduleBytes(address) });
  } catch (error) {
    const hint = 'the .wasm file stands beside the scripts; wasmUrl names another place';
    throw new NearfieldError('WASM', `${address}: ${error.message}`, { cause: error, hint });
  }
  return glue;
}

/** What the glue takes: an address it fetches, or the bytes where `fetch` reads no files (Node). */
async function moduleBytes(address) {
  if (address.protocol !== 'file:' || typeof process !== 'object') return address;
  const { readFile } = await import('node:fs/promises');
  return readFile(address);
}
