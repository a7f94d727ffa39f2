// `loadEngine`: loads a WebAssembly module, once for each realm (page, worker, Node), and again after it
// died. There are two: one reads `.near` files, the other writes as well and is larger. Called by `Session`
// and `Store`. Checks for SIMD first: without it the browser's own message would be about an invalid opcode.
//
// Bundlers read this file: imports name their modules, `new URL('…', import.meta.url)` names the files beside it.

import { NearfieldError } from './errors.js';
import writing from './nearfield_store.js';
import reading from './nearfield_wasm.js';

/** `(module (func (result v128) (i32.const 0) (i8x16.splat)))` */
const SIMD_MODULE = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11,
];

/** The modules by what they are for: what makes an instance's functions and classes, and where its code is. */
const MODULES = {
  reading: { glue: reading, address: () => new URL('./nearfield_wasm_bg.wasm', import.meta.url) },
  writing: { glue: writing, address: () => new URL('./nearfield_store_bg.wasm', import.meta.url) },
};

const loading = {};

/** Whether this browser's WebAssembly has 128-bit SIMD. */
export function hasSimd() {
  return typeof WebAssembly === 'object' && WebAssembly.validate(new Uint8Array(SIMD_MODULE));
}

/**
 * A module's functions and classes; the same ones until `forgetEngine`.
 * @param {'reading' | 'writing'} purpose
 * @param {string} [wasmUrl] where the `.wasm` file is, absolute, if not beside this script
 */
export function loadEngine(purpose, wasmUrl) {
  loading[purpose] ??= load(MODULES[purpose], wasmUrl).catch((error) => {
    loading[purpose] = undefined;
    throw error;
  });
  return loading[purpose];
}

/** After a panic or trap: the next `loadEngine` makes new instances. */
export function forgetEngine() {
  loading.reading = loading.writing = undefined;
}

async function load({ glue, address }, wasmUrl) {
  if (!hasSimd()) {
    const got = typeof WebAssembly === 'object' ? 'WebAssembly without it' : 'no WebAssembly';
    const hint = 'update the browser: Chrome 91, Firefox 89, Safari 16.4 and later have it';
    const details = { expected: '128-bit SIMD', got, hint };
    throw new NearfieldError('WASM', `WebAssembly with 128-bit SIMD is needed; here is ${got}`, details);
  }
  const instance = glue();
  const place = wasmUrl === undefined ? address() : new URL(wasmUrl);
  try {
    await instance({ module_or_path: await moduleBytes(place) });
  } catch (error) {
    const hint = 'the .wasm file stands beside the scripts; wasmUrl names another place';
    throw new NearfieldError('WASM', `${place}: ${error.message}`, { cause: error, hint });
  }
  return instance;
}

/** What the glue takes: a reply that holds the module, or its bytes where `fetch` reads no files (Node). */
async function moduleBytes(place) {
  // An import would name a module that browsers do not have, at which bundlers stop.
  const files = place.protocol === 'file:' ? globalThis.process?.getBuiltinModule?.('fs') : undefined;
  if (files) return files.promises.readFile(place);
  const response = await fetch(place);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('text/html')) throw new Error('the server answered with a page (text/html)');
  return response;
}
