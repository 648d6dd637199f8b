// The driver of a client in Node.js: commands come as JSON lines, and so do answers and messages go.
// src/driven.rs is the other side.

import readline from 'node:readline';

/**
 * Carries out commands until the input ends. `newUser(deliver, tell)` makes a user, whose methods are the verbs: each
 * takes the command and returns a promise, which is rejected with `{code, text}` or an error. `close` ends it all.
 * `tell` passes on what the client tells of a failure that no verb asked about.
 */
export function drive(newUser, close = async () => {}) {
  const users = new Map();
  const write = (line) => process.stdout.write(JSON.stringify(line) + '\n');
  const input = readline.createInterface({ input: process.stdin });
  input.on('line', async (line) => {
    const command = JSON.parse(line);
    const { id, user: number } = command;
    try {
      if (!users.has(number)) {
        const deliver = (channel, data) => write({ user: number, channel, data });
        users.set(number, newUser(deliver, (reported) => write({ user: number, reported })));
      }
      const user = await users.get(number);
      const value = await user[command.do](command);
      write({ id, ok: value === undefined ? null : value });
    } catch (error) {
      const { code = null, text = String(error && error.stack ? error.stack : error) } = error || {};
      write({ id, error: { code: Number.isInteger(code) ? code : null, text } });
    }
  });
  input.on('close', async () => {
    await close();
    process.exit(0);
  });
  process.stdout.write('READY\n');
}
