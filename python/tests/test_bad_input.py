"""Wrong arguments and wrong places raise Python's own exceptions, with texts that say what to do."""

from __future__ import annotations

import asyncio
import datetime
import threading
from typing import Any

import pytest

from aiobayeux import Client, ConnectionType, Retry, TlsOptions
from aiobayeux.extensions import Extension
from aiobayeux.testing import Server


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://example.com/cometd", "http://", "http://a b/", "//x", "http://[::1"]
)
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match="not a valid URL of a server"):
        Client(url)


async def test_a_wrong_url_that_is_set_later(cometd_server: Server) -> None:
    client = Client("")
    with pytest.raises(ValueError, match="not a valid URL"):
        await client.open()
    client.url = cometd_server.url
    async with client:
        pass


def test_a_url_of_another_type() -> None:
    with pytest.raises(TypeError, match="url must be a str, not bytes"):
        Client(b"http://localhost/")  # type: ignore[arg-type]


def test_secrets_of_a_url_are_not_shown() -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        Client("gopher://user:hunter2@example.com/?token=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("channel", ["chat", "", "/a/*", "/meta/connect", "/a\nb"])
async def test_invalid_channels(cometd_server: Server, channel: str) -> None:
    async with Client(cometd_server.url) as client:
        for call in (client.publish(channel, 1), client.request(channel, 1)):
            with pytest.raises(ValueError, match="."):
                await call


@pytest.mark.parametrize("channel", [None, 5, b"/a", ["/a"]])
async def test_channels_of_another_type(cometd_server: Server, channel: Any) -> None:
    async with Client(cometd_server.url) as client:
        for call in (client.subscribe(channel), client.unsubscribe(channel), client.publish(channel, 1)):
            with pytest.raises(TypeError, match="a channel is a str, not"):
                await call


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        ({"a": [1, {"b": object()}]}, TypeError, r"data\['a'\]\[1\]\['b'\] is of type object"),
        (b"bytes", TypeError, "data is of type bytes"),
        ({"when": datetime.date(2020, 1, 1)}, TypeError, r"data\['when'\] is of type date"),
        ([1, {1, 2}], TypeError, r"data\[1\] is of type set"),
        ({"a": {(1, 2): 3}}, TypeError, r"data\['a'\] is a dict with a key of type tuple"),
        ([float("nan")], ValueError, r"data\[0\] is nan"),
        ({"x": float("-inf")}, ValueError, r"data\['x'\] is -inf"),
        (LOOP, ValueError, r"data\[0\] is a part of itself"),
    ],
)
async def test_data_that_is_not_json(cometd_server: Server, data: Any, kind: type[Exception], text: str) -> None:
    async with Client(cometd_server.url) as client:
        for call in (client.publish("/a", data), client.request("/service/echo", data)):
            with pytest.raises(kind, match=text):
                await call
        with pytest.raises(kind, match=text):
            client.batch().publish("/a", data)
        await client.publish("/a", "the client continues")


def drive(coroutine: Any) -> None:
    with pytest.raises(RuntimeError, match=r"there is no running event loop: .*asyncio\.run\(\)"):
        coroutine.send(None)
    coroutine.close()


def test_calls_outside_of_a_loop(cometd_server: Server) -> None:
    drive(Client(cometd_server.url).open())
    with pytest.raises(RuntimeError, match="there is no running event loop"):
        Client(cometd_server.url).events()


def test_use_from_another_loop(cometd_server: Server) -> None:
    client = Client(cometd_server.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.open())

    async def use() -> None:
        for call in (client.receive(), client.publish("/a", 1), client.subscribe("/a"), client.close()):
            with pytest.raises(RuntimeError, match="belongs to another event loop: use it in the loop"):
                await call

    asyncio.run(use())
    for coroutine in (client.receive(), client.publish("/a", 1), client.close()):
        drive(coroutine)
    failures: list[BaseException] = []

    def other_thread() -> None:
        try:
            asyncio.run(use())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert not failures
    loop.run_until_complete(client.close())
    loop.close()

    async def reopen() -> None:
        async with client:
            await client.publish("/a", 1)

    asyncio.run(reopen())


async def test_an_extension_that_is_not_async(cometd_server: Server) -> None:
    class NotAsync(Extension):
        def outgoing(self, payload: Any, headers: Any) -> None:  # type: ignore[override]
            pass

        async def incoming(self, payload: Any, headers: Any = None) -> None:
            pass

    with pytest.raises(TypeError, match=r"NotAsync\.outgoing returned NoneType.*`async def outgoing`"):
        await Client(cometd_server.url, extensions=[NotAsync()]).open()


async def test_a_callback_that_raises_is_logged(cometd_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    names: list[str] = []

    def callback(event: Any) -> None:
        names.append(event.name)
        raise LookupError("from the callback")

    async with Client(cometd_server.url, on_event=callback) as client:
        await client.publish("/a", 1)
    assert "connected" in names
    assert "the callback on_event raised" in caplog.text and "from the callback" in caplog.text


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"connection_types": []}, ValueError, "name at least one"),
        ({"connection_types": "carrier-pigeon"}, ValueError, "ConnectionType.WEBSOCKET"),
        ({"connection_types": 5}, TypeError, "a ConnectionType or a list"),
        ({"connection_timeout": -1}, ValueError, "connection_timeout must not be negative"),
        ({"connection_timeout": "10"}, TypeError, "connection_timeout must be a number of seconds"),
        ({"request_timeout": None}, TypeError, "request_timeout must be a number of seconds"),
        ({"max_pending_count": 1.5}, TypeError, "max_pending_count must be an int"),
        ({"overflow": "explode"}, ValueError, "use one of 'drop_oldest'"),
        ({"ssl": False, "tls": TlsOptions()}, ValueError, "ssl and tls cannot be combined"),
        ({"headers": {"A": 1}}, TypeError, "headers has names and values of type str"),
        ({"handshake_ext": {"a": object()}}, TypeError, "is of type object"),
    ],
)
def test_wrong_options(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        Client("http://localhost/cometd", **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ssl": 5}, "ssl must be None, False"),
        ({"delivery": "perhaps"}, "at_most_once"),
        ({"offline": "sulk"}, "wait"),
        ({"proxy": "ftp://x"}, "proxy"),
        ({"headers": {"a b": "c"}}, "header"),
        ({"cookies": {"a": "b;c"}}, "cookie"),
        ({"retry": Retry(min_delay=5, max_delay=1)}, "min_delay"),
        ({"tls": TlsOptions(pins=(b"short",))}, "32 bytes"),
        ({"tls": TlsOptions(ca=b"none")}, "certificate"),
        ({"fallback_urls": ["nonsense"]}, "URL"),
    ],
)
async def test_options_that_are_wrong_when_the_client_is_opened(options: dict[str, Any], text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        await Client("http://localhost/cometd", **options).open()


async def test_connection_types_as_text(cometd_server: Server) -> None:
    async with Client(cometd_server.url, "long-polling") as client:  # type: ignore[arg-type]
        assert client.connection_type is ConnectionType.LONG_POLLING
