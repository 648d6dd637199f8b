"""Log records of the native module."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap

import pytest

from aiobayeux import Client
from aiobayeux.testing import Server
from conftest import until


async def test_records_reach_logging(cometd_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aiobayeux")
    async with Client(cometd_server.url):
        await until(lambda: any("Connected" in record.getMessage() for record in caplog.records))
    record = next(record for record in caplog.records if "Connected" in record.getMessage())
    assert (record.name, record.levelno) == ("aiobayeux", logging.DEBUG)
    assert not [record for record in caplog.records if record.name == "aiobayeux.wire"]


async def test_the_wire_log(cometd_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "aiobayeux")
    async with Client(cometd_server.url, headers={"Authorization": "Bearer hunter2"}) as client:
        await client.publish("/a", "a word")
        await until(lambda: any("a word" in record.getMessage() for record in caplog.records))
    records = [record for record in caplog.records if record.name == "aiobayeux.wire"]
    assert records and {record.levelno for record in records} == {5}
    assert "hunter2" not in caplog.text


async def test_nothing_is_made_that_nobody_wants(cometd_server: Server) -> None:
    from aiobayeux import _native

    logging.getLogger("aiobayeux").setLevel(logging.NOTSET)
    async with Client(cometd_server.url) as client:
        await client.publish("/a", 1)
        assert not _native.take_log_records()


def test_a_program_with_a_debug_log_ends() -> None:
    program = """
        import asyncio, logging
        logging.basicConfig(level=logging.DEBUG)
        from aiobayeux import Client
        from aiobayeux.testing import Server

        async def main():
            server = Server()
            client = Client(server.url)
            await client.open()
            asyncio.ensure_future(client.receive())

        asyncio.run(main())
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert finished.returncode == 0, finished.stderr
    assert "DEBUG:aiobayeux:event event=Connected" in finished.stderr
