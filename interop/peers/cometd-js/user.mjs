// A user of cometd.js, in Node.js as in a browser; `cometd` is the module.

/** A reply as text. Whatever a failure holds besides, such as its transport, may hold itself in turn. */
function text({ failure, ...reply }) {
  const { reason, httpCode, websocketCode, exception } = failure || {};
  const why = failure && { reason, httpCode, websocketCode, exception: exception && String(exception) };
  return JSON.stringify({ ...reply, failure: why });
}

/** A reply that is no success, as an error. */
function failed(reply) {
  const code = /^(\d{3}):/.exec(reply.error || '');
  return { code: code ? Number(code[1]) : null, text: text(reply) };
}

const LIMIT = 16 * 1024 * 1024;

export function newUser(cometd, deliver, tell = () => {}) {
  const client = new cometd.CometD();
  const subscriptions = new Map();
  let slow = false;
  const listen = (message) => {
    if (slow) {
      slow = false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
    }
    deliver(message.channel, message.data);
  };
  const confirmed = (resolve, reject, value) => (reply) =>
    reply.successful ? resolve(value ? value(reply) : null) : reject(failed(reply));
  const publish = (message) =>
    new Promise((resolve, reject) =>
      client.publish(message.channel, message.data, confirmed(resolve, reject)));

  return {
    open: ({ url, transport, ext, plain }) =>
      new Promise((resolve, reject) => {
        for (const type of client.getTransportTypes().slice()) {
          if (type !== transport && !(plain && plain.fallback)) {
            client.unregisterTransport(type);
          }
        }
        if (!plain || plain.ack) {
          client.registerExtension('ack', new cometd.AckExtension());
        }
        if (plain) {
          slow = plain.slow;
          client.configure({ url, logLevel: 'warn' });
        } else {
          client.registerExtension('timesync', new cometd.TimeSyncExtension());
          client.configure({ url, logLevel: 'warn', maxSendBayeuxMessageSize: LIMIT });
        }
        for (const channel of ['/meta/unsuccessful', '/meta/disconnect']) {
          client.addListener(channel, (message) => tell(text(message)));
        }
        // As the documentation describes: the client subscribes again with each new session.
        client.addListener('/meta/handshake', (reply) => {
          if (reply.successful) {
            client.batch(() => {
              for (const [channel] of subscriptions) {
                subscriptions.set(channel, client.subscribe(channel, listen));
              }
            });
          }
        });
        const first = client.addListener('/meta/connect', (reply) => {
          if (reply.successful) {
            client.removeListener(first);
            resolve(null);
          }
        });
        client.handshake({ ext }, (reply) => {
          if (!reply.successful) {
            reject(failed(reply));
          }
        });
      }),
    subscribe: ({ channel }) =>
      new Promise((resolve, reject) => {
        const subscription = client.subscribe(channel, listen, (reply) => {
          if (reply.successful) {
            subscriptions.set(channel, subscription);
            resolve(null);
          } else {
            reject(failed(reply));
          }
        });
      }),
    unsubscribe: ({ channel }) =>
      new Promise((resolve, reject) => {
        const subscription = subscriptions.get(channel);
        subscriptions.delete(channel);
        client.unsubscribe(subscription, confirmed(resolve, reject));
      }),
    publish,
    batch: ({ messages }) => {
      let all = [];
      client.batch(() => {
        all = messages.map(publish);
      });
      return Promise.all(all).then(() => null);
    },
    request: ({ channel, data }) =>
      new Promise((resolve, reject) =>
        client.remoteCall(channel.slice('/service/'.length), data, confirmed(resolve, reject, (reply) => reply.data))),
    connected: async () => client.getStatus() === 'connected',
    close: () =>
      new Promise((resolve) => {
        if (client.isDisconnected()) {
          resolve(null);
        } else {
          client.disconnect(() => resolve(null));
        }
      }),
  };
}
