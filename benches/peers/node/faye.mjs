// Faye's client, in Node.js.
import { createRequire } from 'node:module';
import { job, payload, message, idle, calling } from './meter.mjs';

const Faye = createRequire(import.meta.url)('faye');

async function open() {
  const client = new Faye.Client(job.url);
  // Its handshake goes over a polling transport; after that it takes the best that is left.
  const others = job.transport === 'websocket' ? [] : ['websocket', 'eventsource'];
  others.forEach((other) => client.disable(other));
  await client.subscribe('/feed/**', message);
  // The client has a `then` of its own.
  return { client };
}

if (job.task === 'idle') {
  await idle(open);
} else {
  const { client } = await open();
  if (job.task === 'receive') {
    client.publish('/service/go', 1);
  } else {
    calling((done) => client.publish('/bench/publish', payload).then(done, (error) => { throw error; }));
  }
}
