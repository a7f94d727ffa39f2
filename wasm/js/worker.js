// The worker: one `Session`, calls in, answers out. Started by `Channel`. A call waits one turn of the event
// loop before it runs, so that an abort which came meanwhile is seen: messages are delivered before turns
// that were requested later.

import { Session } from './session.js';

const session = new Session();
/** Numbers of calls that wait for their turn or run, each with what aborts it. */
const calls = new Map();
const turns = new MessageChannel();

self.onmessage = ({ data }) => {
  if (data.abort !== undefined) {
    calls.get(data.abort)?.abort();
    return;
  }
  calls.set(data.call, new AbortController());
  turns.port2.postMessage(data);
};

turns.port1.onmessage = async ({ data: { call, method, arguments_ } }) => {
  const { signal } = calls.get(call);
  try {
    if (signal.aborted) return;
    const progress = (report) => self.postMessage({ call, progress: report });
    const result = await session.run(method, arguments_, { signal, progress });
    self.postMessage({ call, result });
  } catch (error) {
    self.postMessage({ call, error });
  } finally {
    calls.delete(call);
  }
};
