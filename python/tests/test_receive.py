"""When `receive()` returns, waits and raises."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from aiobayeux import Client, ConnectionType
from aiobayeux.exceptions import ClientInvalidOperation, ServerError, TransportTimeoutError
from aiobayeux.testing import Answer, FaultProxy, Peer, Request, Server
from conftest import until

QUICK = {"connection_timeout": 0.3, "request_timeout": 1.0}


@pytest.mark.parametrize("connection_type", list(ConnectionType))
async def test_a_cancelled_receive_loses_nothing(cometd_server: Server, connection_type: ConnectionType) -> None:
    total = 3000
    async with Client(cometd_server.url, connection_type) as client:
        await client.subscribe("/a")

        async def publish() -> None:
            for number in range(total):
                cometd_server.publish("/a", number)
                if number % 7 == 0:
                    await asyncio.sleep(0.0007)

        publishing = asyncio.ensure_future(publish())
        received: list[int] = []
        timeouts = 0
        while len(received) < total:
            try:
                received.append((await asyncio.wait_for(client.receive(), 0.002))["data"])
            except asyncio.TimeoutError:
                timeouts += 1
                assert timeouts < 100_000
        await publishing
    assert received == list(range(total))


async def test_receive_does_not_yield_if_a_message_is_there(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        await client.subscribe("/a")
        for _ in range(3):
            await client.publish("/a", 1)
        await until(lambda: client.pending_count == 3)
        for _ in range(3):
            step = client.receive()
            with pytest.raises(StopIteration) as done:
                step.send(None)
            assert done.value.value["data"] == 1


async def test_several_readers_share_the_messages(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        await client.subscribe("/a")
        readers = [asyncio.ensure_future(client.receive()) for _ in range(20)]
        await asyncio.sleep(0)
        readers[3].cancel()
        for number in range(19):
            cometd_server.publish("/a", number)
        results = await asyncio.gather(*readers, return_exceptions=True)
        numbers = [result["data"] for result in results if isinstance(result, dict)]
        assert sorted(numbers) == list(range(19))


async def test_a_connection_that_stays_lost_is_reported_again_and_again(cometd_server: Server) -> None:
    async with Client(cometd_server.url, **QUICK) as client:  # type: ignore[arg-type]
        cometd_server.stop()
        for _ in range(2):
            with pytest.raises(TransportTimeoutError, match=r"^Lost connection with the server\.$") as caught:
                await client.receive()
            assert caught.value.is_retryable
        assert not client.closed
        cometd_server.restart()


async def test_short_waits_do_not_hide_an_outage(cometd_server: Server) -> None:
    async def poll(client: Client) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.receive(), 0.02)

    async with Client(cometd_server.url, **QUICK) as client:  # type: ignore[arg-type]
        cometd_server.stop()
        with pytest.raises(TransportTimeoutError):
            await poll(client)
        cometd_server.restart()


@pytest.mark.parametrize("connection_type", list(ConnectionType))
async def test_a_restarted_server_gets_the_subscriptions_again(
    cometd_server: Server, connection_type: ConnectionType
) -> None:
    async with Client(cometd_server.url, connection_type, connection_timeout=180) as client:
        await client.subscribe("/a")
        events = client.events()
        cometd_server.restart()
        async for event in events:
            if event.name == "connected":
                break
        assert client.subscriptions == {"/a"}
        await client.publish("/a", "again")
        assert (await client.receive())["data"] == "again"


async def test_a_paused_server_is_noticed(cometd_server: Server, cometd_proxy: FaultProxy) -> None:
    async with Client(cometd_proxy.url, ping_interval=1, close_timeout=1, **QUICK) as client:  # type: ignore[arg-type]
        cometd_proxy.stall()
        with pytest.raises(TransportTimeoutError):
            await client.receive()
        cometd_proxy.forward()
        await until(lambda: client.state == "connected")


async def test_advice_none_closes_after_the_messages(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/meta/connect" and request.nth == 1:
            event = {"channel": "/a", "data": 1}
            reply = {**request.replies[0], "advice": {"reconnect": "none"}, "successful": False, "error": "403::over"}
            return Answer.hold([event, reply])
        return request.decently()

    cometd_peer.script = script
    client = Client(cometd_peer.url, ConnectionType.LONG_POLLING)
    await client.open()
    await client.subscribe("/a")
    await until(lambda: len(cometd_peer.received("/meta/connect")) == 2)
    cometd_peer.push([])
    assert (await client.receive())["data"] == 1
    with pytest.raises(ServerError) as caught:
        await client.receive()
    assert caught.value.message == "Connection closed by the server"
    assert caught.value.error_code == 403 and caught.value.error_message == "over"
    assert client.closed
    with pytest.raises(ClientInvalidOperation):
        await client.receive()


async def test_the_next_call_says_once_that_the_server_closed_the_session(cometd_server: Server) -> None:
    client = Client(cometd_server.url)
    await client.open()
    cometd_server.dismiss_sessions()
    await until(lambda: client.closed or client.state != "connected")
    if client.closed:
        with pytest.raises(ServerError, match="Connection closed by the server"):
            await client.publish("/a", 1)
        with pytest.raises(ClientInvalidOperation, match="Can't publish data while, the client is closed"):
            await client.publish("/a", 1)
    await client.close()


async def test_a_refusal_among_the_messages_is_raised(cometd_peer: Peer) -> None:
    async with Client(cometd_peer.url, ConnectionType.WEBSOCKET) as client:
        await client.subscribe("/a")
        cometd_peer.push(
            [
                {"channel": "/a", "data": 1},
                {"channel": "/a", "data": 2, "successful": False, "error": "400::no"},
                {"channel": "/a", "data": 3},
            ]
        )
        assert (await client.receive())["data"] == 1
        with pytest.raises(ServerError, match=r"Publish request failed\."):
            await client.receive()
        assert (await client.receive())["data"] == 3


async def test_closing_wakes_a_reader(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        reader = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0)
    with pytest.raises(ClientInvalidOperation):
        await reader


@pytest.mark.parametrize("connection_type", list(ConnectionType))
async def test_what_services_send_is_received(cometd_peer: Peer, connection_type: ConnectionType) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/service/ask":
            return Answer.messages([*request.replies, {"channel": "/service/ask", "data": 42}])
        return request.decently()

    cometd_peer.script = script
    client = Client(cometd_peer.url, connection_type)
    for _ in range(2):
        async with client:
            assert client.subscriptions == set()
            assert (await client.publish("/service/ask", 1))["successful"]
            assert await client.receive() == {"channel": "/service/ask", "data": 42}
            await client.subscribe("/service/ask")
            await client.publish("/service/ask", 1)
            assert await client.receive() == {"channel": "/service/ask", "data": 42}
            await client.unsubscribe("/service/ask")
            assert client.pending_count == 0
    assert cometd_peer.received("/meta/subscribe") == []


async def test_what_services_send_goes_to_the_streams_if_there_are_some(cometd_peer: Peer) -> None:
    async with Client(cometd_peer.url, ConnectionType.WEBSOCKET) as client, client.stream("/service/news") as news:
        cometd_peer.push([{"channel": "/service/news", "data": 1}])
        assert await news.receive() == 1
        await client.publish("/a", 1)
        assert client.pending_count == 0
