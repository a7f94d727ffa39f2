/**
 * An HTTP server on loopback that serves one file, well or in one of the ways servers get it wrong.
 *
 * Real sockets, port chosen by the system, stopped with `close`. `ways` may be changed between requests.
 */
import http from 'node:http';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';

/**
 * @param {Uint8Array} file
 * @param {Record<string, unknown>} [ways] what to do wrong:
 *   noRanges, noLength, gzip, gzipWhole, from (shifts the range), cut / pad (bytes of the body), says (Content-Range),
 *   drop (number of replies that break off after half), status, hold (a function of start: true = body never ends), wait (a function of start
 *   and end: a promise that the reply waits for),
 *   cors ('*' or an origin), expose (readable Content-Range), file (other bytes, or a
 *   function of first and last byte that gives them)
 */
export async function serve(file, ways = {}) {
  const seen = [];
  const held = new Set();
  const server = http.createServer(async (request, reply) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const bytes = (typeof ways.file === 'function' ? ways.file(+range?.[1], +range?.[2]) : ways.file) ?? file;
    seen.push({ method: request.method, range: request.headers.range, headers: request.headers });
    await ways.wait?.(+range?.[1], +range?.[2] + 1);
    if (ways.cors) reply.setHeader('access-control-allow-origin', ways.cors);
    if (ways.expose) reply.setHeader('access-control-expose-headers', 'content-range');
    if (ways.status) return reply.writeHead(ways.status).end('no');
    if (ways.noRanges || !range) return sendWhole(reply, bytes, ways);
    const start = +range[1] + (ways.from ?? 0);
    const end = Math.min(+range[2] + 1 + (ways.from ?? 0), bytes.length);
    if (start >= bytes.length) return reply.writeHead(416).end();
    let body = Buffer.from(bytes.subarray(start, end));
    if (ways.cut) body = body.subarray(0, body.length - ways.cut);
    if (ways.pad) body = Buffer.concat([body, Buffer.alloc(ways.pad)]);
    if (ways.gzip) body = gzipSync(body);
    if (ways.gzip) reply.setHeader('content-encoding', 'gzip');
    if (ways.says !== null)
      reply.setHeader('content-range', ways.says ?? `bytes ${start}-${end - 1}/${bytes.length}`);
    if (!ways.noLength) reply.setHeader('content-length', body.length);
    reply.writeHead(206);
    if (ways.hold?.(start)) {
      held.add(reply);
      return reply.write(body.subarray(0, body.length / 2));
    }
    if (ways.drop > 0) {
      ways.drop -= 1;
      return reply.write(body.subarray(0, body.length / 2), () => reply.destroy());
    }
    return reply.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  return {
    url: `http://127.0.0.1:${port}/file.near`,
    seen,
    ways,
    ranges: () => seen.map(({ range }) => range),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function sendWhole(reply, bytes, ways) {
  const body = ways.gzipWhole ? gzipSync(bytes) : bytes;
  if (ways.gzipWhole) reply.setHeader('content-encoding', 'gzip');
  if (!ways.noLength) reply.setHeader('content-length', body.length);
  reply.writeHead(200);
  return reply.end(body);
}
