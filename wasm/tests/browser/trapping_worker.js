// The package's worker, whose search traps once when the page asks for it on another channel.

import '/wasm/dist/worker.js';
import { trapOnce } from '/wasm/tests/trap.mjs';

new BroadcastChannel('trap').onmessage = ({ data }) => {
  trapOnce('nearfile_search');
  new BroadcastChannel('trapping').postMessage(data);
};
