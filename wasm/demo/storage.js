// What is kept on this device: quota, usage, the promise not to be evicted, files in the cache and written collections.

import { capabilities, deleteStore, forgetKept, kept, stores } from './nearfield/index.js';

import { at, make } from './element.js';
import { bytes, percent, sentence } from './words.js';

/** @param {() => {snapshot: object, source: {url?: string}} | undefined} current what is open */
export function keeping(current) {
  let shown = 0;

  async function refresh() {
    const turn = (shown += 1);
    try {
      const facts = await capabilities();
      const written = facts.opfs ? stores() : [];
      const found = await Promise.all([kept(), written, current()?.snapshot.stats()]);
      if (turn === shown) show(facts, ...found);
    } catch (error) {
      // A snapshot that was closed meanwhile; the next one shows itself.
      if (error.code !== 'CLOSED') at('kept-said').textContent = sentence(error);
    }
  }

  function show({ opfs, persisted, quotaBytes, usageBytes }, files, written, stats) {
    at('quota').textContent = opfs
      ? `${bytes(usageBytes)} used of ${bytes(quotaBytes)} that this browser allows.`
      : 'This browser keeps no files for this page.';
    at('persisted').textContent = persisted
      ? 'Protected: the browser does not remove it by itself.'
      : 'Not protected: the browser may remove it when the disk is full.';
    at('persist').hidden = persisted || !opfs;
    at('open-file').textContent = openWords(stats);
    at('keep-all').hidden = stats === undefined || stats.complete || stats.storage !== 'opfs';
    at('no-files').hidden = files.length > 0;
    at('files').replaceChildren(...files.map(fileLine));
    at('no-stores').hidden = written.length > 0;
    at('stores').replaceChildren(...written.map(storeLine));
  }

  function fileLine({ key, urls, bytes: here, totalBytes }) {
    const name = urls[0]?.split('/').pop() ?? key;
    const share = here >= totalBytes ? 'whole' : percent(here / totalBytes);
    return line(name, `${bytes(here)} of ${bytes(totalBytes)} (${share})`, async () =>
      (await discard(key, urls)) ? `${name} was deleted from this device.` : `${name} is open in another tab; close that first.`);
  }

  function storeLine({ name, bytes: size }) {
    return line(name, bytes(size), async () => {
      if (!confirm(`Delete the collection ${name} with all its points? There is no other copy here.`)) return '';
      await deleteStore(name);
      return `${name} was deleted from this device.`;
    });
  }

  /** What is kept under a name, with a button; `remove` says what became of it. */
  function line(name, words, remove) {
    const button = make('button', { type: 'button', class: 'quiet', 'aria-label': `Delete ${name}` }, 'Delete');
    button.addEventListener('click', async () => {
      button.disabled = true;
      const said = await remove().catch(sentence);
      await refresh();
      at('kept-said').textContent = said;
    });
    return make('li', {}, make('span', {}, `${name}: ${words}`), button);
  }

  async function discard(key, urls) {
    const { snapshot, source } = current() ?? {};
    if (snapshot && urls.includes(source.url)) await snapshot.evict();
    return forgetKept(key);
  }

  at('persist').addEventListener('click', async () => {
    const granted = await navigator.storage.persist();
    at('kept-said').textContent = granted ? 'Granted.' : 'The browser declined; it decides by how often this page is used.';
    refresh();
  });
  at('keep-all').addEventListener('click', async () => {
    at('kept-said').textContent = 'Downloading…';
    try {
      await current().snapshot.download('all');
      at('kept-said').textContent = 'The whole file is on this device.';
    } catch (error) {
      at('kept-said').textContent = sentence(error);
    }
    refresh();
  });
  return { refresh };
}

/** Where the open file is. */
function openWords(stats) {
  if (stats === undefined) return 'No file is open.';
  const { storage, residentBytes, totalBytes, complete, cachedBytes } = stats;
  if (complete && cachedBytes < totalBytes) return `The open file is whole in memory (${bytes(totalBytes)}), and gone with this page.`;
  if (complete) return `The open file is whole on this device (${bytes(totalBytes)}).`;
  const where = storage === 'opfs' ? 'on this device' : 'in memory';
  return `Of the open file ${bytes(residentBytes)} of ${bytes(totalBytes)} are ${where}.`;
}
