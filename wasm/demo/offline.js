// Works offline: starts the service worker that keeps the page, and a badge that says how things stand.

import { at } from './element.js';

function say(state, words) {
  const badge = at('badge');
  badge.dataset.state = state;
  badge.textContent = words;
}

function tell(isKept) {
  if (!navigator.onLine) say('offline', 'Offline: answers come from this device');
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
  const refresh = () => tell(isKept);
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
