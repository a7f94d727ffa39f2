// A worker of the package that stops on request, as one does whose engine is broken.

import '/dist/worker.js';

const { onmessage } = self;
self.onmessage = (event) => {
  if (event.data === 'die') throw new Error('on purpose');
  onmessage(event);
};
