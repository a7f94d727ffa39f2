// The package's worker, whose files on disk fail from the moment the page names a call (`read`, `write`, `flush`, …):
// what a browser does that takes the files away under pressure.

import '/wasm/dist/worker.js';

new BroadcastChannel('failing').onmessage = ({ data }) => {
  FileSystemSyncAccessHandle.prototype[data] = () => {
    throw new DOMException('the file is gone', 'InvalidStateError');
  };
  new BroadcastChannel('fails').postMessage(data);
};
