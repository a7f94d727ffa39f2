// Recall, measured here and now: how many of the true nearest neighbours the chosen mode finds.

import { at } from './element.js';
import { milliseconds, percent, sentence, several } from './words.js';

/** Stored vectors that are used as queries. */
const SAMPLE = 200;

/**
 * Makes the button measure.
 * @param {() => {collection: object, k: number, mode: string, where?: object} | undefined} asked what is to be measured
 */
export function measuring(asked) {
  const [button, said] = [at('measure'), at('recall-said')];
  button.addEventListener('click', async () => {
    const question = asked();
    if (!question) return;
    const { collection, k, where, mode } = question;
    if (mode === 'exact') {
      said.textContent = 'The mode exact compares everything, so its recall is 1 by definition. Choose fast or balanced to measure those.';
      return;
    }
    button.disabled = true;
    said.textContent = 'Measuring…';
    try {
      const begun = performance.now();
      const { recall, low, high, n } = await collection.recall({ sample: SAMPLE, k, where, mode });
      const took = milliseconds(performance.now() - begun);
      at('recall-bar').value = recall;
      at('recall-bar').hidden = false;
      said.textContent = `Recall@${k} = ${recall.toFixed(3)}, 95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}. `
        + `Mode ${mode} found ${percent(recall)} of the true nearest, over ${several(n, 'stored vector')} asked again; measured in ${took}`
        + `${where === undefined ? '' : ', with the filter'}.`;
    } catch (error) {
      said.textContent = sentence(error);
    } finally {
      button.disabled = false;
    }
  });
  return {
    /** Forgets what was measured: mode, filter or file are others now. */
    reset() {
      at('recall-bar').hidden = true;
      said.textContent = 'Not measured yet.';
    },
  };
}
