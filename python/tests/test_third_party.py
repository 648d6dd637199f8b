"""Packages that were written for aiocometd, unmodified. Skipped if they are not installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap

import pytest

SALESFORCE = """
import asyncio
import aiobayeux.compat
aiobayeux.compat.install("aiocometd_ng")
from aiobayeux.testing import Answer, Peer
from aiosfstream_ng import Client
from aiosfstream_ng.auth import AuthenticatorBase

class Login(AuthenticatorBase):
    def __init__(self, url):
        super().__init__()
        self.url, self.times = url, 0

    async def _authenticate(self):
        self.times += 1
        return 200, {
            "access_token": f"token-{self.times}", "token_type": "Bearer", "instance_url": self.url,
            "id": "", "signature": "", "issued_at": "0",
        }

def event(number):
    created = f"2026-01-01T00:00:0{number}.000Z"
    return {"channel": "/topic/a", "data": {"event": {"createdDate": created, "replayId": number}, "sobject": {}}}

expired = False

def script(request):
    if request.kind == "upgrade":
        return Answer.status(405)
    if expired and request.headers.get("authorization") == "Bearer token-1":
        return request.refusal("401::Authentication invalid")
    return request.decently()

async def main():
    global expired
    with Peer(script) as peer:
        host, port = peer.address
        markers = {}
        login = Login(f"http://{host}:{port}")
        async with Client(login, replay=markers) as client:
            await client.subscribe("/topic/a")
            peer.push([event(1)])
            assert (await client.receive())["data"]["event"]["replayId"] == 1
            assert markers["/topic/a"].replay_id == 1
            # The token expires, and the session is lost with it: the subscription is made again after the last marker.
            expired = True
            peer.cut()
            while len(peer.received("/meta/subscribe")) < 2 and login.times < 2:
                await asyncio.sleep(0.01)
            await client.unsubscribe("/topic/a")
            await client.subscribe("/topic/a")
            assert peer.received("/meta/subscribe")[-1]["ext"]["replay"] == {"/topic/a": 1}
            assert login.times == 2
            peer.push([event(2)])
            assert (await client.receive())["data"]["event"]["replayId"] == 2
            assert markers["/topic/a"].replay_id == 2
    print("done")

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.mark.skipif(importlib.util.find_spec("aiosfstream_ng") is None, reason="aiosfstream-ng is not installed")
def test_aiosfstream_ng() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SALESFORCE)], capture_output=True, text=True, check=False, timeout=90
    )
    assert finished.stdout == "done\n", finished.stderr
