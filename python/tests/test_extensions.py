"""Extensions and authentication."""

from __future__ import annotations

import asyncio
from typing import Any, Optional

import pytest

from aiobayeux import AuthExtension, Client, ConnectionType, Extension
from aiobayeux.constants import MetaChannel
from aiobayeux.exceptions import ServerError, TransportError
from aiobayeux.testing import Answer, Peer, Request, Server

BOTH = pytest.mark.parametrize("connection_type", list(ConnectionType))


class Recorder(Extension):
    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order = name, order
        self.headers: list[Any] = []
        self.channels: list[str] = []

    async def outgoing(self, payload: list[dict[str, Any]], headers: dict[str, str]) -> None:
        await asyncio.sleep(0)
        self.order.append(f"{self.name} out")
        headers["X-Name"] = self.name
        for message in payload:
            if message["channel"] == MetaChannel.HANDSHAKE:
                message.setdefault("ext", {})[self.name] = True
            if message["channel"] == "/a":
                message["data"] = f"{message['data']} via {self.name}"

    async def incoming(self, payload: list[dict[str, Any]], headers: Optional[dict[str, str]] = None) -> None:
        await asyncio.sleep(0)
        self.order.append(f"{self.name} in")
        self.headers.append(headers)
        self.channels.extend(message["channel"] for message in payload)
        for message in payload:
            if message["channel"] == "/a" and "data" in message:
                message["seen"] = [*message.get("seen", []), self.name]


class Token(Recorder, AuthExtension):
    tokens = 0

    async def authenticate(self) -> None:
        await asyncio.sleep(0)
        self.tokens += 1

    async def outgoing(self, payload: list[dict[str, Any]], headers: dict[str, str]) -> None:
        await super().outgoing(payload, headers)
        headers["Authorization"] = f"Bearer {self.tokens}"


@BOTH
async def test_order_and_payloads(cometd_peer: Peer, connection_type: ConnectionType) -> None:
    order: list[str] = []
    first, second, auth = Recorder("first", order), Recorder("second", order), Token("auth", order)
    async with Client(cometd_peer.url, connection_type, extensions=[first, second], auth=auth) as client:
        assert order[:6] == ["first out", "second out", "auth out", "auth in", "first in", "second in"]
        assert cometd_peer.received("/meta/handshake")[0]["ext"].keys() >= {"first", "second", "auth"}
        await client.subscribe("/a")
        await client.publish("/a", "hi")
        assert cometd_peer.received("/a")[0]["data"] == "hi via first via second via auth"
        cometd_peer.push([{"channel": "/a", "data": 1}])
        assert await client.receive() == {"channel": "/a", "data": 1, "seen": ["auth", "first", "second"]}
        assert {"/meta/handshake", "/meta/connect", "/meta/subscribe", "/a"} <= set(first.channels)
    request = next(request for request in cometd_peer.requests() if request.name in ("upgrade", "/meta/handshake"))
    assert request.headers["x-name"] == "auth" and request.headers["authorization"] == "Bearer 0"
    if connection_type is ConnectionType.WEBSOCKET:
        assert set(first.headers) == {None}
    else:
        assert all("content-type" in headers for headers in first.headers)


@BOTH
@pytest.mark.parametrize("method", ["outgoing", "incoming"])
async def test_an_exception_is_raised_by_the_call(
    cometd_server: Server, connection_type: ConnectionType, method: str
) -> None:
    class Failing(Extension):
        async def outgoing(self, payload: Any, headers: Any) -> None:
            if method == "outgoing" and payload[0]["channel"] == "/a":
                raise KeyError("from the extension")

        async def incoming(self, payload: Any, headers: Any = None) -> None:
            if method == "incoming" and any(message["channel"] == "/a" for message in payload):
                raise KeyError("from the extension")

    async with Client(cometd_server.url, connection_type, extensions=[Failing()]) as client:
        with pytest.raises(KeyError, match="from the extension"):
            await client.publish("/a", 1)
        await client.publish("/b", 1)


async def test_an_exception_while_opening(cometd_server: Server) -> None:
    class Failing(Extension):
        async def outgoing(self, payload: Any, headers: Any) -> None:
            raise PermissionError("not today")

        async def incoming(self, payload: Any, headers: Any = None) -> None:
            pass

    client = Client(cometd_server.url, extensions=[Failing()])
    with pytest.raises(PermissionError, match="not today"):
        await client.open()
    assert client.closed


def guarded(accepts: Any, refusal: str) -> Any:
    def script(request: Request) -> Answer:
        if request.kind == "other":
            return Answer.status(400)
        if request.kind == "upgrade" or accepts(request):
            return request.decently()
        return request.refusal(refusal)

    return script


@pytest.mark.parametrize("error", ["401::unauthorized", "403::handshake denied"])
async def test_a_refused_handshake_is_tried_with_new_credentials(cometd_peer: Peer, error: str) -> None:
    cometd_peer.script = guarded(lambda request: request.headers.get("authorization") == "Bearer 1", error)
    auth = Token("auth", [])
    async with Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=auth) as client:
        assert auth.tokens == 1
        await client.publish("/a", 1)
    assert auth.tokens == 1


@pytest.mark.parametrize("error", ["401::unauthorized", "403::denied"])
@pytest.mark.parametrize("channel", ["/meta/subscribe", "/a"])
async def test_a_refused_call_is_tried_once_with_new_credentials(cometd_peer: Peer, channel: str, error: str) -> None:
    def accepts(request: Request) -> bool:
        return request.name != channel or request.headers.get("authorization") == "Bearer 1"

    cometd_peer.script = guarded(accepts, error)
    auth = Token("auth", [])
    async with Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=auth) as client:
        if channel == "/a":
            assert (await client.publish("/a", 1))["successful"]
        else:
            await client.subscribe("/a")
        assert auth.tokens == 1


async def test_a_second_refusal_is_raised(cometd_peer: Peer) -> None:
    cometd_peer.script = guarded(lambda request: request.name != "/meta/handshake", "401::unauthorized")
    auth = Token("auth", [])
    client = Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=auth)
    with pytest.raises(ServerError, match=r"Handshake request failed\.") as caught:
        await client.open()
    assert caught.value.error_code == 401 and auth.tokens == 1 and client.closed


async def test_an_exception_of_authenticate_is_raised(cometd_peer: Peer) -> None:
    class Broken(Token):
        async def authenticate(self) -> None:
            raise PermissionError("the password is wrong")

    cometd_peer.script = guarded(lambda request: False, "401::unauthorized")
    with pytest.raises(PermissionError, match="the password is wrong"):
        await Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=Broken("auth", [])).open()


async def test_one_refresh_serves_all_calls_that_wait(cometd_peer: Peer) -> None:
    def accepts(request: Request) -> bool:
        return not request.name.startswith("/a/") or request.headers.get("authorization") == "Bearer 1"

    cometd_peer.script = guarded(accepts, "401::unauthorized")
    auth = Token("auth", [])
    async with Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=auth) as client:
        results = await asyncio.gather(*(client.publish(f"/a/{number}", 1) for number in range(10)))
        assert all(result["successful"] for result in results)
        assert auth.tokens == 1


async def test_new_credentials_reach_an_open_websocket(cometd_peer: Peer) -> None:
    upgrades: list[str] = []

    def script(request: Request) -> Answer:
        if request.kind == "upgrade":
            upgrades.append(request.headers["authorization"])
            return Answer.accept()
        if request.name == "/a" and request.headers["authorization"] != "Bearer 1":
            return request.refusal("401::expired")
        return request.decently()

    cometd_peer.script = script
    auth = Token("auth", [])
    async with Client(cometd_peer.url, ConnectionType.WEBSOCKET, auth=auth) as client:
        assert (await client.publish("/a", 1))["successful"]
    assert upgrades == ["Bearer 0", "Bearer 1"]


async def test_an_extension_of_another_client_can_be_awaited_in_one(cometd_server: Server) -> None:
    async with Client(cometd_server.url) as other:

        class Asking(Extension):
            async def outgoing(self, payload: Any, headers: Any) -> None:
                headers["X-Token"] = await other.request("/service/echo", "token")

            async def incoming(self, payload: Any, headers: Any = None) -> None:
                pass

        clients = [Client(cometd_server.url, extensions=[Asking()]) for _ in range(20)]
        await asyncio.gather(*(client.open() for client in clients))
        await asyncio.gather(*(client.publish("/a", 1) for client in clients))
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_payload_that_cannot_be_encoded(cometd_server: Server) -> None:
    class Spoiling(Extension):
        async def outgoing(self, payload: Any, headers: Any) -> None:
            if payload[0]["channel"] == "/a":
                payload[0]["data"] = object()

        async def incoming(self, payload: Any, headers: Any = None) -> None:
            pass

    async with Client(cometd_server.url, extensions=[Spoiling()]) as client:
        with pytest.raises(TypeError, match=r"data\[0\]\['data'\] is of type object"):
            await client.publish("/a", 1)


async def test_refused_without_auth(cometd_peer: Peer) -> None:
    cometd_peer.script = guarded(lambda request: request.name != "/meta/handshake", "403::denied")
    with pytest.raises(ServerError, match=r"Handshake request failed\."):
        await Client(cometd_peer.url).open()


async def test_http_401_is_a_matter_of_credentials_too(cometd_peer: Peer) -> None:
    def script(request: Request) -> Answer:
        if request.kind == "post" and request.headers.get("authorization") != "Bearer 1":
            return Answer.status(401)
        return request.decently()

    cometd_peer.script = script
    auth = Token("auth", [])
    async with Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=auth):
        assert auth.tokens == 1
    cometd_peer.script = lambda request: Answer.status(401)
    with pytest.raises(TransportError) as caught:
        await Client(cometd_peer.url, ConnectionType.LONG_POLLING, auth=Token("auth", [])).open()
    assert caught.value.http_status == 401
