"""Memory, threads and descriptors stay flat. AIOBAYEUX_SOAK=1 makes it 10,000 clients and a million messages."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from aiobayeux import Client
from aiobayeux.testing import Server
from conftest import until

SOAK = os.environ.get("AIOBAYEUX_SOAK") == "1"
CLIENTS = 10_000 if SOAK else 600
MESSAGES = 1_000_000 if SOAK else 60_000

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc"),
    pytest.mark.timeout(3600 if SOAK else 300),
]


def status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def open_and_close(url: str, count: int) -> None:
    for _ in range(0, count, 20):
        clients = [Client(url) for _ in range(20)]
        await asyncio.gather(*(client.open() for client in clients))
        await asyncio.gather(*(client.close() for client in clients))


async def test_clients_that_come_and_go(cometd_server: Server) -> None:
    await open_and_close(cometd_server.url, CLIENTS // 3)
    await until(lambda: cometd_server.open_connections == 0)
    gc.collect()
    memory, threads, files = status("VmRSS"), status("Threads"), descriptors()
    await open_and_close(cometd_server.url, CLIENTS)
    await until(lambda: cometd_server.open_connections == 0)
    gc.collect()
    assert status("Threads") <= threads + 2
    assert descriptors() <= files + 4
    assert status("VmRSS") - memory < 12_000, "KiB"


async def test_messages_that_come_and_go(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        await client.subscribe("/a")

        async def pass_through(count: int) -> None:
            for start in range(0, count, 500):
                for number in range(start, start + 500):
                    cometd_server.publish("/a", {"number": number, "text": "x" * 50})
                for number in range(start, start + 500):
                    assert (await client.receive())["data"]["number"] == number

        await pass_through(MESSAGES // 3)
        gc.collect()
        memory, objects = status("VmRSS"), len(gc.get_objects())
        await pass_through(MESSAGES)
        gc.collect()
        assert status("VmRSS") - memory < 12_000, "KiB"
        assert len(gc.get_objects()) < objects + 1000
