// Where the file comes from: the sample, a file of this device, or a URL; and how far it has come, in bytes.
// Says what is open; searches nothing.

import { open } from './nearfield/index.js';

import { at } from './element.js';
import { bytes, sentence, several } from './words.js';

/** The sample, beside this page. */
export const SAMPLE = 'digits.near';

/** What each step of reading in part has in words, in order. */
const STEPS = { header: 'Header', centroids: 'Cell centres', codes: 'Cells', rows: 'Rows' };
const ORDER = [...Object.keys(STEPS), 'ready'];

/**
 * Makes the ways to a file work.
 * @param {(opened: {snapshot: object, source: {kind: 'sample' | 'url' | 'file', name: string, url?: string}}) => void} onOpen
 */
export function sources(onOpen) {
  let opening;

  async function openFrom(what, source, options = {}) {
    opening?.abort();
    opening = new AbortController();
    const { signal } = opening;
    fail('');
    const progress = stages(source.name);
    try {
      // What comes in the background comes after the first answer, so that its bytes are its own.
      const snapshot = await open(what, { prefetch: 'none', ...options, signal, onProgress: progress.report });
      if (signal.aborted) return snapshot.close();
      return onOpen({ snapshot, source, progress });
    } catch (error) {
      if (error.code === 'ABORTED') return undefined;
      progress.end();
      offerWhole(error, what, source);
      fail(`${source.name} could not be opened. ${sentence(error)}`);
      return undefined;
    }
  }

  const openSample = () => {
    const url = new URL(SAMPLE, location.href).href;
    // The sample is small: a server without ranges may send it whole.
    return openFrom(url, { kind: 'sample', name: 'the sample', url }, { allowFullDownload: true });
  };
  const openFile = (file) => openFrom(file, { kind: 'file', name: file.name });
  const openUrl = (text, options) => {
    const url = new URL(text, location.href).href;
    return openFrom(url, { kind: 'url', name: url.split('/').pop() || url, url }, options);
  };

  function offerWhole(error, what, { url }) {
    at('whole-box').hidden = error.code !== 'RANGE_UNSUPPORTED' || url === undefined;
    at('download-whole').onclick = () => openUrl(url, { allowFullDownload: true });
  }

  at('open-sample').addEventListener('click', openSample);
  at('file').addEventListener('change', ({ target }) => {
    if (target.files.length > 0) openFile(target.files[0]);
    target.value = '';
  });
  at('url-form').addEventListener('submit', (event) => {
    event.preventDefault();
    try {
      openUrl(at('url').value);
    } catch {
      fail('This is not a URL: expected something like https://example.org/docs.near.');
    }
  });
  acceptDrops(openFile);
  return { openSample, openUrl };
}

function fail(words) {
  at('source-said').textContent = words;
  if (words === '') at('whole-box').hidden = true;
  else at('ways-box').open = true;
}

/** Files may be dropped anywhere on the page. */
function acceptDrops(openFile) {
  const over = (isOver) => document.body.classList.toggle('dropping', isOver);
  addEventListener('dragover', (event) => {
    event.preventDefault();
    over(true);
  });
  addEventListener('dragleave', (event) => event.relatedTarget === null && over(false));
  addEventListener('drop', (event) => {
    event.preventDefault();
    over(false);
    const [file] = event.dataTransfer.files;
    if (file) openFile(file);
  });
}

/** The line of steps, the bar and its words, for one file on its way. */
function stages(name) {
  let answered = false;
  at('reading').hidden = false;
  at('first-answer').textContent = '';
  at('bytes-here').textContent = `Opening ${name}…`;
  show('header');

  function show(stage) {
    const reached = ORDER.indexOf(stage === 'all' ? 'rows' : stage);
    for (const [index, step] of Object.keys(STEPS).entries()) {
      const item = at(`step-${step}`);
      const state = index < reached ? 'here' : index === reached ? 'coming' : 'not yet';
      item.dataset.state = state;
      item.querySelector('.state').textContent = state;
    }
  }

  return {
    report({ stage, bytes: done, totalBytes, requests }) {
      show(stage);
      if (totalBytes > 0) {
        at('bar').max = totalBytes;
        at('bar').value = Math.min(done, totalBytes);
      }
      const over = requests > 0 ? ` in ${several(requests, 'request')}` : '';
      at('bytes-here').textContent = `${bytes(done)} of ${bytes(totalBytes)} read${over}.`;
    },
    /** The first answer is there; later ones are not news, and `false`. */
    answered({ bytes: done, requests, totalBytes }) {
      if (answered) return false;
      answered = true;
      const words = done > 0
        ? `First answer after ${bytes(done)} of ${bytes(totalBytes)}, in ${several(requests, 'request')}.`
        : `First answer without the network: the ${bytes(totalBytes)} were on this device.`;
      at('first-answer').textContent = words;
      return true;
    },
    end() {
      at('reading').hidden = true;
    },
  };
}
