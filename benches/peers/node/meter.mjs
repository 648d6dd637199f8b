// The arguments of a racer, and how it measures, as in src/job.rs and src/meter.rs.
import { readFileSync } from 'node:fs';

const [url, task, transport, warm, time, count, size, ack] = process.argv.slice(2);
export const job = { url, task, transport, warm: +warm, time: +time, count: +count, size: +size, ack: +ack > 0 };
export const payload = { text: 'x'.repeat(Math.max(0, job.size - 100)) };

const STRIDE = 64;
let seen = 0, next = 1, began = 0, since = 0, cpu = null, from = 0;
const calls = [];

function kib(line) {
  const found = new RegExp(`^${line}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return found ? +found[1] : 0;
}

function print(measured) {
  process.stdout.write(JSON.stringify(measured) + '\n', () => process.exit(0));
}

/** One message came. */
export function message() {
  seen += 1;
  if (seen < next) return;
  next = seen + STRIDE;
  look();
}

/** One call was answered, which began then. */
export function call(start) {
  if (since > 0) calls.push(performance.now() - start);
  seen += 1;
  look();
}

function look() {
  const now = performance.now();
  if (began === 0) {
    began = now;
  } else if (since === 0 && now - began >= job.warm) {
    since = now;
    cpu = process.cpuUsage();
    from = seen;
  } else if (since > 0 && now - since >= job.time) {
    const used = process.cpuUsage(cpu);
    calls.sort((a, b) => a - b);
    print({
      messages: seen - from,
      seconds: (now - since) / 1000,
      cpu_seconds: (used.user + used.system) / 1e6,
      peak_kib: kib('VmHWM'),
      p50_us: calls.length ? calls[calls.length >> 1] * 1000 : 0,
    });
    job.task = 'done';
  }
}

/** Opens idle clients, some at once, and reports what each takes. */
export async function idle(open) {
  const before = kib('VmRSS');
  const clients = [];
  while (clients.length < job.count) {
    const some = Math.min(50, job.count - clients.length);
    clients.push(...(await Promise.all(Array.from({ length: some }, open))));
  }
  await new Promise((resolve) => setTimeout(resolve, job.time));
  if (global.gc) global.gc();
  print({
    messages: job.count,
    seconds: job.time / 1000,
    cpu_seconds: 0,
    peak_kib: kib('VmHWM'),
    client_kib: (kib('VmRSS') - before) / clients.length,
  });
}

/** Does the calls of a job; `publish` calls back. */
export function calling(publish) {
  const again = () => {
    if (job.task === 'done') return;
    const start = performance.now();
    publish(() => {
      call(start);
      again();
    });
  };
  for (let n = 0; n < (job.task === 'pipelined' ? job.count : 1); n += 1) again();
}
