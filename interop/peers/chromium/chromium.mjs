// A client library in a real Chromium: each user is a page, in most cases in a profile of its own, which is served under the address
// of the server that it talks to, so that it is at home there.

import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { drive } from '../lines.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
// Crossing from the page to this process takes time, so messages cross together.
const collect = `<!doctype html><meta charset="utf-8"><script>
  let waiting = [];
  window.deliver = (channel, data) => {
    if (waiting.push([channel, data]) === 1) {
      setTimeout(() => window.deliverAll(waiting.splice(0)));
    }
  };
</script>`;
const pages = {
  cometd: `${collect}<script type="module">
    import * as cometd from './node_modules/cometd/cometd.js';
    import { newUser } from './cometd-js/user.mjs';
    window.user = newUser(cometd, window.deliver);
  </script>`,
  faye: `${collect}<script src="./node_modules/faye/client/faye-browser.js"></script>
    <script src="./faye/user.js"></script><script>window.user = newUser(Faye, window.deliver);</script>`,
};
const folders = {
  node_modules: path.join(here, 'node_modules'),
  'cometd-js': path.join(here, '../cometd-js'),
  faye: path.join(here, '../faye'),
};
const page = pages[process.argv[2]];
const prefix = '/interop-page/';

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--no-proxy-server',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    // A page that does not come from the network is taken for one of the internet, which may not open local sockets.
    '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets',
  ],
});

/** Answers for the page and its scripts; all else goes to the server. */
async function serve(route) {
  const name = new URL(route.request().url()).pathname.slice(prefix.length);
  if (name === '') {
    return route.fulfill({ contentType: 'text/html', body: page });
  }
  const [folder, ...rest] = name.split('/');
  const body = await fs.readFile(path.join(folders[folder], ...rest));
  return route.fulfill({ contentType: 'text/javascript', body });
}

/** The profiles of browsers that have several windows. */
const profiles = new Map();

async function newWindow(name, deliver) {
  const profile = profiles.get(name) || (await browser.newContext());
  if (name) {
    profiles.set(name, profile);
  }
  const tab = await profile.newPage();
  tab.on('console', (message) => process.stderr.write(`${message.text()}\n`));
  tab.on('pageerror', (error) => process.stderr.write(`${error.stack || error}\n`));
  await tab.exposeFunction('deliverAll', (messages) => messages.forEach((message) => deliver(...message)));
  await tab.route((url) => url.pathname.startsWith(prefix), serve);
  return tab;
}

function newUser(deliver) {
  let tab;
  const run = async (command) => {
    const outcome = await tab.evaluate(async (command) => {
      try {
        return { ok: await window.user[command.do](command) };
      } catch (error) {
        return { error: { code: error.code || null, text: String(error.text || error.stack || error) } };
      }
    }, command);
    if (outcome.error) {
      throw outcome.error;
    }
    return outcome.ok;
  };
  return new Proxy(
    {},
    {
      get: (_, verb) => {
        if (verb === 'then') {
          return undefined;
        }
        if (verb === 'open') {
          return async (command) => {
            tab = await newWindow(command.browser, deliver);
            const home = new URL(prefix, command.url);
            await tab.goto(home.href);
            await tab.waitForFunction(() => window.user);
            return run(command);
          };
        }
        return run;
      },
    }
  );
}

drive(newUser, () => browser.close());
