// The answers of the oracle (tests/dates.json) and those of the package; runs in Node and in the page.

/**
 * Asks all questions of a collection that is written here, before and after its rows are merged into a file, of its
 * export, and of the export of a store of format 1 that took its declaration later.
 * @param {{ create: Function, open: Function }} near the package
 * @returns {Promise<{ asked: number, wrong: string[] }>}
 */
export async function askAll({ create, open }, { dates, questions }, format1) {
  const result = { asked: 0, wrong: [] };
  const written = await create({ dim: 1, metric: 'l2', fields: { at: 'datetime' } });
  const ids = dates.map((_date, row) => row);
  await written.upsert({ ids, vectors: ids.map(() => 1), metadata: { at: dates.map(([text]) => text) } });
  await ask(written, 'written', questions, result);
  await written.flush();
  await ask(written, 'flushed', questions, result);
  for (const [place, source] of Object.entries({ exported: await written.export(), 'of format 1': format1 })) {
    const snapshot = await open(source);
    await ask(snapshot.collection(), place, questions, result);
    await snapshot.close();
  }
  await written.close();
  return result;
}

async function ask(collection, place, questions, result) {
  for (const [where, digits] of questions) {
    const found = Array.from(digits, () => '0');
    for await (const { id } of collection.scan({ where })) found[id] = '1';
    result.asked += 1;
    if (found.join('') !== digits) result.wrong.push(`${place}: ${JSON.stringify(where)}: ${found.join('')}`);
  }
}
