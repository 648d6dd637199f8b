"""JSON as Python objects, and loaders and dumpers of the user."""

from __future__ import annotations

import decimal
import json
import random
import string
from typing import Any

import pytest

from aiobayeux import Client, ConnectionType, Extension, _native
from aiobayeux.testing import Peer, Server


def values(random_: random.Random, depth: int = 0) -> Any:
    kind = random_.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return None
    if kind == 1:
        return random_.random() < 0.5
    if kind == 2:
        return random_.randrange(-(10 ** random_.randrange(1, 30)), 10 ** random_.randrange(1, 30))
    if kind == 3:
        return random_.uniform(-1, 1) * 10 ** random_.randrange(-300, 300)
    if kind in (4, 5):
        alphabet = string.printable + 'äß€𝄞\ud83d\u2028\x00"\\'
        return "".join(random_.choice(alphabet) for _ in range(random_.randrange(20)))
    if kind in (6, 7):
        return [values(random_, depth + 1) for _ in range(random_.randrange(5))]
    return {str(values(random_, 9)): values(random_, depth + 1) for _ in range(random_.randrange(5))}


def test_the_decoder_agrees_with_json_loads() -> None:
    random_ = random.Random(7)
    for _ in range(5000):
        value = values(random_)
        text = json.dumps(value)
        decoded = _native.loads(text.encode())
        assert repr(decoded) == repr(json.loads(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "-0",
        "-0.0",
        "1e400",
        "1E5",
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '{"a":1,"a":2}',
        "[" * 150 + "]" * 150,
        " [ 1 , 2 ] ",
    ],
)
def test_odd_values(text: str) -> None:
    assert repr(_native.loads(text.encode())) == repr(json.loads(text))


async def test_the_loader_of_the_user(cometd_server: Server) -> None:
    def loads(text: str) -> Any:
        return json.loads(text, parse_float=decimal.Decimal)

    async with Client(cometd_server.url, json_loads=loads) as client:
        await client.subscribe("/a")
        response = await client.publish("/a", 1.10)
        assert response["successful"] is True
        assert (await client.receive())["data"] == decimal.Decimal("1.1")
        assert await client.request("/service/echo", 2.5) == decimal.Decimal("2.5")
        async with client.stream("/b") as stream:
            cometd_server.publish("/b", 0.1)
            assert await stream.receive() == decimal.Decimal("0.1")
        assert client.handshake_reply is not None


async def test_the_dumper_of_the_user(cometd_server: Server) -> None:
    def dumps(value: Any) -> str:
        return json.dumps(value, default=str)

    async with Client(cometd_server.url, json_dumps=dumps) as client:
        await client.subscribe("/a")
        await client.publish("/a", decimal.Decimal("1.1"))
        assert (await client.receive())["data"] == "1.1"


async def test_a_dumper_that_returns_bytes(cometd_server: Server) -> None:
    async with Client(cometd_server.url, json_dumps=lambda value: json.dumps(value).encode()) as client:
        await client.subscribe("/a")
        await client.publish("/a", {"x": "ü"})
        assert (await client.receive())["data"] == {"x": "ü"}


async def test_a_dumper_that_makes_no_json(cometd_server: Server) -> None:
    async with Client(cometd_server.url, json_dumps=lambda value: "nonsense") as client:
        with pytest.raises(ValueError, match="not JSON"):
            await client.publish("/a", 1)
    async with Client(cometd_server.url, json_dumps=lambda value: 5) as client:  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match="json_dumps must return str or bytes, not int"):
            await client.publish("/a", 1)


async def test_a_loader_that_fails_concerns_one_message(cometd_server: Server) -> None:
    def loads(text: str) -> Any:
        if "poison" in text:
            raise ValueError("the loader of the user")
        return json.loads(text)

    async with Client(cometd_server.url, json_loads=loads) as client:
        await client.subscribe("/a")
        for word in ("one", "poison", "two"):
            cometd_server.publish("/a", word)
        assert (await client.receive())["data"] == "one"
        with pytest.raises(ValueError, match="the loader of the user"):
            await client.receive()
        assert (await client.receive())["data"] == "two"


async def test_extensions_use_them_too(cometd_server: Server) -> None:
    calls: list[str] = []

    def loads(text: str) -> Any:
        calls.append("loads")
        return json.loads(text)

    def dumps(value: Any) -> str:
        calls.append("dumps")
        return json.dumps(value)

    class Idle(Extension):
        async def outgoing(self, payload: Any, headers: Any) -> None:
            assert isinstance(payload, list)

        async def incoming(self, payload: Any, headers: Any = None) -> None:
            assert isinstance(payload, list)

    async with Client(cometd_server.url, extensions=[Idle()], json_loads=loads, json_dumps=dumps):
        assert {"loads", "dumps"} == set(calls)


async def test_messages_are_dicts_as_the_server_sent_them(cometd_peer: Peer) -> None:
    sent = [
        {"channel": "/a", "data": None},
        {"channel": "/a", "data": {"ä": [1, 2.5, None, True, {"": ""}]}, "id": "x1", "ext": {"y": 1}},
        {"channel": "/a", "data": 1, "timestamp": "Thu", "more": {"z": [1]}, "clientId": "abc"},
    ]
    async with Client(cometd_peer.url, ConnectionType.WEBSOCKET) as client:
        await client.subscribe("/a")
        cometd_peer.push(sent)
        assert [await client.receive() for _ in sent] == sent
