// Runs one search at a time; the newest wins. While the user draws, searches start faster than a remote file
// answers; an outdated search is aborted and its result is never shown.

/** Latest-wins searches of one collection. */
export class Searcher {
  #collection;
  #running;

  /** @param {object} collection of the package */
  constructor(collection) {
    this.#collection = collection;
  }

  /**
   * Searches.
   * @param {Float32Array} vector
   * @param {object} options of `collection.search`
   * @returns {Promise<object | undefined>} hits; nothing if another question came meanwhile
   */
  async ask(vector, options) {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    try {
      const hits = await this.#collection.search(vector, { ...options, signal: running.signal });
      return running.signal.aborted ? undefined : hits;
    } catch (error) {
      if (error.code === 'ABORTED' || running.signal.aborted) return undefined;
      throw error;
    }
  }

  /** The vector of a stored point. @throws NearfieldError if there is none */
  async vectorOf(id) {
    const rows = await this.#collection.get([id], { vectors: true });
    return rows[0];
  }

  /** Gives up what is under way. */
  stop() {
    this.#running?.abort();
  }
}
