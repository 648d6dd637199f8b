// A Faye server. Prints `READY URL`, publishes the lines of its input, and ends when that does.
'use strict';

const http = require('http');
const readline = require('readline');
const faye = require('faye');

const [port, hold] = process.argv.slice(2).map(Number);
// Faye forgets a session after twice its timeout.
const bayeux = new faye.NodeAdapter({ mount: '/bayeux', timeout: hold / 1000 });

// Refuses everything under /denied/, and handshakes that ask for it.
bayeux.addExtension({
  incoming(message, callback) {
    const channel = message.channel === '/meta/subscribe' ? message.subscription : message.channel;
    if (String(channel).startsWith('/denied/')) {
      message.error = '403:denied_by_policy:denied';
    }
    if (channel === '/meta/handshake' && message.ext && message.ext.interop === 'deny') {
      message.error = '403::handshake_denied';
    }
    callback(message);
  },
});

const server = http.createServer();
bayeux.attach(server);
server.listen(port, '127.0.0.1', () => {
  console.log(`READY http://127.0.0.1:${server.address().port}/bayeux`);
});

const input = readline.createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { channel, data } = JSON.parse(line);
  bayeux.getClient().publish(channel, data);
});
input.on('close', () => process.exit(0));
