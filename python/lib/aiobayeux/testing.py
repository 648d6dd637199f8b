"""Servers and networks for tests of programs that use CometD.

================== ==============================================================================================
:class:`Server`    a real server in the process, which can be cut off, restarted, or made to forget its sessions
:class:`Peer`      a scripted server, which sends exactly what a test specifies, valid or not
:class:`FaultProxy` a network between a client and any server, which fails on demand
================== ==============================================================================================

Each listens on a free port of the loopback interface, and is a context manager. With pytest, the fixtures
``cometd_server``, ``cometd_peer`` and ``cometd_proxy`` make them; no import is needed.

::

    async def test_chat(cometd_server):
        async with Client(cometd_server.url) as client:
            await client.subscribe("/chat/demo")
            cometd_server.publish("/chat/demo", "hello")
            assert (await client.receive())["data"] == "hello"
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Optional, TypeVar, Union
from urllib.parse import urlsplit, urlunsplit

from aiobayeux import _native, _options
from aiobayeux.typing import JsonObject, Seconds

__all__ = ["Answer", "FaultProxy", "Peer", "Request", "Server"]

_T = TypeVar("_T", bound="_Closing")
_N = TypeVar("_N", _native.NativeServer, _native.NativeProxy)


class _Closing:
    def close(self) -> None:
        """Ends it."""

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        self.close()


class _Network(_Closing, Generic[_N]):
    """A network that can be made to fail."""

    _native: _N

    @property
    def address(self) -> tuple[str, int]:
        """The host and port for clients."""
        return self._native.address

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return self._native.open_connections

    @property
    def accepted_connections(self) -> int:
        """The number of connections that were accepted since the start."""
        return self._native.accepted_connections

    def cut(self) -> None:
        """Cuts all connections. New ones are accepted."""
        self._native.cut()

    def stall(self) -> None:
        """Makes the network half-open: connections stay open, and bytes are discarded in both directions."""
        self._native.stall()

    def delay(self, by: Seconds) -> None:
        """Delays all bytes by this time, in each direction."""
        self._native.delay(_options.seconds(by, "by") or 0.0)

    def refuse(self) -> None:
        """Refuses new connections. Open ones are not affected."""
        self._native.refuse()

    def forward(self) -> None:
        """Ends all faults."""
        self._native.forward()

    def close(self) -> None:
        """Ends it, with all connections."""
        self._native.close()


class Server(_Network[_native.NativeServer]):
    """A CometD server. Its service ``/service/echo`` answers with the data of the request.

    :param timeout: How long it holds a connect. Default: 30 s.
    :param interval: How long clients wait between connects. Default: 0.
    :param max_interval: How long it keeps a session that does not connect. Default: 10 s.
    :param acknowledgements: Whether it has the acknowledge extension.
    :param connection_types: The names of the connection types that it has. Default: all.
    :param max_message_size: The largest request or frame, in bytes.
    :param services: Functions by the names of service channels. They get the data of a request and return that of the
        answer, or None for no answer. They run in a thread of their own.
    :param tls: Whether it has TLS, with a certificate of the authority :attr:`ca`.
    :param client_ca: The PEM certificate of the authority whose client certificates it requires.
    """

    def __init__(
        self,
        *,
        timeout: Optional[Seconds] = None,
        interval: Optional[Seconds] = None,
        max_interval: Optional[Seconds] = None,
        acknowledgements: bool = True,
        connection_types: Optional[Iterable[str]] = None,
        max_message_size: Optional[int] = None,
        services: Optional[Mapping[str, Callable[[Any], Any]]] = None,
        tls: bool = False,
        client_ca: Optional[str] = None,
    ) -> None:
        names = None if connection_types is None else [getattr(item, "value", item) for item in connection_types]
        self._native = _native.NativeServer(
            timeout=_options.seconds(timeout, "timeout", optional=True),
            interval=_options.seconds(interval, "interval", optional=True),
            max_interval=_options.seconds(max_interval, "max_interval", optional=True),
            acknowledgements=acknowledgements,
            connection_types=names,
            max_message_size=max_message_size,
            services=list((services or {}).items()),
            tls=tls,
            client_authority=client_ca,
        )

    @property
    def url(self) -> str:
        """The URL for clients. A restart does not change it."""
        return self._native.url

    @property
    def ca(self) -> Optional[str]:
        """The PEM certificate of the authority that issued the server's, if it has TLS."""
        return self._native.ca

    def publish(self, channel: str, data: Any) -> None:
        """Publishes to all subscribers of a channel."""
        self._native.publish(channel, json.dumps(data))

    def sessions(self) -> list[str]:
        """The ids of the sessions, in the order in which they began."""
        return self._native.sessions()

    def dismiss_sessions(self) -> None:
        """Ends all sessions; their clients get ``/meta/disconnect``."""
        self._native.dismiss_sessions()

    def stop(self) -> None:
        """Stops the server as a crash does."""
        self._native.stop()

    def restart(self) -> None:
        """Stops the server as a crash does, if it runs, and starts it on the same port, without sessions."""
        self._native.restart()


class FaultProxy(_Network[_native.NativeProxy]):
    """A network between clients and the server at ``url``.

    :param url: The URL of the server.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._native = _native.NativeProxy(*_host_and_port(url))

    @property
    def url(self) -> str:
        """The URL for clients."""
        host, port = self.address
        return urlunsplit(self._parts._replace(netloc=f"{host}:{port}"))

    def lead_to(self, url: str) -> None:
        """Forwards to another server from now on."""
        self._native.lead_to(*_host_and_port(url))


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url!r} is not the URL of a server")
    return parts.hostname, parts.port or (443 if parts.scheme in ("https", "wss") else 80)


@dataclass(frozen=True)
class Request:
    """A request, upgrade or frame that a :class:`Peer` received."""

    #: ``"post"``, ``"upgrade"``, ``"frame"`` or ``"other"``.
    kind: str
    #: The channel of the first message; ``"upgrade"`` for an upgrade.
    name: str
    #: The path and query of the URL.
    path: str
    #: The headers, with lowercase names.
    headers: dict[str, str]
    #: The body or payload.
    body: bytes
    #: The messages in it.
    messages: list[JsonObject]
    #: The number of the connection; the first is 0.
    connection: int
    #: The number of earlier requests with the same name.
    nth: int
    #: The replies of a correct server to the messages.
    replies: list[JsonObject]

    def decently(self) -> Answer:
        """The answer of a correct server without other clients: it grants everything and holds connects."""
        return Answer("decently")

    def refusal(self, error: str) -> Answer:
        """Refuses all messages."""
        return Answer.messages([{**reply, "successful": False, "error": error} for reply in self.replies])


class Answer:
    """How a :class:`Peer` answers a request."""

    def __init__(self, *part: Any, before: tuple[Any, ...] = ()) -> None:
        self._parts = (*before, part)

    def _with(self, *part: Any) -> Answer:
        return Answer(*part, before=self._parts)

    @classmethod
    def messages(cls, messages: Iterable[JsonObject]) -> Answer:
        """These messages."""
        return cls("messages", json.dumps(list(messages)))

    @classmethod
    def hold(cls, messages: Iterable[JsonObject]) -> Answer:
        """These messages, at the next :meth:`Peer.push` or disconnect."""
        return cls("hold", json.dumps(list(messages)))

    @classmethod
    def status(cls, status: int) -> Answer:
        """An empty response with this HTTP status. It refuses an upgrade."""
        return cls("status", status)

    @classmethod
    def body(cls, body: Union[str, bytes]) -> Answer:
        """This text, unchanged."""
        return cls("body", body.encode() if isinstance(body, str) else body)

    @classmethod
    def page(cls, status: int, html: str) -> Answer:
        """This page with this HTTP status."""
        return cls("page", status, html)

    @classmethod
    def raw(cls, data: bytes) -> Answer:
        """These bytes, without HTTP or a frame."""
        return cls("raw", data)

    @classmethod
    def cut_after(cls, body: bytes, sent: int) -> Answer:
        """The first ``sent`` bytes of a body, then the connection is cut."""
        return cls("cut_after", body, sent)

    @classmethod
    def stall_after(cls, body: bytes, sent: int) -> Answer:
        """The first ``sent`` bytes of a body, then nothing more."""
        return cls("stall_after", body, sent)

    @classmethod
    def drip(cls, body: bytes, piece: int, every: float) -> Answer:
        """A body in pieces, with a pause in seconds before each."""
        return cls("drip", body, piece, every)

    @classmethod
    def silence(cls) -> Answer:
        """Nothing; the connection stays open."""
        return cls("silence")

    @classmethod
    def cut(cls) -> Answer:
        """Nothing; the connection is cut."""
        return cls("cut")

    @classmethod
    def accept(cls) -> Answer:
        """Accepts an upgrade."""
        return cls("accept")

    @classmethod
    def accept_and_swallow(cls) -> Answer:
        """Accepts an upgrade, but discards all frames and sends none."""
        return cls("accept_and_swallow")

    @classmethod
    def close(cls, code: int, reason: str) -> Answer:
        """A close frame, and the end of the connection."""
        return cls("close", code, reason)

    def header(self, name: str, value: str) -> Answer:
        """The same answer with this header."""
        return self._with("header", name, value)

    def after(self, pause: Union[float, timedelta]) -> Answer:
        """The same answer after this delay."""
        return self._with("after", _options.seconds(pause, "pause"))

    def then_cut(self) -> Answer:
        """The same answer; the connection is cut after it."""
        return self._with("then_cut")


class Peer(_Closing):
    """A server that follows a script, and records all requests.

    :param script: A function that returns the :class:`Answer` to each :class:`Request`. It is called in other threads. What
        it raises is shown, and cuts the connection. Default: the answers of a correct server.
    """

    def __init__(self, script: Optional[Callable[[Request], Answer]] = None) -> None:
        #: The script, which can be replaced.
        self.script = script
        self._native = _native.NativePeer(self._follow)

    def _follow(self, request: dict[str, Any]) -> tuple[Any, ...]:
        if self.script is None:
            return (("decently",),)
        answer = self.script(_request(request))
        if not isinstance(answer, Answer):
            raise TypeError(f"the script must return an Answer, not {type(answer).__name__}")
        return answer._parts

    @property
    def url(self) -> str:
        """The URL for clients."""
        return self._native.url

    @property
    def address(self) -> tuple[str, int]:
        """The host and port for clients."""
        return self._native.address

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return self._native.open_connections

    def requests(self) -> list[Request]:
        """All requests that were received so far, in order."""
        return [_request(request) for request in self._native.requests()]

    def received(self, channel: str) -> list[JsonObject]:
        """All messages that were received so far on a channel."""
        return [
            message for request in self.requests() for message in request.messages if message.get("channel") == channel
        ]

    def push(self, messages: Iterable[JsonObject]) -> None:
        """Sends messages to all clients: as a frame on each WebSocket, and before the reply to each held connect."""
        self._native.push(json.dumps(list(messages)))

    def push_text(self, text: Union[str, bytes]) -> None:
        """Sends a text frame on all WebSockets."""
        self._native.push_text(text.encode() if isinstance(text, str) else text)

    def cut(self) -> None:
        """Cuts all connections."""
        self._native.cut()

    def close(self) -> None:
        """Ends it, with all connections."""
        self._native.close()


def _request(fields: dict[str, Any]) -> Request:
    return Request(**{**fields, "headers": dict(fields["headers"])})
