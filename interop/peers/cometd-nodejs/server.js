// CometD's server for Node.js. Prints `READY URL`, publishes the lines of its input, and ends when that does.
'use strict';

const http = require('http');
const readline = require('readline');
const cometd = require('cometd-nodejs-server');
const { AcknowledgedMessagesExtension } = require('cometd-nodejs-server/ack-extension');

const [port, timeout, maxInterval] = process.argv.slice(2).map(Number);
const bayeux = cometd.createCometDServer({ timeout, maxInterval });
bayeux.addExtension(new AcknowledgedMessagesExtension());

const isOpen = (name) => !name.startsWith('/denied/');
bayeux.policy = {
  canHandshake: (session, message, callback) =>
    callback(null, !message.ext || message.ext.interop !== 'deny'),
  canSubscribe: (session, message, channel, callback) => callback(null, isOpen(channel.name)),
  canPublish: (session, message, channel, callback) => callback(null, isOpen(channel.name)),
};

function service(name, answer) {
  bayeux.createServerChannel(name).addListener('message', (session, channel, message, callback) => {
    answer(session, message);
    callback();
  });
}

// A remote call is answered by a message of the same channel and id.
service('/service/echo', (session, message) => {
  message.reply.data = message.data;
});
service('/service/fail', (session, message) => {
  message.reply.successful = false;
  message.reply.error = '500:service:failed_as_asked';
});
service('/service/dismiss', (session) => session.disconnect());

const server = http.createServer(bayeux.handle);
server.listen(port, '127.0.0.1', () => {
  console.log(`READY http://127.0.0.1:${server.address().port}/cometd`);
});

const input = readline.createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { channel, data } = JSON.parse(line);
  bayeux.createServerChannel(channel).publish(null, data);
});
input.on('close', () => process.exit(0));
