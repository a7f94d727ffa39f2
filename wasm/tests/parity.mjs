// Runs the queries that Python ran and compares the results bit by bit; runs in Node and in the page.

/** @returns for each question the answers as parity.py writes them: `[[ids, score bits], …]` */
export async function askAll(collection, queries, { asked }) {
  const found = [];
  for (const { where, exact } of asked) {
    const options = { k: 10, where: where ?? undefined, mode: exact ? 'exact' : 'balanced' };
    const answers = await collection.searchMany(queries, options);
    found.push(answers.map((hits) => [hits.map(({ id }) => nameOf(id)), hits.map(({ score }) => bitsOf(score))]));
  }
  return found;
}

function nameOf(id) {
  return typeof id === 'string' ? `'${id}'` : id.toString();
}

function bitsOf(score) {
  if (Math.fround(score) !== score) return score;
  return new Uint32Array(Float32Array.of(score).buffer)[0];
}

/** How many answers are equal in every id and bit, and the first that is not. */
export function differences(found, { asked }) {
  const result = { asked: 0, equal: 0, first: undefined };
  for (const [index, { where, exact, answers }] of asked.entries()) {
    for (const [query, expected] of answers.entries()) {
      const got = found[index][query];
      result.asked += 1;
      if (JSON.stringify(got) === JSON.stringify(expected)) result.equal += 1;
      else result.first ??= { where, exact, query, expected, got };
    }
  }
  return result;
}
