"""The client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import reprlib
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, AsyncIterator, List, Optional, Set, TypeVar, Union

from aiobayeux import _logging, _native, _options
from aiobayeux._errors import closed, exception, refusal
from aiobayeux._extending import Extending
from aiobayeux._json import encode
from aiobayeux._loop import Inbox, LoopPort
from aiobayeux._options import Retry
from aiobayeux.constants import SERVICE_CHANNEL_PREFIX, ConnectionType, State
from aiobayeux.events import Event
from aiobayeux.exceptions import AiocometdException, ClientInvalidOperation, ServerError
from aiobayeux.extensions import AuthExtension, Extension
from aiobayeux.streams import Batch, Callback, Events, Stream
from aiobayeux.tls import TlsOptions, from_ssl
from aiobayeux.typing import (
    ConnectionTypeSpec,
    JsonDumper,
    JsonLoader,
    JsonObject,
    Seconds,
    SSLValidationMode,
)

__all__ = ["Client"]

LOGGER = logging.getLogger("aiobayeux")
#: The capacity of the inbox if no overflow policy is given.
_INBOX = 65_536
_MOST = 2**62
#: What services send without having been asked in a request. Nothing of this subscription is sent to the server.
_SERVICES = "/service/**"
_Self = TypeVar("_Self", bound="Client")


class Client:
    """A client of a CometD server.

    ::

        async with Client("https://example.com/cometd") as client:
            await client.subscribe("/chat/demo")
            await client.publish("/chat/demo", {"user": "ann", "chat": "hi"})
            async for message in client:
                print(message["channel"], message["data"])

    The client restores lost connections after delays that grow, gets a new session if the server has removed the old one,
    and restores the subscriptions. It belongs to the event loop in which it is opened. All times are seconds or
    ``timedelta``. Every method that is awaited can be cancelled; :meth:`receive` loses nothing then.

    :param url: The URL of the server: ``http``, ``https``, ``ws`` or ``wss``.
    :param connection_types: The connection types to use, the preferred one first. If one is refused or does not answer, the
        client uses the next. Default: WebSocket, then long-polling.
    :param connection_timeout: How long the connection may stay lost until :meth:`receive` raises. The client goes on
        restoring it. None or 0: without limit.
    :param ssl: None: the certificates that the operating system trusts. False: all certificates. An ``ssl.SSLContext``:
        its authorities. An ``aiohttp.Fingerprint``: that certificate.
    :param max_pending_count: How many messages may wait for :meth:`receive`, see ``overflow``. 0 or less: any number.
    :param extensions: Code that sees all payloads.
    :param auth: The extension that renews credentials.
    :param json_dumps: Encodes payloads.
    :param json_loads: Decodes received messages. The default is a decoder in Rust with the results of ``json.loads``.
    :param loop: Has no effect.
    :param overflow: What happens if ``max_pending_count`` messages wait: ``"pause"`` (the server keeps the others; needs
        the acknowledge extension, without which new messages are dropped), ``"drop_oldest"``, ``"drop_newest"`` or ``"close"``.
        Default: ``"pause"`` at 65,536 messages, or at ``max_pending_count`` if that is more. Dropped messages are counted
        by the event ``slow_consumer``.
    :param acknowledge: Whether to offer the acknowledge extension, with which no message is lost or doubled when a
        connection is lost.
    :param retry: The delays between attempts to connect, and when to give up.
    :param tls: Certificates, see :class:`TlsOptions`; cannot be combined with ``ssl``.
    :param proxy: The URL of a proxy, ``"system"`` for the one of the environment variables (the default), or ``"none"``.
    :param headers: Headers of all requests, the WebSocket upgrade included.
    :param cookies: Cookies of all requests.
    :param fallback_urls: More URLs of the same cluster.
    :param long_polling_url: The URL for long-polling, if it is another one.
    :param websocket_url: The URL for WebSocket, if it is another one.
    :param message_type_in_url: Whether a request with one meta message adds its type to the URL.
    :param connect_timeout: How long making a connection may take.
    :param request_timeout: How long a reply may take, in addition to the time for which the server holds a connect.
    :param open_timeout: How long :meth:`open` may take. None: without limit.
    :param retry_open: Whether :meth:`open` tries again if no connection can be made.
    :param close_timeout: How long :meth:`close` may take.
    :param call_timeout: How long a call may wait for the connection before it is sent.
    :param auth_timeout: How long :meth:`AuthExtension.authenticate` may take.
    :param ping_interval: How long a WebSocket may be idle before a ping. None: no pings.
    :param delivery: What happens to a publish that was sent and not confirmed when the connection was lost:
        ``"at_most_once"``: it fails. ``"at_least_once"``: it is sent again.
    :param offline: What happens to a call while there is no connection: ``"wait"`` or ``"refuse"``.
    :param max_message_size: The largest body or frame to receive, in bytes.
    :param max_send_size: The largest body or frame to send, in bytes.
    :param max_pending_calls: How many calls may wait for their reply.
    :param max_pending_bytes: How many bytes of payloads may wait for :meth:`receive`.
    :param max_advised_wait: The longest wait that the server can ask for.
    :param transport_cooldown: How long a connection type that was refused is not tried again.
    :param min_receive_rate: The lowest rate at which a body may arrive, in bytes per second.
    :param secure_cookies_over_http: Whether cookies marked as secure are sent without TLS.
    :param websocket_protocol: The subprotocol to request.
    :param handshake_fields: Fields to add to each handshake.
    :param handshake_ext: Keys to add to ``ext`` of each handshake.
    :param on_event: A function that is called with each :class:`Event`. What it raises is logged.
    :raise ValueError: If the URL or an option is invalid.
    :raise TypeError: If an option has the wrong type.
    """

    def __init__(
        self,
        url: str,
        connection_types: Optional[ConnectionTypeSpec] = None,
        *,
        connection_timeout: Optional[Seconds] = 10.0,
        ssl: Optional[SSLValidationMode] = None,
        max_pending_count: int = 100,
        extensions: Optional[List[Extension]] = None,
        auth: Optional[AuthExtension] = None,
        json_dumps: JsonDumper = json.dumps,
        json_loads: JsonLoader = json.loads,
        loop: Optional[asyncio.AbstractEventLoop] = None,
        overflow: Optional[str] = None,
        acknowledge: bool = True,
        retry: Optional[Retry] = None,
        tls: Optional[TlsOptions] = None,
        proxy: Optional[str] = None,
        headers: Union[Mapping[str, str], Iterable[tuple[str, str]], None] = None,
        cookies: Union[Mapping[str, str], Iterable[tuple[str, str]], None] = None,
        fallback_urls: Iterable[str] = (),
        long_polling_url: Optional[str] = None,
        websocket_url: Optional[str] = None,
        message_type_in_url: bool = True,
        connect_timeout: Seconds = 10.0,
        request_timeout: Seconds = 10.0,
        open_timeout: Optional[Seconds] = 30.0,
        retry_open: bool = False,
        close_timeout: Seconds = 5.0,
        call_timeout: Seconds = 10.0,
        auth_timeout: Seconds = 30.0,
        ping_interval: Optional[Seconds] = 20.0,
        delivery: str = "at_most_once",
        offline: str = "wait",
        max_message_size: int = 16 * 1024 * 1024,
        max_send_size: int = 1024 * 1024,
        max_pending_calls: int = 10_000,
        max_pending_bytes: int = 64 * 1024 * 1024,
        max_advised_wait: Seconds = 3600.0,
        transport_cooldown: Seconds = 300.0,
        min_receive_rate: int = 100,
        secure_cookies_over_http: bool = False,
        websocket_protocol: Optional[str] = None,
        handshake_fields: Optional[Mapping[str, Any]] = None,
        handshake_ext: Optional[Mapping[str, Any]] = None,
        on_event: Optional[Callable[[Event], object]] = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        if url:
            # A subclass may pass an empty one, and set it before it is opened.
            _native.check_url(url)
        self._native: Optional[_native.NativeClient] = None
        #: The URL of the server. A change takes effect at the next :meth:`open`, as for all attributes here.
        self.url = url
        self._connection_types = _options.connection_types(connection_types)
        self._loop = loop
        #: How long the connection may stay lost until :meth:`receive` raises.
        self.connection_timeout = connection_timeout
        #: Which certificates are trusted.
        self.ssl = ssl
        self._max_pending_count = max_pending_count
        #: Code that sees all payloads.
        self.extensions = extensions
        #: The extension that renews credentials.
        self.auth = auth
        self._json_dumps = json_dumps
        self._json_loads = json_loads
        if isinstance(max_pending_count, bool) or not isinstance(max_pending_count, int):
            raise TypeError(f"max_pending_count must be an int, not {type(max_pending_count).__name__}")
        self._overflow = None if overflow is None else _options.overflow(overflow)
        self._tls = tls
        self._on_event = on_event
        if ssl is not None and tls is not None:
            raise ValueError("ssl and tls cannot be combined: move what ssl says into TlsOptions")
        _options.seconds(connection_timeout, "connection_timeout", optional=True)
        options: dict[str, Any] = {
            "acknowledge": bool(acknowledge),
            "fallback_urls": list(fallback_urls),
            "message_type_in_url": bool(message_type_in_url),
            "connect_timeout": _options.seconds(connect_timeout, "connect_timeout"),
            "request_timeout": _options.seconds(request_timeout, "request_timeout"),
            "open_timeout": _options.seconds(open_timeout, "open_timeout", optional=True),
            "retry_open": bool(retry_open),
            "close_timeout": _options.seconds(close_timeout, "close_timeout"),
            "call_timeout": _options.seconds(call_timeout, "call_timeout"),
            "auth_timeout": _options.seconds(auth_timeout, "auth_timeout"),
            "ping_interval": _options.seconds(ping_interval, "ping_interval", optional=True),
            "delivery": delivery,
            "offline": offline,
            "max_message_size": max_message_size,
            "max_send_size": max_send_size,
            "max_pending_calls": max_pending_calls,
            "inbox_bytes": max_pending_bytes,
            "max_advised_wait": _options.seconds(max_advised_wait, "max_advised_wait"),
            "transport_cooldown": _options.seconds(transport_cooldown, "transport_cooldown"),
            "min_receive_rate": min_receive_rate,
            "secure_cookies_over_http": bool(secure_cookies_over_http),
        }
        if retry is not None:
            options["retry"] = retry.native()
        for name, value in (
            ("proxy", proxy),
            ("long_polling_url", long_polling_url),
            ("websocket_url", websocket_url),
            ("websocket_protocol", websocket_protocol),
        ):
            if value is not None:
                options[name] = value
        if headers is not None:
            options["headers"] = _options.pairs(headers, "headers")
        if cookies is not None:
            options["cookies"] = _options.pairs(cookies, "cookies")
        for name, fields in (("handshake_fields", handshake_fields), ("handshake_ext", handshake_ext)):
            if fields:
                options[name] = [(key, encode(value, json.dumps)) for key, value in fields.items()]
        self._fixed_options = options
        # The rest is made when the client is opened.
        self._port: Optional[LoopPort] = None
        self._inbox: Optional[Inbox] = None
        self._settings: Optional[tuple[Any, ...]] = None
        #: Whether a call has raised that the server closed the session.
        self._end_is_known = True
        self._services_are_wanted = False
        self._streams_take_services = False
        self._extending = Extending(self)
        self._events: weakref.WeakSet[Events] = weakref.WeakSet()
        self._callback: Optional[Callback] = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({reprlib.repr(self.url)}, {reprlib.repr(self._connection_types)}, "
            f"connection_timeout={reprlib.repr(self.connection_timeout)}, ssl={reprlib.repr(self.ssl)}, "
            f"max_pending_count={reprlib.repr(self._max_pending_count)}, extensions={reprlib.repr(self.extensions)}, "
            f"auth={reprlib.repr(self.auth)}, loop={reprlib.repr(self._loop)})"
        )

    def __del__(self, _warn: Any = warnings.warn) -> None:
        native = getattr(self, "_native", None)
        if native is not None and not native.is_closed:
            _warn(f"unclosed client {self!r}", ResourceWarning, source=self)

    # What can be observed.

    @property
    def closed(self) -> bool:
        """Whether the client is closed, or was never opened. A client whose event loop was closed is closed too."""
        if self._native is None or self._native.is_closed:
            return True
        return self._port is not None and not self._port.is_usable()

    @property
    def state(self) -> State:
        """The state of the client."""
        return State.DISCONNECTED if self._native is None else State(self._native.state)

    @property
    def subscriptions(self) -> Set[str]:
        """The channels that the server granted, those of streams included."""
        if self._native is None:
            return set()
        channels = set(self._native.subscriptions())
        return channels if self._services_are_wanted else channels - {_SERVICES}

    @property
    def connection_type(self) -> Optional[ConnectionType]:
        """The connection type in use; None before the first :meth:`open`."""
        transport = None if self._native is None else self._native.transport
        return None if transport is None else ConnectionType(transport)

    @property
    def pending_count(self) -> int:
        """How many messages wait for :meth:`receive`."""
        if self._native is None or self._inbox is None:
            return 0
        return len(self._inbox.items) + self._native.pending_count()

    @property
    def has_pending_messages(self) -> bool:
        """Whether messages wait for :meth:`receive`."""
        return self.pending_count > 0

    @property
    def close_reason(self) -> Optional[str]:
        """Why the client is closed, as text; None while it is open."""
        return "the client is not open" if self._native is None else self._native.close_reason

    @property
    def last_activity(self) -> Optional[float]:
        """The seconds since the last byte from the server; None before the first."""
        return None if self._native is None else self._native.last_activity

    @property
    def handshake_reply(self) -> Optional[JsonObject]:
        """The server's last reply to a handshake."""
        reply = None if self._native is None else self._native.handshake_reply()
        return None if reply is None else self._decoded(reply)

    def events(self) -> Events:
        """Returns all changes of the connection and the session from now on, as an asynchronous iterator. Can be called before
        the client is opened, in its event loop.
        """
        events = Events(self)
        native, port = self._prepare()
        events._attach(native, port)
        self._events.add(events)
        return events

    # The session.

    async def open(self) -> None:
        """Opens a session, and restores the subscriptions of a closed client. If this is cancelled, the client is closed.

        :raise ClientInvalidOperation: If the client is open.
        :raise ClientError: If client and server have no connection type in common.
        :raise TransportError: If no connection can be made.
        :raise TransportTimeoutError: If ``open_timeout`` has passed.
        :raise ServerError: If the server refuses the handshake or the first connect.
        """
        await self._start(lambda native: (native.open, self._fixed_options["retry_open"]))

    async def resume(self, snapshot: str) -> None:
        """Opens the client with the session of a snapshot. If the server has removed it, the client gets a new one, and the
        events ``rehandshaken`` and ``gap_possible`` are emitted.

        :param snapshot: What :meth:`suspend` or :meth:`snapshot` returned.
        :raise ValueError: If it is not a snapshot, or one of another server.
        """
        await self._start(lambda native: (native.resume, snapshot))

    async def _start(self, how: Callable[[_native.NativeClient], tuple[Any, ...]]) -> None:
        if not self.closed:
            raise ClientInvalidOperation("Client is already open.")
        _logging.update_level()
        subscriptions = self.subscriptions
        before = self._native
        native, _ = self._prepare(renew=True)
        LOGGER.info("Opening client with connection types %r ...", [item.value for item in self._connection_types])
        self._end_is_known = False
        await self._call("open", *how(native))
        # As in aiocometd, what services send goes to `receive`; that is not so any more once a stream takes it.
        if not self._streams_take_services:
            with contextlib.suppress(AiocometdException):
                # It can only fail if the server has ended the session meanwhile, which the next call raises.
                await self._call("subscribe", native.subscribe, _SERVICES)
        if native is not before:
            # A new native client, because an attribute was changed, does not know them.
            for channel in subscriptions:
                await self._call("subscribe", native.subscribe, channel)
        LOGGER.info("Client opened with connection_type %r", native.transport)

    async def close(self) -> None:
        """Sends the publishes that wait, ends the session and closes the connection. Messages that were received can still be
        taken. Has no effect on a closed client. If this is cancelled, the client is closed all the same.
        """
        native = self._native
        if native is None or native.is_closed:
            return
        if not (self._port is not None and self._port.is_running()):
            raise self._other_loop()
        pending = self.pending_count
        if pending:
            LOGGER.warning("Closing client while %s messages are still pending...", pending)
        else:
            LOGGER.info("Closing client...")
        await self._call("close", native.close)
        LOGGER.info("Client closed.")

    async def suspend(self) -> str:
        """Leaves the session without ending it, closes the client, and returns a snapshot for :meth:`resume` in this or another
        process. The server keeps the session for a while (CometD's ``maxInterval``). Store the snapshot like a password.

        :raise ClientInvalidOperation: If there is no session.
        """
        native, _ = self._opened("suspend")
        text: str = await self._call("suspend", native.snapshot, True)
        return text

    async def snapshot(self) -> str:
        """Returns a snapshot of the session, which continues.

        :raise ClientInvalidOperation: If there is no session.
        """
        native, _ = self._opened("snapshot")
        text: str = await self._call("snapshot", native.snapshot, False)
        return text

    async def reconnect_now(self) -> None:
        """Makes a new connection at once, for programs that learn of a network change before any timeout passes."""
        if self._native is not None and not self._native.is_closed:
            await self._call("reconnect", self._native.reconnect_now)

    # Subscriptions and messages.

    async def subscribe(self, channel: str) -> None:
        """Subscribes to a channel or a pattern (``/chat/*``, ``/chat/**``). If this is cancelled, the subscription may exist or
        not; :meth:`unsubscribe` removes it.

        :raise ClientInvalidOperation: If the client is closed.
        :raise ServerError: If the server refuses.
        :raise TransportError: If the connection is lost or no reply arrives in time.
        :raise ValueError: If the channel is invalid.
        """
        native, _ = self._opened("subscribe")
        _native.check_channel(channel)
        await self._authorized(lambda: self._call("subscribe", native.subscribe, channel))
        if channel == _SERVICES:
            self._services_are_wanted = True

    async def unsubscribe(self, channel: str) -> None:
        """Removes a subscription. Has no effect if there is none.

        :raise ClientInvalidOperation: If the client is closed.
        :raise ServerError: If the server refuses. The subscription is removed in any case.
        :raise TransportError: If the connection is lost or no reply arrives in time.
        """
        native, _ = self._opened("unsubscribe")
        _native.check_channel(channel)
        if channel in self.subscriptions:
            if channel == _SERVICES:
                self._services_are_wanted = False
            await self._authorized(lambda: self._call("unsubscribe", native.unsubscribe, channel))

    async def publish(self, channel: str, data: Any) -> JsonObject:
        """Publishes data to a channel, and returns the server's reply. If this is cancelled before the message is sent, it is not
        sent.

        :raise ClientInvalidOperation: If the client is closed.
        :raise ServerError: If the server refuses.
        :raise TransportError: If the connection is lost or no reply arrives in time. ``is_fate_unknown`` tells whether the
            server may have received the message.
        :raise TypeError: If the data is not JSON; the text has the path to the value.
        """
        native, _ = self._opened("publish")
        _native.check_channel(channel)
        text = encode(data, self._json_dumps)
        response = await self._authorized(lambda: self._call("publish", native.publish, channel, text))
        return self._decoded(response)  # type: ignore[no-any-return]

    async def publish_and_forget(self, channel: str, data: Any) -> None:
        """Publishes without waiting for the server's reply. If it fails later, the event ``publish_failed`` is emitted.

        :raise ClientError: If ``max_pending_calls`` messages wait already.
        """
        native, _ = self._opened("publish")
        _native.check_channel(channel)
        await self._call("publish", native.publish_and_forget, channel, encode(data, self._json_dumps))

    async def publish_binary(self, channel: str, data: bytes) -> JsonObject:
        """Publishes bytes as CometD's binary extension does, and returns the server's reply."""
        native, _ = self._opened("publish")
        _native.check_channel(channel)
        response = await self._call("publish", native.publish_binary, channel, bytes(data))
        return self._decoded(response)  # type: ignore[no-any-return]

    async def request(self, channel: str, data: Any) -> Any:
        """Sends data to a service channel and returns the answer of the service: the data of the message with the same id.

        :raise ValueError: If the channel is not a service channel.
        :raise ServerError: If the server refuses.
        :raise TransportError: If the connection is lost or no answer arrives in time.
        """
        native, _ = self._opened("publish")
        _native.check_channel(channel)
        text = encode(data, self._json_dumps)
        answer = await self._authorized(lambda: self._call("publish", native.request, channel, text))
        return self._decoded(answer)

    def batch(self) -> Batch:
        """Returns a :class:`Batch`: messages that are sent in one request or frame."""
        return Batch(self)

    def stream(
        self,
        channel: str,
        *,
        max_pending_count: Optional[int] = None,
        overflow: Optional[str] = None,
        max_pending_bytes: Optional[int] = None,
    ) -> Stream:
        """Returns a :class:`Stream` of the payloads of a channel or pattern, with a queue of its own. Its messages do not go to
        :meth:`receive`.

        :param max_pending_count: The capacity of the queue in messages. Default: 16,384.
        :param overflow: What happens if it is full, as for the client. Default: ``"drop_oldest"``.
        :param max_pending_bytes: The capacity in bytes of payloads. Default: 64 MiB.
        """
        return self._stream(channel, False, max_pending_count, overflow, max_pending_bytes)

    def messages(
        self,
        channel: str,
        *,
        max_pending_count: Optional[int] = None,
        overflow: Optional[str] = None,
        max_pending_bytes: Optional[int] = None,
    ) -> Stream:
        """As :meth:`stream`, with the whole messages as items."""
        return self._stream(channel, True, max_pending_count, overflow, max_pending_bytes)

    async def _leave_services_to_streams(self, channel: str) -> None:
        """Called for the channel of each stream that is opened."""
        takes = channel == "/**" or f"{channel}/".startswith(SERVICE_CHANNEL_PREFIX)
        if takes and not self._streams_take_services:
            self._streams_take_services = True
            native = self._native
            if native is not None and not self._services_are_wanted:
                await self._call("unsubscribe", native.unsubscribe, _SERVICES)

    def _stream(
        self, channel: str, whole: bool, count: Optional[int], overflow: Optional[str], size: Optional[int]
    ) -> Stream:
        _native.check_channel(channel)
        queue = None
        if count is not None or overflow is not None:
            if count is not None and count < 1:
                count = _MOST
            queue = (16_384 if count is None else count, _options.overflow(overflow or "drop_oldest"))
        return Stream(self, channel, whole, {"queue": queue, "queue_bytes": size})

    async def receive(self) -> JsonObject:
        """Returns the next message, and waits for it. Nothing is lost if this is cancelled.

        :raise ClientInvalidOperation: If the client is closed, and all messages were taken.
        :raise TransportTimeoutError: If the connection stays lost for ``connection_timeout``. The client goes on restoring
            it, and this can be called again.
        :raise ServerError: If the server closed the session, if a subscription could not be restored (``channel`` names it;
            the client tries again), or if the message is a refusal.
        :raise InboxOverflow: If the inbox overflowed with the policy ``"close"``.
        """
        inbox, port = self._inbox, self._port
        if inbox is None or port is None:
            raise closed("receive")
        if not port.is_running():
            raise self._other_loop()
        item = inbox.items.popleft() if inbox.items else await inbox.next()
        if item.__class__ is not dict:
            if item is False:
                raise closed("receive")
            if item.__class__ is _native.Failure:
                raise self._exception(item, "receive")
            item = self._decoded(item)
        if not item.get("successful", True):
            raise refusal(item)
        return item  # type: ignore[no-any-return]

    async def __aiter__(self) -> AsyncIterator[JsonObject]:
        """The messages, until the client is closed. Errors of :meth:`receive` are raised, and the iteration can begin again."""
        while True:
            try:
                message = await self.receive()
            except ClientInvalidOperation:
                return
            yield message

    async def __anext__(self) -> JsonObject:
        try:
            return await self.receive()
        except ClientInvalidOperation:
            raise StopAsyncIteration from None

    async def __aenter__(self: _Self) -> _Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        await self.close()

    # The native client.

    def _prepare(self, *, renew: bool = False) -> tuple[_native.NativeClient, LoopPort]:
        """Returns the native client, which is made if there is none, or, if ``renew`` is set, if the attributes have changed."""
        port = self._port
        if port is not None and port.is_running():
            if self._native is not None and not (renew and self._settings != self._current_settings()):
                return self._native, port
        elif self._native is not None and not self._native.is_closed and (port is None or port.is_usable()):
            raise self._other_loop()
        port = LoopPort.running()
        settings = self._current_settings()
        token = port.token()
        native = _native.NativeClient(
            port.native,
            token,
            self.url,
            self._native_options(),
            raw=self._json_loads is not json.loads,
            extended=bool(self.extensions) or self.auth is not None,
            auth=self.auth is not None,
        )
        inbox = Inbox(native.take)
        if self._inbox is not None and self._native is not None and self._port is port:
            # Messages of the session before that nobody has taken yet.
            while True:
                item = self._inbox.poll()
                if item is None or item is False or item.__class__ is _native.Failure:
                    break
                inbox.items.append(item)
        ask, answers = self._extending.ask, port.native
        inbox.on_question = lambda number, question: ask(answers, number, question)
        port.listen(token, inbox)
        self._native, self._port, self._inbox, self._settings = native, port, inbox, settings
        for events in self._events:
            events._attach(native, port)
        if self._on_event is not None:
            self._callback = Callback(native, port, self._on_event)
        return native, port

    def _current_settings(self) -> tuple[Any, ...]:
        """The attributes that can change."""
        extensions = tuple(map(id, self.extensions or ()))
        return (self.url, self.connection_timeout, self.ssl, bool(extensions), self.auth is None)

    def _native_options(self) -> dict[str, Any]:
        options = dict(self._fixed_options)
        options["connection_types"] = [item.value for item in self._connection_types]
        options["connection_timeout"] = _options.seconds(self.connection_timeout, "connection_timeout", optional=True)
        count = self._max_pending_count if self._max_pending_count > 0 else _MOST
        if self._overflow is None:
            options["inbox"] = (max(count, _INBOX), "pause")
        else:
            options["inbox"] = (count, self._overflow)
        if self._max_pending_count <= 0:
            options["inbox_bytes"] = _MOST
        tls = self._tls.native() if self._tls is not None else from_ssl(self.ssl)
        if tls is not None:
            options["tls"] = tls
        return options

    def _opened(self, operation: str) -> tuple[_native.NativeClient, LoopPort]:
        """Returns the native client, if it is open."""
        native, port = self._native, self._port
        if native is None or port is None:
            raise closed(operation)
        if native.is_closed:
            failure = native.closed_by_server()
            if failure is not None and not self._end_is_known:
                raise self._exception(failure, operation)
            raise closed(operation)
        if not port.is_running():
            raise self._other_loop()
        return native, port

    def _other_loop(self) -> RuntimeError:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return RuntimeError("there is no running event loop: await this in a coroutine that asyncio.run() runs")
        return RuntimeError(
            "this client belongs to another event loop: use it in the loop in which it was opened, "
            "for instance with asyncio.run_coroutine_threadsafe(), or make a client for each loop"
        )

    async def _call(self, operation: str, start: Callable[..., None], *arguments: Any, **options: Any) -> Any:
        port = self._port
        assert port is not None
        outcome = await port.call(start, *arguments, **options)
        if outcome.__class__ is _native.Failure:
            raise self._exception(outcome, operation)
        return outcome

    async def _authorized(self, attempt: Callable[[], Any]) -> Any:
        """Tries once more after the server refused with 403, which the native client does not take for a matter of credentials."""
        try:
            return await attempt()
        except ServerError as error:
            if self.auth is None or error.error_code != 403 or self.closed:
                raise
        await self.auth.authenticate()
        return await attempt()

    def _decoded(self, item: Any) -> Any:
        if item.__class__ is str and self._json_loads is not json.loads:
            return self._json_loads(item)
        return item

    def _exception(self, failure: _native.Failure, operation: str) -> Exception:
        if failure.has_ended and operation != "open":
            self._end_is_known = True
        raised = self._extending.exception(failure)
        return exception(failure, operation, self._json_loads) if raised is None else raised
