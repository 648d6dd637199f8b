"""The known bugs of aiocometd, which this package must not have."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from aiobayeux import Client, ConnectionType
from aiobayeux.exceptions import AiocometdException, ServerError, TransportError, TransportTimeoutError
from aiobayeux.testing import Answer, Peer, Request, Server
from conftest import until

LP = ConnectionType.LONG_POLLING
WS = ConnectionType.WEBSOCKET
BOTH = pytest.mark.parametrize("connection_type", list(ConnectionType))


async def test_b1_the_interval_is_in_milliseconds(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/meta/connect":
            reply = {**request.replies[0], "advice": {"reconnect": "retry", "interval": 50, "timeout": 0}}
            return Answer.messages([reply])
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, LP):
        await until(lambda: len(cometd_peer.received("/meta/connect")) >= 5, 30)


@pytest.mark.parametrize("reconnect", ["retry", "handshake"])
async def test_b2_failures_are_not_repeated_without_a_pause(cometd_peer: Peer, reconnect: str) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/meta/connect" and request.nth >= 1:
            advice = {"reconnect": reconnect, "interval": 0}
            return Answer.messages([{**request.replies[0], "successful": False, "error": "500::x", "advice": advice}])
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, LP, connection_timeout=0.5, close_timeout=1) as client:
        with pytest.raises(AiocometdException):
            await client.receive()
        await asyncio.sleep(1)
        assert len(cometd_peer.requests()) < 40


async def test_b3_a_subscription_that_is_not_restored_is_reported(cometd_server: Server, cometd_peer: Peer) -> None:
    refused = False

    def script(request: Request) -> Answer:
        if request.name == "/meta/subscribe" and refused:
            return request.refusal("403::denied")
        if any(message["channel"] == "/meta/subscribe" for message in request.messages) and refused:
            replies = [
                {**reply, "successful": False, "error": "403::denied"}
                if reply["channel"] == "/meta/subscribe"
                else reply
                for reply in request.replies
            ]
            return Answer.messages(replies)
        if request.name == "/meta/connect" and request.nth == 1:
            reply = {**request.replies[0], "successful": False, "error": "402::unknown"}
            return Answer.hold([{**reply, "advice": {"reconnect": "handshake", "interval": 0}}])
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, LP, close_timeout=1) as client:
        await client.subscribe("/a")
        events = client.events()
        refused = True
        cometd_peer.push([])
        with pytest.raises(ServerError, match="Subscribe request failed") as caught:
            await client.receive()
        assert caught.value.error_code == 403 and caught.value.channel == "/a"
        async for event in events:
            if event.name == "resubscribed":
                assert event.channel == "/a" and "403" in event.error
                break


@BOTH
async def test_b4_a_failed_open_leaves_nothing_running(cometd_peer: Peer, connection_type: ConnectionType) -> None:
    cometd_peer.script = lambda request: (
        request.refusal("403::no") if request.name == "/meta/connect" else request.decently()
    )
    client = Client(cometd_peer.url, connection_type)
    with pytest.raises(ServerError, match=r"Connect request failed\."):
        await client.open()
    assert client.closed
    await until(lambda: cometd_peer.open_connections == 0)
    before = len(cometd_peer.requests())
    await asyncio.sleep(0.3)
    assert len(cometd_peer.requests()) == before


@BOTH
async def test_b5_open_close_open(cometd_server: Server, connection_type: ConnectionType) -> None:
    client = Client(cometd_server.url, connection_type)
    for number in range(3):
        async with client:
            await client.subscribe("/a")
            await client.publish("/a", number)
            assert (await client.receive())["data"] == number


async def test_b7_partial_advice_keeps_the_rest(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/meta/connect" and request.nth == 0:
            return Answer.messages([{**request.replies[0], "advice": {"reconnect": "retry", "interval": 0}}])
        if request.name == "/meta/connect" and request.nth >= 1:
            return Answer.silence()
        if request.name == "/meta/handshake":
            advice = {"reconnect": "retry", "interval": 0, "timeout": 300}
            return Answer.messages([{**reply, "advice": advice} for reply in request.replies])
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, LP, request_timeout=0.5, connection_timeout=0.2, close_timeout=1) as client:
        with pytest.raises(TransportTimeoutError):
            await asyncio.wait_for(client.receive(), 30)


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b'{"channel": 5}',
        b"[]",
        b"[1, 2]",
        b'[{"channel": "/other", "successful": true}]',
        b'{"error":"401::Request requires authentication","successful":false}',
        b"\xff\xfe",
        b"",
    ],
)
@BOTH
async def test_b8_whatever_a_server_sends_is_an_error_of_the_package(
    cometd_peer: Peer, body: bytes, connection_type: ConnectionType
) -> None:
    def script(request: Request) -> Answer:
        return Answer.body(body) if request.name == "/a" else request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, connection_type, request_timeout=0.5, close_timeout=1) as client:
        with pytest.raises(AiocometdException):
            await client.publish("/a", 1)


async def test_b8_http_errors_and_pages(cometd_peer: Peer) -> None:
    cometd_peer.script = lambda request: Answer.page(503, "<title>Down for maintenance</title>")
    with pytest.raises(TransportError, match="503") as caught:
        await Client(cometd_peer.url, LP).open()
    assert caught.value.http_status == 503 and "Down for maintenance" in str(caught.value)


@BOTH
async def test_b9_replies_without_an_id(cometd_peer: Peer, connection_type: ConnectionType) -> None:
    def script(request: Request) -> Answer:
        if request.kind in ("upgrade", "other") or request.name == "/meta/connect":
            return request.decently()
        return Answer.messages(
            [{key: value for key, value in reply.items() if key != "id"} for reply in request.replies]
        )

    cometd_peer.script = script
    async with Client(cometd_peer.url, connection_type, close_timeout=1) as client:
        await client.subscribe("/a")
        assert (await client.publish("/a", 1))["successful"]


@BOTH
async def test_b10_a_disconnect_of_the_server_ends_the_session(
    cometd_server: Server, connection_type: ConnectionType
) -> None:
    async with Client(cometd_server.url, connection_type) as client:
        await client.subscribe("/a")
        events = client.events()
        cometd_server.dismiss_sessions()
        async for event in events:
            if event.name in ("closed", "rehandshaken"):
                break
        if event.name == "closed":
            with pytest.raises(ServerError, match="Connection closed by the server"):
                await client.receive()
            assert client.closed


async def test_b12_a_server_with_websocket_only() -> None:
    with Server(connection_types=["websocket"]) as server:
        async with Client(server.url) as client:
            assert client.connection_type is WS
            await client.publish("/a", 1)


async def test_b12_a_websocket_that_is_blocked(cometd_peer: Peer) -> None:
    cometd_peer.script = lambda request: Answer.status(403) if request.kind == "upgrade" else request.decently()
    async with Client(cometd_peer.url) as client:
        assert client.connection_type is LP


async def test_b13_a_large_message(make_cometd_server: Any) -> None:
    server = make_cometd_server(max_message_size=64 * 1024 * 1024)
    async with Client(server.url, WS, max_message_size=32 * 1024 * 1024, max_send_size=32 * 1024 * 1024) as client:
        await client.subscribe("/a")
        server.publish("/a", "x" * (6 * 1024 * 1024))
        assert len((await client.receive())["data"]) == 6 * 1024 * 1024


@BOTH
async def test_b13_a_message_above_the_limit(cometd_server: Server, connection_type: ConnectionType) -> None:
    async with Client(
        cometd_server.url, connection_type, max_message_size=100_000, connection_timeout=0.2, acknowledge=False
    ) as client:
        await client.subscribe("/a")
        events = client.events()
        cometd_server.publish("/a", "x" * 200_000)
        async for event in events:
            if event.name == "lost":
                assert "max_message_size" in event.cause
                break


async def test_b13_pings(cometd_server: Server) -> None:
    async with Client(cometd_server.url, WS, ping_interval=1) as client:
        await asyncio.sleep(1.5)
        assert client.last_activity is not None and client.last_activity < 1.4


async def test_b14_the_first_connect_is_not_held(cometd_peer: Peer) -> None:
    start = time.monotonic()
    async with Client(cometd_peer.url, LP, close_timeout=1):
        assert cometd_peer.received("/meta/connect")[0]["advice"] == {"timeout": 0}
    assert time.monotonic() - start < 25


async def test_b15_a_list_of_subscriptions_in_a_reply(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/meta/subscribe":
            return Answer.messages([{**request.replies[0], "subscription": ["/a"]}])
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, LP) as client:
        await client.subscribe("/a")
        assert client.subscriptions == {"/a"}


async def test_b15_a_reply_without_successful(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        if request.name == "/meta/subscribe":
            return Answer.messages([{key: value for key, value in request.replies[0].items() if key != "successful"}])
        return request.decently()

    cometd_peer.script = script
    async with Client(cometd_peer.url, LP) as client:
        with pytest.raises(ServerError, match=r"Subscribe request failed\."):
            await client.subscribe("/a")


async def test_b16_receive_makes_no_tasks(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        await client.subscribe("/a")
        before = asyncio.all_tasks()
        waiting = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == before | {waiting}
        cometd_server.publish("/a", 1)
        await waiting
        for _ in range(5):
            await client.publish("/a", 1)
            await client.receive()
            assert asyncio.all_tasks() == before


async def test_a_full_queue_does_not_block_publishes(cometd_server: Server) -> None:
    async with Client(cometd_server.url, max_pending_count=3, overflow="pause") as client:
        await client.subscribe("/a")
        for number in range(50):
            cometd_server.publish("/a", number)
        await until(lambda: client.pending_count == 3)
        assert (await asyncio.wait_for(client.publish("/b", 1), 30))["successful"]
        assert client.pending_count == 3
        assert [(await client.receive())["data"] for _ in range(50)] == list(range(50))
