"""The quickstart of aiocometd's README, line by line, with another import."""

from __future__ import annotations

import asyncio

import pytest

from aiobayeux import Client, ConnectionType
from aiobayeux.exceptions import ClientInvalidOperation
from aiobayeux.testing import Server


@pytest.mark.parametrize("connection_type", list(ConnectionType))
async def test_quickstart(cometd_server: Server, connection_type: ConnectionType) -> None:
    client = Client(cometd_server.url, connection_type)
    assert client.closed and client.connection_type is None and client.subscriptions == set()
    await client.open()
    assert not client.closed and client.connection_type is connection_type
    await client.subscribe("/chat/demo")
    assert client.subscriptions == {"/chat/demo"}
    response = await client.publish("/chat/demo", {"user": "ann", "chat": "hi"})
    assert response["channel"] == "/chat/demo" and response["successful"] is True and "id" in response
    message = await client.receive()
    assert message == {"channel": "/chat/demo", "data": {"user": "ann", "chat": "hi"}}
    assert (client.pending_count, client.has_pending_messages) == (0, False)
    await client.unsubscribe("/chat/demo")
    assert client.subscriptions == set()
    await client.close()
    assert client.closed
    with pytest.raises(ClientInvalidOperation, match="The client is closed and there are no pending messages"):
        await client.receive()


async def test_context_manager_and_iteration(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        await client.subscribe("/numbers")
        for number in range(100):
            cometd_server.publish("/numbers", number)
        received = []
        async for message in client:
            received.append(message["data"])
            if len(received) == 100:
                await client.close()
        assert received == list(range(100))
    assert client.closed


async def test_messages_can_be_taken_after_a_close(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        await client.subscribe("/a")
        await client.publish("/a", 1)
        await client.publish("/a", 2)
    assert client.closed and client.pending_count == 2 and client.has_pending_messages
    assert [message["data"] async for message in client] == [1, 2]


async def test_service_channels(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        response = await client.publish("/service/echo", {"a": 1})
        assert response["successful"] is True
        assert await client.request("/service/echo", {"question": 1}) == {"question": 1}


async def test_a_client_is_opened_once(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as client:
        with pytest.raises(ClientInvalidOperation, match=r"^Client is already open\.$"):
            await client.open()


async def test_calls_on_a_closed_client() -> None:
    client = Client("http://127.0.0.1:1/cometd")
    for call, text in [
        (client.subscribe("/a"), "Can't send subscribe request while, the client is closed."),
        (client.unsubscribe("/a"), "Can't send unsubscribe request while, the client is closed."),
        (client.publish("/a", 1), "Can't publish data while, the client is closed."),
        (client.receive(), "The client is closed and there are no pending messages."),
    ]:
        with pytest.raises(ClientInvalidOperation) as caught:
            await call
        assert str(caught.value) == text
    await client.close()


async def test_a_closed_client_can_be_opened_again(cometd_server: Server) -> None:
    client = Client(cometd_server.url)
    for _ in range(3):
        await client.open()
        await client.subscribe("/a")
        await client.publish("/a", 1)
        assert (await client.receive())["data"] == 1
        await client.close()
    await client.open()
    assert client.subscriptions == {"/a"}, "they are restored"
    await client.close()


async def test_attributes_that_were_mutable_are_mutable(cometd_server: Server) -> None:
    client = Client("http://127.0.0.1:1/cometd", connection_timeout=1)
    client.url = cometd_server.url
    client.connection_timeout = 20
    client.ssl = False
    client.extensions = []
    client.auth = None
    async with client:
        await client.subscribe("/a")
    client.url = cometd_server.url + "?x=1"
    async with client:
        assert client.subscriptions == {"/a"}


async def test_two_clients_chat(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as ann, Client(cometd_server.url, ConnectionType.LONG_POLLING) as bob:
        await asyncio.gather(ann.subscribe("/chat/*"), bob.subscribe("/chat/*"))
        await ann.publish("/chat/demo", "from ann")
        await bob.publish("/chat/demo", "from bob")
        for client in ann, bob:
            texts = {(await client.receive())["data"], (await client.receive())["data"]}
            assert texts == {"from ann", "from bob"}


async def test_a_subclass_overrides_methods(cometd_server: Server) -> None:
    class Counting(Client):
        opened = closed_times = received = 0

        async def open(self) -> None:
            self.opened += 1
            await super().open()

        async def close(self) -> None:
            self.closed_times += 1
            await super().close()

        async def receive(self) -> dict[str, object]:
            self.received += 1
            return await super().receive()

    class Iterating(Counting):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for message in super().__aiter__():
                yield message["data"]

    async with Iterating(cometd_server.url) as client:
        assert isinstance(client, Iterating)
        await client.subscribe("/a")
        await client.publish("/a", 7)
        async for data in client:
            assert data == 7
            break
    assert (client.opened, client.closed_times, client.received) == (1, 1, 1)
