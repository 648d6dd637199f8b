// A Faye server. Prints `READY URL`, and ends when its standard input does, so that it cannot outlive whoever
// started it.
'use strict';

const http = require('http');
const faye = require('faye');

const bayeux = new faye.NodeAdapter({ mount: '/bayeux', timeout: 20 });

// Refuses everything under /denied/.
bayeux.addExtension({
  incoming(message, callback) {
    const channel = message.channel === '/meta/subscribe' ? message.subscription : message.channel;
    if (String(channel).startsWith('/denied/')) {
      message.error = '403:denied_by_policy:denied';
    }
    callback(message);
  },
});

const server = http.createServer();
bayeux.attach(server);
server.listen(Number(process.argv[2] || 0), '127.0.0.1', () => {
  console.log(`READY http://127.0.0.1:${server.address().port}/bayeux`);
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
