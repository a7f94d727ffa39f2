// The package's worker, whose first step of background work traps, and which says so on a channel.

import { Store } from '/dist/nearfield_store.js';
import '/dist/worker.js';
import { trapOnce } from '/tests/trap.mjs';

trapOnce(Store, 'step').then(() => new BroadcastChannel('upkeep').postMessage('trapped'));
