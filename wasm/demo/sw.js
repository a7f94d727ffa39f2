// The service worker: keeps the files of this page, so that it opens without a network. With a network the
// newest files always win. Vectors are no business of its own: their bytes are kept by the package, in parts; only
// a file that a server without ranges sent whole is kept here.

const CACHE = 'nearfield-demo';

async function keepPage() {
  const cache = await caches.open(CACHE);
  const files = await (await fetch('files.json', { cache: 'no-cache' })).json();
  await cache.addAll(['./', 'files.json', ...files]);
}

async function answer(request) {
  try {
    const response = await fetch(request);
    if (response.status === 200) {
      const copy = response.clone();
      const cache = await caches.open(CACHE);
      // A full disk is no reason to withhold the answer.
      await cache.put(request.url, copy).catch(() => {});
    }
    return response;
  } catch (error) {
    const kept = await caches.match(request.url, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener('install', (event) => event.waitUntil(keepPage().then(() => self.skipWaiting())));
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const { request } = event;
  // Whether the server is there only the network can say.
  const isProbe = request.url.endsWith('?is-there');
  const isOurs = request.method === 'GET' && request.url.startsWith(self.registration.scope) && !isProbe;
  if (isOurs) event.respondWith(answer(request));
});
