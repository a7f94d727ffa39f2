// `takeLock`: one writer for each store, in all tabs of the origin, by the Web Lock `nearfield:<name>`; a tab that dies
// releases it. Called by `Store` and `local.js`. `Store` announces what was written on the BroadcastChannel of that name.

import { NearfieldError } from './errors.js';

/** A tab that is reloaded may still hold the lock for a moment; a second tab is refused only after this. */
const GRACE_MS = 250;
/** A worker of ours that was ended is sure to go. */
const RESTART_MS = 10_000;

/** What lock and channel of a store are called. */
export const lockName = (name) => `nearfield:${name}`;

/**
 * Takes the lock of a store.
 * @param {string} name
 * @param {boolean} restarting whether the holder was a worker of the caller's own
 * @returns {Promise<() => void>} releases it
 */
export async function takeLock(name, restarting = false) {
  const { locks } = navigator;
  // Without Web Locks the handles, which are exclusive, have to do.
  if (!locks) return () => {};
  const signal = AbortSignal.timeout(restarting ? RESTART_MS : GRACE_MS);
  return new Promise((resolve, reject) => {
    const held = () => new Promise((release) => resolve(release));
    locks.request(lockName(name), { signal }, held).catch((error) => {
      if (!['TimeoutError', 'AbortError'].includes(error.name)) {
        reject(new NearfieldError('IO', `no lock for the store ${JSON.stringify(name)}: ${error.message}`, { cause: error }));
        return;
      }
      const hint = 'write in the tab that has it, or close that tab';
      const details = { cause: error, got: name, hint };
      reject(new NearfieldError('LOCKED', `the store ${JSON.stringify(name)} is open in another tab`, details));
    });
  });
}
