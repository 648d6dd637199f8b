// A user of Faye's client, in Node.js as in a browser.

/* exported newUser */

/** An error of Faye's, which has the server's code. */
function failed(error) {
  return { code: error && error.code, text: String((error && error.message) || error) };
}

function newUser(Faye, deliver) {
  let client;
  const subscriptions = new Map();
  const settled = (thenable) =>
    new Promise((resolve, reject) =>
      thenable.then(
        () => resolve(null),
        (error) => reject(failed(error))
      )
    );
  return {
    open: async ({ url, transport, ext }) => {
      client = new Faye.Client(url, { retry: 0.5 });
      // Its handshake goes over a polling transport; after that it takes the best that is left.
      const better = { websocket: [], 'long-polling': ['websocket', 'eventsource'] };
      const others = better[transport] || ['websocket', 'eventsource', 'long-polling', 'cross-origin-long-polling'];
      others.forEach((other) => client.disable(other));
      client.addExtension({
        outgoing(message, callback) {
          if (message.channel === '/meta/handshake') {
            message.ext = Object.assign({}, message.ext, ext);
          }
          callback(message);
        },
      });
      let up = false;
      client.on('transport:up', () => { up = true; });
      client.on('transport:down', () => { up = false; });
      client.isUp = () => up;
      await new Promise((resolve) => client.connect(resolve));
      up = true;
    },
    subscribe: async ({ channel }) => {
      const subscription = client.subscribe(channel).withChannel(deliver);
      await settled(subscription);
      subscriptions.set(channel, subscription);
    },
    // Faye's client does not tell when the server has answered this.
    unsubscribe: async ({ channel }) => {
      subscriptions.get(channel).cancel();
      subscriptions.delete(channel);
    },
    publish: ({ channel, data }) => settled(client.publish(channel, data)),
    // What is sent at once goes out in several requests side by side, so a caller that needs an order must wait.
    batch: async ({ messages }) => {
      for (const { channel, data } of messages) {
        await settled(client.publish(channel, data));
      }
    },
    connected: async () => client.isUp(),
    close: async () => {
      const disconnected = client && client.disconnect();
      if (disconnected) {
        client.isUp = () => false;
        await Promise.race([settled(disconnected), new Promise((resolve) => setTimeout(resolve, 3000))]);
      }
    },
  };
}

if (typeof module !== 'undefined') {
  module.exports = { newUser };
}
