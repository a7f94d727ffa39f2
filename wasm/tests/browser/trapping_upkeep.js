// The package's worker, whose first step of background work traps; it reports the trap on a channel.

import '/dist/worker.js';
import { trapOnce } from '/tests/trap.mjs';

trapOnce('store_step').then(() => new BroadcastChannel('upkeep').postMessage('trapped'));
