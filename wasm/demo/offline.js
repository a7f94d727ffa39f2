// Works offline: starts the service worker that keeps the page, and a badge that says how things stand.

import { at } from './element.js';

/** A file of the server that the service worker leaves to the network. */
const PROBE = 'files.json?is-there';
const PROBE_MS = 10_000;

function say(state, words) {
  const badge = at('badge');
  badge.dataset.state = state;
  badge.textContent = words;
}

/** Whether the page's own server answers. The browser only knows whether there is some network, and not at once. */
async function isServerThere() {
  if (!navigator.onLine) return false;
  return fetch(PROBE, { cache: 'no-store', signal: AbortSignal.timeout(PROBE_MS) }).then(() => true, () => false);
}

function tell(isThere, isKept) {
  if (!isThere) say('offline', 'Offline: answers come from this device');
  else if (isKept) say('ready', 'Works offline from now on');
  else say('online', 'Online');
}

/** Starts it. */
export async function workOffline() {
  if (!('serviceWorker' in navigator)) {
    say('online', 'Online only: works offline over https or on localhost');
    return;
  }
  let isKept = navigator.serviceWorker.controller !== null;
  let last = 0;
  const refresh = async () => {
    const turn = (last += 1);
    const isThere = await isServerThere();
    if (turn === last) tell(isThere, isKept);
  };
  addEventListener('online', refresh);
  addEventListener('offline', refresh);
  refresh();
  try {
    await navigator.serviceWorker.register('sw.js');
    await navigator.serviceWorker.ready;
    isKept = true;
  } catch {
    // Without it the page works as before, online.
  }
  refresh();
}
