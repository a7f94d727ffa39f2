// The fetcher against real servers on loopback, good ones and wrong ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fetcher } from '../js/fetcher.js';
import { serve } from './range_server.mjs';

/** A file of `length` bytes that begins as an export does. */
function file(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 7 + (at >> 8)) & 255;
  bytes.set(new TextEncoder().encode('NEAREXP\n'));
  new DataView(bytes.buffer).setBigUint64(24, BigInt(length), true);
  return bytes;
}
const FILE = file(1_000_000);

/** A server, a fetcher of it, and what it delivered. */
async function open(context, ways = {}, options = {}, bytes = FILE) {
  const server = await serve(bytes, ways);
  context.after(() => server.close());
  const delivered = [];
  const deliver = (offset, part) => delivered.push([offset, part]);
  const fetcher = new Fetcher(server.url, { deliver, ...options });
  return { server, fetcher, delivered };
}
/** Everything delivered is what the file has there. */
function right(delivered, bytes = FILE) {
  for (const [offset, part] of delivered)
    assert.deepEqual(Buffer.from(part), Buffer.from(bytes.subarray(offset, offset + part.length)));
}
const has = (delivered, start, end) =>
  delivered.some(([offset, part]) => offset <= start && offset + part.length >= end);
/** Resolves when the server has seen `count` requests. */
async function seen(server, count) {
  while (server.seen.length < count) await new Promise((resolve) => setImmediate(resolve));
}

test('the first request is bytes=0-65535 and tells the length', async (context) => {
  const { server, fetcher } = await open(context);
  const { bytes } = await fetcher.first();
  assert.equal(fetcher.length, FILE.length);
  right([[0, bytes]]);
  assert.deepEqual(server.seen.map(({ method, range }) => [method, range]), [['GET', 'bytes=0-65535']]);
  assert.equal(server.seen[0].headers['if-range'], undefined);
  assert.deepEqual([fetcher.bytes, fetcher.requests], [65536, 1]);
});

test('without a readable Content-Range the length comes from the header of the file', async (context) => {
  const { fetcher } = await open(context, { says: null });
  await fetcher.first();
  assert.equal(fetcher.length, FILE.length);
});

test('a file smaller than the first request is read at once', async (context) => {
  for (const ways of [{}, { noRanges: true }, { says: null }]) {
    const small = file(5000);
    const { fetcher } = await open(context, ways, {}, small);
    const { bytes } = await fetcher.first();
    right([[0, bytes]], small);
    assert.equal(fetcher.length, 5000);
  }
});

test('neighbours within 32 kB are one request, others are their own', async (context) => {
  const { server, fetcher, delivered } = await open(context);
  await fetcher.first();
  await fetcher.read([[200_000, 200_100], [100_000, 100_100], [110_000, 110_100]]);
  assert.deepEqual(server.ranges().slice(1).sort(), ['bytes=100000-110099', 'bytes=200000-200099']);
  right(delivered);
  assert.ok(has(delivered, 100_000, 110_100) && has(delivered, 200_000, 200_100));
});

test('a read of bytes that are already requested waits for them', async (context) => {
  const { server, fetcher, delivered } = await open(context);
  await fetcher.first();
  await Promise.all([
    fetcher.read([[100_000, 200_000]]),
    fetcher.read([[150_000, 160_000]]),
    fetcher.read([[190_000, 210_000]]),
  ]);
  assert.deepEqual(server.ranges().slice(1).sort(), ['bytes=100000-199999', 'bytes=200000-209999']);
  right(delivered);
});

test('at most six requests are under way, and all are answered', async (context) => {
  let open6 = 0;
  let most = 0;
  const counted = async (...args) => {
    most = Math.max(most, (open6 += 1));
    const response = await fetch(...args);
    const body = await response.arrayBuffer();
    open6 -= 1;
    return new Response(body, response);
  };
  const { fetcher, delivered } = await open(context, {}, { fetch: counted });
  await fetcher.first();
  const ranges = Array.from({ length: 12 }, (_, i) => [70_000 * (i + 1), 70_000 * (i + 1) + 10]);
  await fetcher.read(ranges);
  assert.equal(most, 6);
  assert.ok(ranges.every(([start, end]) => has(delivered, start, end)));
});

test('a background read waits for others', async (context) => {
  const ways = { hold: (start) => start === 100_000 };
  const { server, fetcher, delivered } = await open(context, ways);
  await fetcher.first();
  const stop = new AbortController();
  const urgent = fetcher.read([[100_000, 100_100]], { signal: stop.signal });
  const later = fetcher.read([[300_000, 300_100]], { background: true });
  await seen(server, 2);
  await fetcher.read([[200_000, 200_100]]);
  assert.equal(server.ranges().includes('bytes=300000-300099'), false);
  stop.abort();
  await assert.rejects(urgent, { code: 'ABORTED' });
  await later;
  assert.ok(has(delivered, 300_000, 300_100));
});

test('200 instead of 206 is RANGE_UNSUPPORTED and the body is not read', async (context) => {
  const { fetcher } = await open(context, { noRanges: true });
  await assert.rejects(fetcher.first(), { code: 'RANGE_UNSUPPORTED', expected: 206, got: 200 });
  assert.equal(fetcher.bytes, 0);
});

test('a full download has to be allowed, and then streams', async (context) => {
  for (const ways of [{ noRanges: true }, { noRanges: true, gzipWhole: true, noLength: true }]) {
    const { fetcher, delivered } = await open(context, ways);
    const { whole } = await fetcher.first({ allowFullDownload: true });
    const lengths = [];
    await fetcher.whole(whole, (length) => lengths.push(length));
    assert.deepEqual(lengths, [FILE.length]);
    assert.deepEqual(Buffer.concat(delivered.map(([, part]) => part)), Buffer.from(FILE));
    assert.equal(fetcher.bytes, FILE.length);
  }
});

test('a full download over maxBytes stops before it, one that ends early is NETWORK', async (context) => {
  const { fetcher, delivered } = await open(context, { noRanges: true }, { maxBytes: 900_000 });
  const { whole } = await fetcher.first({ allowFullDownload: true });
  await assert.rejects(fetcher.whole(whole, () => {}), { code: 'BUDGET', expected: 900_000 });
  assert.deepEqual(delivered, []);
  const cut = await open(context, { noRanges: true, file: FILE.subarray(0, 500_000) });
  const reply = await cut.fetcher.first({ allowFullDownload: true });
  await assert.rejects(cut.fetcher.whole(reply.whole, () => {}), { code: 'NETWORK', got: 500_000 });
});

for (const [name, ways, code] of [
  ['of other bytes', { from: 64 }, 'RANGE_UNSUPPORTED'],
  ['whose Content-Range contradicts the request', { says: 'bytes 0-9/1000000' }, 'RANGE_UNSUPPORTED'],
  ['that is too long', { pad: 100, says: null }, 'RANGE_UNSUPPORTED'],
  ['that is too long, without lengths', { pad: 100, says: null, noLength: true }, 'RANGE_UNSUPPORTED'],
  ['that is too short', { cut: 100 }, 'RANGE_UNSUPPORTED'],
  ['that is too short, without lengths', { cut: 100, says: null, noLength: true }, 'RANGE_UNSUPPORTED'],
  ['that is compressed', { gzip: true }, 'RANGE_UNSUPPORTED'],
  ['of a longer file', { file: file(1_000_064) }, 'CHANGED'],
  ['of a file that ends before', { file: file(80_000) }, 'CHANGED'],
  ['of status 404', { status: 404 }, 'NETWORK'],
  ['that is the whole file', { noRanges: true }, 'RANGE_UNSUPPORTED'],
]) {
  test(`a reply ${name} is ${code}, and nothing of it is delivered`, async (context) => {
    const { server, fetcher, delivered } = await open(context);
    await fetcher.first();
    Object.assign(server.ways, ways);
    await assert.rejects(fetcher.read([[100_000, 150_000]]), { code });
    assert.deepEqual(delivered, []);
    assert.equal(server.seen.length, 2, 'it is not asked for again');
    if (code === 'CHANGED') return;
    const fresh = await open(context, ways);
    await assert.rejects(fresh.fetcher.first(), { code });
  });
}

test('gzip bytes without a header that says so are named in the hint', async (context) => {
  const ways = { file: new Uint8Array([0x1f, 0x8b, ...new Uint8Array(70_000)]), says: null };
  const { fetcher } = await open(context, ways);
  await assert.rejects(fetcher.first(), { code: 'RANGE_UNSUPPORTED', hint: /compresses/ });
});

test('a file that is no export is FORMAT', async (context) => {
  const { fetcher } = await open(context, { file: new Uint8Array(70_000), says: null });
  await assert.rejects(fetcher.first(), { code: 'FORMAT', position: 0 });
});

test('a transfer that breaks off is taken up where it broke, once', async (context) => {
  const { server, fetcher, delivered } = await open(context);
  await fetcher.first();
  server.ways.drop = 1;
  await fetcher.read([[100_000, 200_000]]);
  right(delivered);
  const [start] = /\d+/.exec(server.ranges()[2]);
  assert.equal(server.seen.length, 3);
  assert.ok(+start > 100_000 || delivered.length === 1, server.ranges()[2]);
  assert.equal(delivered.reduce((sum, [, part]) => sum + part.length, 0), 100_000);
  server.ways.drop = 2;
  await assert.rejects(fetcher.read([[300_000, 400_000]]), { code: 'NETWORK' });
  assert.equal(server.seen.length, 5);
  right(delivered);
});

test('a server error is tried once more', async (context) => {
  const { server, fetcher } = await open(context, { status: 503 });
  await assert.rejects(fetcher.first(), { code: 'NETWORK', got: 503 });
  assert.equal(server.seen.length, 2);
});

test('no server is NETWORK', async (context) => {
  const { server, fetcher } = await open(context);
  await server.close();
  context.after(() => {});
  await assert.rejects(fetcher.first(), { code: 'NETWORK' });
});

test('maxBytes stops a read before its request', async (context) => {
  const { server, fetcher } = await open(context, {}, { maxBytes: 100_000 });
  await fetcher.first();
  await assert.rejects(fetcher.read([[100_000, 150_000]]), { code: 'BUDGET', expected: 100_000, got: 115_536 });
  assert.equal(server.seen.length, 1);
  await fetcher.read([[100_000, 134_464]]);
  assert.equal(fetcher.left, 0);
  await assert.rejects(fetcher.read([[0, 1]]), { code: 'BUDGET' });
});

test('reads under way count against maxBytes, and what is not received is given back', async (context) => {
  const ways = { hold: (start) => start === 200_000 };
  const { server, fetcher } = await open(context, ways, { maxBytes: 165_536 });
  await fetcher.first();
  const stop = new AbortController();
  const held = fetcher.read([[200_000, 300_000]], { signal: stop.signal });
  await seen(server, 2);
  await assert.rejects(fetcher.read([[400_000, 400_001]]), { code: 'BUDGET' });
  stop.abort();
  await assert.rejects(held, { code: 'ABORTED' });
  while (fetcher.left === 0) await new Promise((resolve) => setImmediate(resolve));
  await fetcher.read([[400_000, 400_001]]);
});

test('an abort ends only requests that no other read waits for', async (context) => {
  let release = false;
  const ways = { hold: (start) => !release && start === 100_000 };
  const { server, fetcher, delivered } = await open(context, ways);
  await fetcher.first();
  const [one, two] = [new AbortController(), new AbortController()];
  const first = fetcher.read([[100_000, 200_000]], { signal: one.signal });
  const second = fetcher.read([[120_000, 130_000]], { signal: two.signal });
  await seen(server, 2);
  one.abort();
  await assert.rejects(first, { code: 'ABORTED' });
  await fetcher.read([[400_000, 400_010]]);
  two.abort();
  await assert.rejects(second, { code: 'ABORTED' });
  release = true;
  await fetcher.read([[100_000, 200_000]]);
  right(delivered);
});

test('headers are sent, and a signal aborted before sends nothing', async (context) => {
  const { server, fetcher } = await open(context, {}, { headers: { 'x-key': 'secret' } });
  const stop = AbortSignal.abort();
  await assert.rejects(fetcher.first({ signal: stop }), { code: 'ABORTED' });
  assert.equal(server.seen.length, 0);
  await fetcher.first();
  assert.equal(server.seen[0].headers['x-key'], 'secret');
});
