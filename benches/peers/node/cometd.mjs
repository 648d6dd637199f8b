// cometd.js, CometD's JavaScript client, in Node.js.
import { createRequire } from 'node:module';
import { job, payload, message, idle, calling } from './meter.mjs';

const require = createRequire(import.meta.url);
require('cometd-nodejs-client').adapt();
const cometd = require('cometd');

function open() {
  return new Promise((resolve, reject) => {
    const client = new cometd.CometD();
    for (const type of client.getTransportTypes().slice()) {
      if (type !== job.transport) client.unregisterTransport(type);
    }
    if (job.ack) client.registerExtension('ack', new cometd.AckExtension());
    client.configure({ url: job.url, logLevel: 'error', maxSendBayeuxMessageSize: 1 << 24 });
    client.handshake((reply) => {
      if (!reply.successful) return reject(new Error(JSON.stringify(reply)));
      client.subscribe('/feed/**', message, () => resolve(client));
    });
  });
}

if (job.task === 'idle') {
  await idle(open);
} else {
  const client = await open();
  if (job.task === 'receive') {
    client.publish('/service/go', 1);
  } else {
    calling((done) => client.publish('/bench/publish', payload, done));
  }
}
