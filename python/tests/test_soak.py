"""Clients that are opened and closed, and messages that are received, leave nothing behind.

By default this is short. With AIOBAYEUX_SOAK=1 it is 10,000 clients and 1,000,000 messages over each transport.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiobayeux import Client, ConnectionType

FULL = os.environ.get("AIOBAYEUX_SOAK") == "1"
CLIENTS = 10_000 if FULL else 600
MESSAGES = 1_000_000 if FULL else 40_000
#: How much memory may be added after the first tenth, in KiB: what allocators keep, but less than 1 KiB a client, and
#: less than 10 bytes a message, in the full run.
ROOM = 8_000
#: A server in a process of its own, whose memory does not count.
SERVER = """
import sys
from aiobayeux.testing import Server

def flood(count):
    for number in range(count):
        server.publish("/flood", {"number": number, "text": "x" * 100})
    return count

server = Server(services={"/service/flood": flood})
print(server.url, flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.timeout(3600 if FULL else 300)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


class Used:
    """What the process uses."""

    def __init__(self) -> None:
        gc.collect()
        status = Path("/proc/self/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        self.memory = int(fields["VmRSS"].split()[0])
        self.threads = int(fields["Threads"])
        self.descriptors = len(os.listdir("/proc/self/fd"))

    def __repr__(self) -> str:
        return f"{self.memory} KiB, {self.threads} threads, {self.descriptors} descriptors"

    def check_since(self, before: Used) -> None:
        print(f"before: {before}; after: {self}")
        assert self.memory - before.memory < ROOM, (before, self)
        assert self.threads <= before.threads, (before, self)
        # A connection more or less is kept open for the next request.
        assert self.descriptors <= before.descriptors + 2, (before, self)


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
both = pytest.mark.parametrize("connection_type", list(ConnectionType))


@needs_proc
@both
def test_clients_leave_nothing(url: str, connection_type: ConnectionType) -> None:
    async def one(number: int) -> None:
        async with Client(url, connection_type) as client:
            await client.subscribe(f"/soak/{number % 7}")
            await client.publish("/soak/nobody", number)

    async def some(count: int) -> None:
        for start in range(0, count, 50):
            await asyncio.gather(*(one(number) for number in range(start, start + 50)))

    async def main() -> None:
        await some(CLIENTS // 10)
        await asyncio.sleep(0.5)
        before = Used()
        await some(CLIENTS - CLIENTS // 10)
        # Closed connections are given back soon, not at once.
        for _ in range(100):
            after = Used()
            if after.descriptors <= before.descriptors:
                break
            await asyncio.sleep(0.1)
        after.check_since(before)

    asyncio.run(main())


@needs_proc
@both
def test_messages_leave_nothing(url: str, connection_type: ConnectionType) -> None:
    async def main() -> None:
        async with Client(url, connection_type) as client:
            await client.subscribe("/flood")

            async def receive(count: int) -> None:
                for _ in range(0, count, 1000):
                    assert await client.request("/service/flood", 1000) == 1000
                    for number in range(1000):
                        assert (await client.receive())["data"]["number"] == number

            await receive(MESSAGES // 10)
            before = Used()
            await receive(MESSAGES - MESSAGES // 10)
            Used().check_since(before)
            assert client.pending_count == 0

    asyncio.run(main())
    assert threading.active_count() < 10
