// A file at a URL in Chromium: another origin, the cache on disk, reloads, tabs, no network. Every answer is
// compared with those of the same file opened whole in Node.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { open } from '../../dist/index.js';
import { fixture } from '../fixture.mjs';
import { serve } from '../range_server.mjs';
import { KINDS, damaged, plain, query, sample, sections, withoutCells } from '../sample.mjs';
import { EXECUTABLE, FLAGS, openPage } from './page.mjs';

let FILE;
let EXACT;
before(async () => {
  FILE = sample();
  const whole = (await open(FILE.slice().buffer)).collection();
  EXACT = [];
  for (let number = 0; number < 5; number += 1) EXACT.push(plain(await whole.search(query(number), { mode: 'exact' })));
});
const EVERYTHING = { nprobe: 1_000_000, rerank: 100 };

/** Defines `near(options)`, `ask(number, options)` and `codeOf(call)` in the page. */
async function prepare(page, url) {
  await page.evaluate(
    async ([url, queries]) => {
      const { open, NearfieldError } = await import('/wasm/dist/index.js');
      globalThis.near = async (options) => {
        globalThis.snapshot = await open(url, { prefetch: 'none', ...options });
        return snapshot.storage;
      };
      globalThis.ask = async (number, options) => {
        const hits = await snapshot.collection().search(Float32Array.from(queries[number]), options);
        return { hits: hits.map(({ id, score }) => ({ id, score })), approx: hits.approx, ...hits.stats };
      };
      globalThis.codeOf = (call) =>
        call.then(() => 'none', (error) => (error instanceof NearfieldError ? error.code : String(error)));
      globalThis.cached = async () => {
        const root = await navigator.storage.getDirectory();
        const names = [];
        const directory = await root.getDirectoryHandle('nearfield-cache', { create: true });
        for await (const name of directory.keys()) names.push(name);
        return names.sort();
      };
    },
    [url, [0, 1, 2, 3, 4].map((number) => Array.from(query(number)))],
  );
}

/** A page, and a server of the sample at another origin that exposes no header. */
async function site(t, ways = {}) {
  const server = await serve(FILE, { cors: '*', ...ways });
  t.after(() => server.close());
  const page = await openPage(t);
  await prepare(page, server.url);
  const again = async () => {
    await page.reload();
    await prepare(page, server.url);
    server.seen.length = 0;
  };
  return { server, page, again };
}

test('another origin that exposes no header: no preflight, right answers, kept on disk', async (t) => {
  const { server, page } = await site(t);
  const [storage, hits, stats] = await page.evaluate(async (options) => {
    const storage = await near();
    return [storage, (await ask(1, options)).hits, await snapshot.stats()];
  }, EVERYTHING);
  assert.deepEqual([storage, hits], ['opfs', EXACT[1]]);
  assert.deepEqual([...new Set(server.seen.map(({ method }) => method))], ['GET']);
  assert.equal(new Set(server.ranges()).size, server.seen.length, 'nothing is requested twice');
  assert.equal(stats.requests, server.seen.length);
  assert.ok(stats.cachedBytes > 0 && stats.cachedBytes <= stats.bytes);
});

test('a page that may not read the file gets CORS, a missing server is NETWORK', async (t) => {
  const { server, page } = await site(t, { cors: undefined });
  assert.equal(await page.evaluate(() => codeOf(near())), 'CORS');
  await server.close();
  assert.equal(await page.evaluate(() => codeOf(near())), 'NETWORK');
});

test('servers without ranges or with compression are RANGE_UNSUPPORTED', async (t) => {
  const { server, page } = await site(t, { noRanges: true });
  assert.equal(await page.evaluate(() => codeOf(near())), 'RANGE_UNSUPPORTED');
  const hits = await page.evaluate(async () => {
    await near({ allowFullDownload: true });
    return (await ask(2, { mode: 'exact' })).hits;
  });
  assert.deepEqual(hits, EXACT[2]);
  Object.assign(server.ways, { noRanges: false, gzip: true });
  assert.equal(await page.evaluate(() => codeOf(near())), 'RANGE_UNSUPPORTED');
});

test('after a reload 64 bytes are fetched, and the answers are the same', async (t) => {
  const { server, page, again } = await site(t);
  const first = await page.evaluate(async (options) => {
    await near();
    const answers = [(await ask(1)).hits, (await ask(2, options)).hits];
    await snapshot.close();
    return answers;
  }, EVERYTHING);
  await again();
  const second = await page.evaluate(async (options) => {
    await near();
    return [(await ask(1)).hits, (await ask(2, options)).hits];
  }, EVERYTHING);
  assert.deepEqual(second, first);
  assert.deepEqual(second[1], EXACT[2]);
  assert.deepEqual(server.ranges(), ['bytes=0-63']);
});

test('a download is complete after a reload in the middle, and then needs nothing', async (t) => {
  const { server, page, again } = await site(t, { hold: (start) => start > 3_000_000 });
  await page.evaluate(async () => {
    await near();
    snapshot.download('all').catch(() => {});
    while ((await snapshot.stats()).cachedBytes < 1_000_000) await new Promise((resolve) => setTimeout(resolve));
  });
  server.ways.hold = undefined;
  await again();
  const [stats, hits] = await page.evaluate(async () => {
    await near();
    await snapshot.download('all');
    const found = [await snapshot.stats(), await ask(3, { mode: 'exact' })];
    await snapshot.close();
    return found;
  });
  assert.deepEqual([hits.hits, hits.approx, stats.complete], [EXACT[3], false, true]);
  assert.ok(stats.bytes < FILE.length - 900_000, String(stats.bytes));
  await again();
  const later = await page.evaluate(async () => {
    await near();
    return [(await ask(3, { mode: 'exact' })).hits, (await snapshot.stats()).bytes];
  });
  assert.deepEqual(later, [EXACT[3], 64]);
});

test('evict removes the bytes from disk, what is in memory goes on', async (t) => {
  const { page } = await site(t);
  const outcome = await page.evaluate(async () => {
    await near();
    const first = (await ask(1)).hits;
    const before = await cached();
    await snapshot.evict();
    const { requests, hits } = await ask(1);
    return { before: before.length, after: await cached(), storage: snapshot.storage, requests, same: JSON.stringify(hits) === JSON.stringify(first) };
  });
  assert.deepEqual(outcome, { before: 2, after: [], storage: 'memory', requests: 0, same: true });
});

test('the reported storage is the one in use: one tab has the files, others memory', async (t) => {
  const { server, page } = await site(t);
  assert.equal(await page.evaluate(() => near({ storage: 'opfs' })), 'opfs');
  const [tab] = await Promise.all([page.waitForEvent('popup'), page.evaluate(() => void globalThis.open('/'))]);
  await tab.waitForLoadState();
  await prepare(tab, server.url);
  assert.equal(await tab.evaluate(() => codeOf(near({ storage: 'opfs' }))), 'LOCKED');
  assert.equal(await tab.evaluate(() => near()), 'memory');
  assert.deepEqual((await tab.evaluate((options) => ask(1, options), EVERYTHING)).hits, EXACT[1]);
  assert.equal(await page.evaluate(() => near({ storage: 'memory' })), 'memory');
  assert.equal(await page.evaluate(() => near({ worker: false })), 'memory');
  assert.equal(await page.evaluate(() => codeOf(near({ worker: false, storage: 'opfs' }))), 'QUOTA');
});

test('offline: what is here answers, the rest is NETWORK, and later goes on', async (t) => {
  const { page } = await site(t);
  await page.evaluate(async () => {
    await near();
    await ask(1);
    await snapshot.download('codes');
  });
  await page.context().setOffline(true);
  const [hits, stats, code] = await page.evaluate(async (options) => {
    const { hits, requests } = await ask(2, { nprobe: 1_000_000 });
    return [hits, [requests, (await snapshot.stats()).offlineReady], await codeOf(ask(2, options))];
  }, EVERYTHING);
  assert.deepEqual([stats, code], [[0, true], 'NETWORK']);
  assert.equal(hits.length, 10);
  await page.context().setOffline(false);
  assert.deepEqual((await page.evaluate((options) => ask(2, options), EVERYTHING)).hits, EXACT[2]);
});

test('without the server a file opens from disk', async (t) => {
  const { server, page } = await site(t);
  await page.evaluate(async (options) => {
    await near();
    await ask(4, options);
    await snapshot.close();
  }, EVERYTHING);
  await server.close();
  const [hits, code] = await page.evaluate(async (options) => {
    await near();
    return [(await ask(4, options)).hits, await codeOf(snapshot.download('all'))];
  }, EVERYTHING);
  assert.deepEqual([hits, code], [EXACT[4], 'NETWORK']);
});

test('damage in the cache is fetched again, once, and does not show', async (t) => {
  const { server, page, again } = await site(t);
  await page.evaluate(async (options) => {
    await near();
    await ask(1, options);
    await snapshot.close();
  }, EVERYTHING);
  const ranges = sections(FILE, KINDS.cells);
  await page.evaluate(async (start) => {
    const root = await navigator.storage.getDirectory();
    const directory = await root.getDirectoryHandle('nearfield-cache');
    const name = (await cached()).find((name) => name.endsWith('.data'));
    const file = await directory.getFileHandle(name);
    const writable = await file.createWritable({ keepExistingData: true });
    await writable.write({ type: 'write', position: start, data: new Uint8Array(300) });
    await writable.close();
  }, ranges[0][0] + 100_000);
  await again();
  const hits = await page.evaluate(async (options) => {
    await near();
    return (await ask(1, options)).hits;
  }, EVERYTHING);
  assert.deepEqual(hits, EXACT[1]);
  assert.ok(server.seen.length === 2, server.ranges().join());
});

test('a new file at the URL takes the place of the old one, also on disk', async (t) => {
  const { server, page, again } = await site(t);
  const before = await page.evaluate(async () => {
    await near();
    await ask(1);
    await snapshot.close();
    return cached();
  });
  const other = damaged(FILE, sections(FILE, KINDS.cells));
  other[12] ^= 1;
  server.ways.file = other;
  await again();
  assert.match(await page.evaluate(() => codeOf(near())), /CHECKSUM/, 'its front is not whole');
  server.ways.file = FILE;
  await again();
  const [hits, after] = await page.evaluate(async (options) => {
    await near();
    return [(await ask(1, options)).hits, await cached()];
  }, EVERYTHING);
  assert.deepEqual([hits, after], [EXACT[1], before]);
});

test('files on disk that fail while they are open cost the cache, not the session', async (t) => {
  const { server, page } = await site(t);
  for (const call of ['read', 'write', 'flush']) {
    const found = await page.evaluate(
      async ([call, options]) => {
        const worker = () => new Worker('/wasm/tests/browser/failing_cache_worker.js', { type: 'module' });
        await near({ worker });
        await ask(1, { nprobe: 4 });
        await snapshot.close();
        // Opened again: what is on disk is not in memory.
        await near({ worker });
        const failing = new Promise((resolve) => (new BroadcastChannel('fails').onmessage = resolve));
        new BroadcastChannel('failing').postMessage(call);
        await failing;
        const hits = [(await ask(1, options)).hits, (await ask(2, options)).hits];
        const { storage } = await snapshot.stats();
        await snapshot.download('all');
        hits.push((await ask(3, { mode: 'exact' })).hits);
        await snapshot.evict();
        await snapshot.close();
        return { hits, storage };
      },
      [call, EVERYTHING],
    );
    assert.deepEqual(found.hits, EXACT.slice(1, 4), call);
    assert.equal(found.storage, call === 'read' ? 'memory' : 'opfs', call);
  }
  assert.ok(server.seen.length > 0);
});

/** Cuts a kept file, or empties it. */
const cut = ([ending, size]) =>
  navigator.storage.getDirectory().then(async (root) => {
    const directory = await root.getDirectoryHandle('nearfield-cache');
    const name = (await cached()).find((name) => name.endsWith(ending));
    const writable = await (await directory.getFileHandle(name)).createWritable({ keepExistingData: true });
    await writable.truncate(size);
    await writable.close();
  });

test('kept bytes that are cut short are fetched again, and only those', async (t) => {
  const { server, page, again } = await site(t);
  const keep = async () => {
    await near();
    await snapshot.download('all');
    await snapshot.close();
  };
  await page.evaluate(keep);
  for (const size of [FILE.length - 500_000, 10]) {
    await page.evaluate(cut, ['.data', size]);
    await again();
    const [hits, bytes] = await page.evaluate(async () => {
      await near();
      await snapshot.download('all');
      const found = [(await ask(1, { mode: 'exact' })).hits, (await snapshot.stats()).bytes];
      await snapshot.close();
      return found;
    });
    assert.deepEqual(hits, EXACT[1], `${size}`);
    // A piece of 1 MiB is read from disk at once, or not at all; a second fetch after failed checksums is not needed.
    const missing = FILE.length - size;
    assert.ok(bytes >= missing && bytes <= missing + (1 << 20) + 2 * 65536, `${bytes} for ${missing}`);
    assert.ok(server.seen.length > 1);
  }
});

test('a torn record takes its bytes with it', async (t) => {
  const { page, again } = await site(t);
  await page.evaluate(async () => {
    await near();
    await snapshot.close();
  });
  const [data, map] = await page.evaluate(() => cached());
  await page.evaluate(cut, ['.map', 10]);
  await page.evaluate(async ([data]) => {
    // Of another file, and without any record.
    const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle('nearfield-cache');
    await directory.getFileHandle('00000000-1.data', { create: true });
    await directory.getFileHandle(`1${data}`, { create: true });
    await directory.getFileHandle(`1${data.replace('.data', '.map')}`, { create: true });
  }, [data]);
  await again();
  const [storage, names] = await page.evaluate(async () => [await near(), await cached()]);
  assert.deepEqual([storage, names], ['opfs', [data, map]]);
});

test('bytes that are no longer kept give their space back: of a torn record, and above a smaller cacheBytes', async (t) => {
  const { page } = await site(t);
  const keepAll = async () => {
    await near();
    await snapshot.download('all');
    await snapshot.close();
  };
  const opened = async (options) => {
    await near(options);
    const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle('nearfield-cache');
    const data = (await cached()).find((name) => name.endsWith('.data'));
    const { size } = await (await directory.getFileHandle(data)).getFile();
    await snapshot.close();
    return size;
  };
  await page.evaluate(keepAll);
  const less = await page.evaluate(opened, { cacheBytes: 1_000_000 });
  assert.ok(less <= 1_000_000, `${less} bytes on disk`);
  await page.evaluate(keepAll);
  assert.equal(await page.evaluate(opened, {}), FILE.length);
  await page.evaluate(cut, ['.map', 10]);
  const torn = await page.evaluate(opened, {});
  assert.ok(torn < FILE.length / 2, `${torn} bytes on disk`);
});

test('of the URLs a file came from the eight newest are kept', async (t) => {
  const { server, page } = await site(t);
  const visits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3].map((number) => `${server.url}?signed=${number}`);
  const urls = await page.evaluate(async (visits) => {
    const { open, kept } = await import('/wasm/dist/index.js');
    for (const url of visits) await (await open(url, { prefetch: 'none', storage: 'opfs' })).close();
    return (await kept()).map(({ urls }) => urls);
  }, visits);
  assert.deepEqual(urls, [[2, 4, 5, 6, 7, 8, 9, 3].map((number) => visits[number])]);
});

test('all files together keep no more than cacheBytes; what was used longest ago gives way', async (t) => {
  const { page } = await site(t);
  const small = await Promise.all(['v1', 'v2', 'v3'].map(async (version) => new Uint8Array((await fixture(version)).bytes)));
  const servers = [];
  for (const bytes of small) {
    const server = await serve(bytes, { cors: '*' });
    t.after(() => server.close());
    servers.push(server.url);
  }
  const [a, b, c] = small.map(({ length }) => length);
  const visit = ([url, cacheBytes]) =>
    import('/wasm/dist/index.js').then(async ({ open, kept }) => {
      await (await open(url, { cacheBytes })).close();
      return (await kept()).map(({ totalBytes, bytes }) => [totalBytes, bytes]).sort();
    });
  const keep = (lengths) => lengths.map((length) => [length, length]).sort();
  assert.ok(a > c && c > b);
  const cacheBytes = a + c;
  const [one, two, three] = servers;
  assert.deepEqual(await page.evaluate(visit, [one, cacheBytes]), keep([a]));
  assert.deepEqual(await page.evaluate(visit, [two, cacheBytes]), keep([a, b]));
  assert.deepEqual(await page.evaluate(visit, [one, cacheBytes]), keep([a, b]), 'used again');
  assert.deepEqual(await page.evaluate(visit, [three, cacheBytes]), keep([a, c]), 'the second was used longest ago');
  assert.deepEqual(await page.evaluate(visit, [three, 100]), [[c, 0]], 'nothing fits');
});

test('files that are open together keep no more than cacheBytes', async (t) => {
  const { server, page } = await site(t);
  const second = await serve(withoutCells(FILE), { cors: '*' });
  t.after(() => second.close());
  const cacheBytes = 3_000_000;
  const [first, other, after] = await page.evaluate(async ([urls, cacheBytes]) => {
    const { open, kept } = await import('/wasm/dist/index.js');
    const options = { cacheBytes, prefetch: 'none', storage: 'opfs' };
    const both = await Promise.all(urls.map((url) => open(url, options)));
    await Promise.all(both.map((snapshot) => snapshot.download('all')));
    const found = await Promise.all(both.map(async (snapshot) => (await snapshot.stats()).cachedBytes));
    return [...found, (await kept()).reduce((sum, { bytes }) => sum + bytes, 0)];
  }, [[server.url, second.url], cacheBytes]);
  assert.ok(first + other <= cacheBytes, `${first} and ${other}`);
  assert.equal(after, first + other);
  assert.ok(after > cacheBytes / 2, `${after} are kept`);
});

test('when the disk is full nothing more is kept, and answers stay right', async (t) => {
  const { server, page: first } = await site(t);
  // The bound is heeded only where the profile is on disk.
  const profile = await mkdtemp(`${tmpdir()}/nearfield-`);
  const context = await chromium.launchPersistentContext(profile, { executablePath: EXECUTABLE, args: FLAGS });
  t.after(async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  });
  const [page] = context.pages();
  await page.goto(first.url());
  await prepare(page, server.url);
  const session = await context.newCDPSession(page);
  const { origin } = new URL(page.url());
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 300_000 });
  const [hits, stats] = await page.evaluate(async (options) => {
    await near();
    return [(await ask(1, options)).hits, await snapshot.stats()];
  }, EVERYTHING);
  assert.deepEqual(hits, EXACT[1]);
  assert.ok(stats.cachedBytes <= 300_000 && stats.bytes > 600_000, JSON.stringify(stats));
});

test('an abort ends its search, others go on', async (t) => {
  const { server, page } = await site(t);
  await page.evaluate(async () => {
    await near();
    await ask(1);
  });
  server.ways.hold = () => true;
  const codes = await page.evaluate(async (options) => {
    const aborter = new AbortController();
    const slow = codeOf(ask(2, { ...options, signal: aborter.signal }));
    while ((await snapshot.stats()).requests < 3) await new Promise((resolve) => setTimeout(resolve));
    const { requests } = await ask(1);
    aborter.abort();
    return [requests, await slow];
  }, EVERYTHING);
  assert.deepEqual(codes, [0, 'ABORTED']);
  server.ways.hold = undefined;
  assert.deepEqual((await page.evaluate((options) => ask(2, options), EVERYTHING)).hits, EXACT[2]);
});
