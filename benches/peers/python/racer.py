"""aiocometd, in its fork for today's Python. src/job.rs describes its arguments, src/meter.rs how it measures."""

import asyncio
import json
import sys
import time

import aiocometd_noloop as aiocometd

url, task, transport, warm, span, count, size, ack = sys.argv[1:9]
warm, span, count, size = int(warm) / 1000, int(span) / 1000, int(count), int(size)
# aiohttp keeps no cookies of hosts that are numbers.
url = url.replace("127.0.0.1", "localhost")
payload = {"text": "x" * max(0, size - 100)}


def kib(line):
    with open("/proc/self/status") as status:
        return next(int(text.split()[1]) for text in status if text.startswith(line + ":"))


class Meter:
    def __init__(self):
        self.seen, self.began, self.since, self.calls = 0, None, None, []

    def message(self, start=None):
        now = time.perf_counter()
        if start is not None and self.since is not None:
            self.calls.append(now - start)
        self.seen += 1
        if self.began is None:
            self.began = now
        elif self.since is None and now - self.began >= warm:
            self.since, self.cpu, self.start = now, time.process_time(), self.seen
        elif self.since is not None and now - self.since >= span:
            calls = sorted(self.calls)
            finish(
                messages=self.seen - self.start,
                seconds=now - self.since,
                cpu_seconds=time.process_time() - self.cpu,
                p50_us=calls[len(calls) // 2] * 1e6 if calls else 0,
            )


def finish(**measured):
    print(json.dumps({"peak_kib": kib("VmHWM"), **measured}), flush=True)
    import os

    os._exit(0)


async def connect():
    client = aiocometd.Client(url, aiocometd.ConnectionType(transport), connection_timeout=None)
    await client.open()
    await client.subscribe("/feed/**")
    return client


async def publishing(client, meter):
    while True:
        start = time.perf_counter()
        await client.publish("/bench/publish", payload)
        meter.message(start)


async def main():
    meter = Meter()
    if task == "idle":
        before, clients = kib("VmRSS"), []
        while len(clients) < count:
            some = min(50, count - len(clients))
            clients += await asyncio.gather(*(connect() for _ in range(some)))
        await asyncio.sleep(span)
        finish(messages=count, seconds=span, cpu_seconds=0, client_kib=(kib("VmRSS") - before) / count)
    client = await connect()
    if task == "receive":
        await client.publish("/service/go", 1)
        async for _ in client:
            meter.message()
    await asyncio.gather(*(publishing(client, meter) for _ in range(count if task == "pipelined" else 1)))


asyncio.run(main())
