"""The package's own servers for tests, and their fixtures."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiobayeux import Client, ConnectionType
from aiobayeux.exceptions import TransportError
from aiobayeux.testing import Answer, FaultProxy, Peer, Request, Server
from conftest import until


async def test_a_server(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        assert len(cometd_server.sessions()) == 1
        assert cometd_server.open_connections >= 1 and cometd_server.accepted_connections >= 1
        await client.subscribe("/a")
        cometd_server.publish("/a", {"x": 1})
        assert (await client.receive())["data"] == {"x": 1}
    await until(lambda: cometd_server.sessions() == [])
    with pytest.raises(ValueError, match="."):
        cometd_server.publish("nonsense", 1)


async def test_options_of_a_server(make_cometd_server: Any) -> None:
    server = make_cometd_server(connection_types=[ConnectionType.LONG_POLLING], acknowledgements=False, timeout=1)
    async with Client(server.url) as client:
        assert client.connection_type is ConnectionType.LONG_POLLING
        assert "ack" not in (client.handshake_reply or {}).get("ext", {})


async def test_a_closed_server() -> None:
    server = Server()
    url = server.url
    server.close()
    server.close()
    with pytest.raises(RuntimeError, match="stopped"):
        _ = server.url
    with pytest.raises(TransportError):
        await Client(url).open()


async def test_a_proxy(cometd_server: Server, cometd_proxy: FaultProxy) -> None:
    async with Client(cometd_proxy.url, request_timeout=5) as client:
        await client.subscribe("/a")
        events = client.events()
        cometd_proxy.cut()
        async for event in events:
            if event.name == "connected":
                break
        cometd_proxy.delay(0.01)
        assert (await client.publish("/a", 1))["successful"]
        cometd_proxy.forward()
        cometd_proxy.refuse()
        cometd_proxy.cut()
        await until(lambda: client.state != "connected")


async def test_scripts(cometd_peer: Peer) -> None:
    seen: list[Request] = []

    def script(request: Request) -> Answer:
        seen.append(request)
        if request.name == "/late":
            return Answer.messages(request.replies).after(0.01).header("X-Test", "1")
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, ConnectionType.LONG_POLLING) as client:
        await client.publish("/late", 1)
    late = next(request for request in seen if request.name == "/late")
    assert (late.kind, late.nth, late.messages[0]["data"]) == ("post", 0, 1)
    assert cometd_peer.received("/late")[0]["data"] == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_script_that_raises_cuts_the_connection(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        raise LookupError("in the script")

    cometd_peer.script = script
    with pytest.raises(TransportError):
        await asyncio.wait_for(Client(cometd_peer.url).open(), 60)


def test_the_fixtures_are_a_plugin(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.hasplugin("aiobayeux")
