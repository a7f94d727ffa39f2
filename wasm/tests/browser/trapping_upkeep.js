// The package's worker, whose first step of background work traps, and which says so on a channel.

import '/dist/worker.js';
import { trapOnce } from '/tests/trap.mjs';

trapOnce('store_step').then(() => new BroadcastChannel('upkeep').postMessage('trapped'));
