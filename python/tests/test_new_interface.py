"""What aiocometd does not have: streams, requests, batches, events, snapshots, queues."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest

from aiobayeux import Client, ConnectionType, Event, Retry, State
from aiobayeux.exceptions import ClientInvalidOperation, InboxOverflow, ServerError, TransportError
from aiobayeux.testing import Peer, Server
from conftest import until


async def test_streams(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        async with client.stream("/trades/*") as trades, client.messages("/news") as news:
            assert client.subscriptions == {"/trades/*", "/news"} and trades.channel == "/trades/*"
            cometd_server.publish("/trades/a", {"price": 1})
            cometd_server.publish("/news", "hello")
            cometd_server.publish("/trades/b", {"price": 2})
            assert [await anext(trades), await trades.receive()] == [{"price": 1}, {"price": 2}]
            assert await news.receive() == {"channel": "/news", "data": "hello"}
            assert client.pending_count == 0
        await until(lambda: client.subscriptions == set())
        with pytest.raises(ClientInvalidOperation):
            await trades.receive()
        async with client.stream("/a") as stream:
            cometd_server.publish("/a", 1)
            async for item in stream:
                assert item == 1
                await client.close()


async def test_a_refused_stream(cometd_peer: Peer) -> None:
    cometd_peer.script = lambda request: (
        request.refusal("403::no") if request.name == "/meta/subscribe" else request.decently()
    )
    async with Client(cometd_peer.url) as client:
        with pytest.raises(ServerError, match="Subscribe request failed"):
            async with client.stream("/a"):
                pass


@pytest.mark.parametrize(
    ("overflow", "expected"), [("drop_oldest", [7, 8, 9]), ("drop_newest", [0, 1, 2]), ("pause", list(range(10)))]
)
async def test_overflow(cometd_server: Server, overflow: str, expected: list[int]) -> None:
    events: list[Event] = []
    async with Client(cometd_server.url, max_pending_count=3, overflow=overflow, on_event=events.append) as client:
        await client.subscribe("/a")
        async with client.messages("/a") as all_messages:
            for number in range(10):
                cometd_server.publish("/a", number)
            if overflow == "pause":
                await until(lambda: client.pending_count == 3)
            else:
                for number in range(10):
                    assert (await all_messages.receive())["data"] == number
                await until(lambda: any(event.name == "slow_consumer" for event in events))
            assert client.pending_count == 3
            assert [(await client.receive())["data"] for _ in expected] == expected


async def test_overflow_that_closes(cometd_server: Server) -> None:
    async with (
        Client(cometd_server.url) as client,
        client.stream("/a", max_pending_count=2, overflow="close") as stream,
    ):
        await client.subscribe("/b")
        for number in range(5):
            cometd_server.publish("/a", number)
        cometd_server.publish("/b", "done")
        await client.receive()
        assert [await stream.receive(), await stream.receive()] == [0, 1]
        with pytest.raises(InboxOverflow, match="/a") as caught:
            await stream.receive()
        assert caught.value.channel == "/a"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_without_a_policy_nothing_is_lost(cometd_server: Server) -> None:
    total = 5000
    async with Client(cometd_server.url, max_pending_count=10) as client:
        await client.subscribe("/a")
        for number in range(total):
            cometd_server.publish("/a", number)
        await until(lambda: client.pending_count == total)
        assert [(await client.receive())["data"] for _ in range(total)] == list(range(total))


async def test_requests(make_cometd_server: Any) -> None:
    def fail(_: Any) -> Any:
        raise LookupError("no such symbol")

    server = make_cometd_server(services={"/service/double": lambda data: data * 2, "/service/fail": fail})
    async with Client(server.url) as client:
        assert await client.request("/service/double", 21) == 42
        with pytest.raises(ServerError, match=r"Service request failed\.") as caught:
            await client.request("/service/fail", 1)
        assert "no such symbol" in str(caught.value.error)
        with pytest.raises(ValueError, match="service channel"):
            await client.request("/a", 1)


async def test_batches(cometd_peer: Peer) -> None:
    cometd_peer.script = lambda request: request.refusal("400::no") if request.name == "/bad" else request.decently()
    async with Client(cometd_peer.url, ConnectionType.LONG_POLLING) as client:
        async with client.batch() as batch:
            batch.publish("/a", 1)
            batch.subscribe("/b")
            batch.publish("/c", {"x": 1})
        assert [result["channel"] for result in batch.results] == ["/a", "/meta/subscribe", "/c"]  # type: ignore[index]
        sent = next(request for request in cometd_peer.requests() if request.name == "/a")
        assert [message["channel"] for message in sent.messages] == ["/a", "/meta/subscribe", "/c"]
        assert client.subscriptions == {"/b"}
        results = await client.batch().publish("/bad", 1).unsubscribe("/b")
        assert isinstance(results[0], ServerError) and results[0].error_code == 400
    with pytest.raises(ClientInvalidOperation):
        await client.batch().publish("/a", 1)


async def test_events_and_states(cometd_server: Server) -> None:
    client = Client(cometd_server.url, retry=Retry(min_delay=0.01, max_delay=datetime.timedelta(seconds=0.05)))
    assert client.state is State.DISCONNECTED
    events = client.events()
    names: list[str] = []
    async with client:
        assert client.state is State.CONNECTED
        await client.subscribe("/a")
        cometd_server.restart()
        async for event in events:
            names.append(event.name)
            if names.count("connected") == 2:
                break
    assert {"connected", "lost", "rehandshaken", "resubscribed", "gap_possible"} <= set(names)
    async for event in events:
        if event.name == "closed":
            assert event.is_requested and "closed" in event.reason and event.fields["is_requested"]
            with pytest.raises(AttributeError, match="an event 'closed' has no 'nonsense'"):
                _ = event.nonsense
            break
    client.connection_timeout = 3
    async with client:
        assert (await asyncio.wait_for(anext(events), 30)).name != "closed"


async def test_snapshots(cometd_server: Server) -> None:
    before = Client(cometd_server.url)
    await before.open()
    await before.subscribe("/a")
    sessions = cometd_server.sessions()
    snapshot = await before.suspend()
    assert before.closed
    cometd_server.publish("/a", "meanwhile")
    after = Client(cometd_server.url)
    await after.resume(snapshot)
    assert cometd_server.sessions() == sessions and after.subscriptions == {"/a"}
    assert (await after.receive())["data"] == "meanwhile"
    assert await after.snapshot()
    await after.close()
    with pytest.raises(ValueError, match="not a snapshot"):
        await Client(cometd_server.url).resume("{}")
    with pytest.raises(ClientInvalidOperation):
        await after.suspend()


async def test_acknowledged_messages_survive_a_lost_connection(cometd_server: Server) -> None:
    total = 500
    async with Client(cometd_server.url, connection_timeout=None, retry=Retry(min_delay=0.01)) as client:
        reply = client.handshake_reply
        assert reply is not None and reply["ext"]["ack"] is True
        await client.subscribe("/a")
        for number in range(total):
            cometd_server.publish("/a", number)
            if number % 50 == 0:
                cometd_server.cut()
                await asyncio.sleep(0.01)
        assert [(await client.receive())["data"] for _ in range(total)] == list(range(total))


async def test_other_calls(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client, Client(cometd_server.url) as other:
        await other.subscribe("/a")
        await client.publish_and_forget("/a", 1)
        assert (await other.receive())["data"] == 1
        assert (await client.publish_binary("/a", b"\x00\xff"))["successful"]
        message = await other.receive()
        assert "binary" in message["ext"]
        await client.reconnect_now()
        assert (await client.publish("/a", 2))["successful"]
        assert client.close_reason is None
    assert client.close_reason == "the client was closed"


async def test_offline_calls_can_be_refused(cometd_server: Server) -> None:
    async with Client(cometd_server.url, offline="refuse", close_timeout=1) as client:
        cometd_server.stop()
        await until(lambda: client.state != State.CONNECTED)
        with pytest.raises(TransportError, match="no connection"):
            await client.publish("/a", 1)


async def test_headers_cookies_and_fields(cometd_peer: Peer) -> None:
    async with Client(
        cometd_peer.url,
        headers={"X-Tenant": "acme"},
        cookies=[("a", "b")],
        handshake_ext={"token": {"x": 1}},
        handshake_fields={"more": [1]},
    ):
        requests = cometd_peer.requests()
        handshake = cometd_peer.received("/meta/handshake")[0]
    assert all(request.headers["x-tenant"] == "acme" for request in requests)
    assert all("a=b" in request.headers["cookie"] for request in requests)
    assert handshake["ext"]["token"] == {"x": 1} and handshake["more"] == [1]


async def test_a_retry_that_gives_up(cometd_server: Server) -> None:
    retry = Retry(min_delay=0.01, max_delay=0.02, max_attempts=2)
    async with Client(cometd_server.url, retry=retry, connection_timeout=None) as client:
        cometd_server.stop()
        with pytest.raises((TransportError, ServerError)):
            await client.receive()
        assert client.closed
