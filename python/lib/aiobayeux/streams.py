"""Subscriptions with a queue of their own, and the events of a client, as asynchronous iterators."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generator, Optional, Union

from aiobayeux import _native
from aiobayeux._errors import closed
from aiobayeux._json import encode
from aiobayeux._loop import Inbox, LoopPort
from aiobayeux.events import Event
from aiobayeux.exceptions import ClientInvalidOperation
from aiobayeux.typing import JsonObject

if TYPE_CHECKING:
    from aiobayeux.client import Client

__all__ = ["Batch", "Events", "Stream"]

LOGGER = logging.getLogger("aiobayeux")


class Stream:
    """The messages of one channel or pattern, with a queue of their own, from :meth:`Client.stream` or
    :meth:`Client.messages`. ``async with`` subscribes and unsubscribes; ``async for`` returns the items.

    The iteration ends if the client is closed by the program. An error does not end it, except that of a queue that
    overflowed with ``"close"`` and of a session that the server closed.
    """

    def __init__(self, client: Client, channel: str, whole: bool, options: dict[str, Any]) -> None:
        self._client = client
        self._whole = whole
        self._options = options
        self._native: Optional[_native.NativeStream] = None
        self._inbox: Optional[Inbox] = None
        self._port: Optional[LoopPort] = None
        #: The channel or pattern.
        self.channel = channel

    async def open(self) -> None:
        """Subscribes. If this is cancelled, the client unsubscribes.

        :raise ClientInvalidOperation: If the client is closed, or the stream is open.
        :raise ServerError: If the server refuses.
        :raise TransportError: If the connection is lost or no reply arrives in time.
        """
        if self._native is not None:
            raise closed("open a stream twice")
        native, port = self._client._opened("subscribe")
        await self._client._leave_services_to_streams(self.channel)
        source = port.token()
        stream = await self._client._call(
            "subscribe", native.stream, self.channel, source=source, whole=self._whole, **self._options
        )
        self._native, self._port, self._inbox = stream, port, Inbox(stream.take)
        port.listen(source, self._inbox)

    async def close(self) -> None:
        """Unsubscribes. Items that were received can still be taken from :meth:`receive`."""
        if self._native is not None:
            self._native.close()
            if self._inbox is not None:
                self._inbox.ready()

    async def receive(self) -> Any:
        """Returns the next item, and waits for it. No item is lost if this is cancelled.

        :raise TransportTimeoutError: If the connection stays lost for ``connection_timeout``.
        :raise ServerError: If the server closed the session, or the subscription could not be restored.
        :raise InboxOverflow: If the queue overflowed with the policy ``"close"``.
        :raise ClientInvalidOperation: If the stream or the client is closed, and all items were taken.
        """
        if self._inbox is None or self._port is None:
            raise closed("receive from the stream")
        if not self._port.is_running():
            raise self._client._other_loop()
        item = await self._inbox.next()
        if item is False:
            raise closed("receive")
        if item.__class__ is _native.Failure:
            raise self._client._exception(item, "receive")
        return self._client._decoded(item)

    async def __aenter__(self) -> Stream:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        await self.close()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except ClientInvalidOperation:
            raise StopAsyncIteration from None

    def __repr__(self) -> str:
        return f"<Stream {self.channel!r}{'' if self._native else ' (not open)'}>"


class Events:
    """The events of a client from :meth:`Client.events` on, as an asynchronous iterator that ends never, because a closed
    client can be opened again: break the loop at the event ``closed``.

    At most 256 events wait. If a listener falls further behind, the oldest are dropped, and ``events_missed`` with their
    number precedes the next one.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sources: list[Inbox] = []

    def _attach(self, native: _native.NativeClient, port: LoopPort) -> None:
        token = port.token()
        events = native.events(token)

        def take(_: int) -> Any:
            event = events.take()
            return event if event is None or event is False else [event]

        inbox = Inbox(take)
        port.listen(token, inbox)
        if self._sources:
            # What waits for the previous client goes on with this one.
            self._sources[-1].ready()
        self._sources.append(inbox)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        while True:
            native, port = self._client._prepare()
            if not self._sources:
                self._attach(native, port)
            source = self._sources[0]
            item = source.poll()
            if item is None and len(self._sources) > 1:
                self._sources.pop(0)
                continue
            if item is None:
                await source.wait()
                item = source.poll()
            if item is False and len(self._sources) == 1:
                raise StopAsyncIteration
            if item is False:
                self._sources.pop(0)
            elif item is not None:
                return Event(*item)


class Callback:
    """Calls a function of the user with each event."""

    def __init__(self, native: _native.NativeClient, port: LoopPort, callback: Callable[[Event], object]) -> None:
        token = port.token()
        self._events = native.events(token)
        self._callback = callback
        port.listen(token, self)
        self.ready()

    def ready(self) -> None:
        """Calls it with the events that are there."""
        while True:
            event = self._events.take()
            if event is None or event is False:
                return
            try:
                self._callback(Event(*event))
            except Exception:
                LOGGER.exception("the callback on_event raised; the client continues")

    def question(self, number: int, question: tuple[str, bytes, dict[str, str]]) -> None:
        """There are none for a callback."""


class Batch:
    """Messages that are sent in one request or frame, from :meth:`Client.batch`.

    ::

        async with client.batch() as batch:
            batch.publish("/a", 1)
            batch.publish("/b", 2)
        for result in batch.results: ...

    or ``results = await client.batch().publish("/a", 1).publish("/b", 2)``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._operations: list[tuple[str, str, Optional[str]]] = []
        #: After it was sent: for each message the server's reply, or the exception with which it failed.
        self.results: list[Union[JsonObject, Exception]] = []

    def publish(self, channel: str, data: Any) -> Batch:
        """Adds a publish.

        :raise ValueError: If the channel is invalid.
        :raise TypeError: If the data is not JSON; the text has the path to the value.
        """
        _native.check_channel(channel)
        self._operations.append(("publish", channel, encode(data, self._client._json_dumps)))
        return self

    def subscribe(self, channel: str) -> Batch:
        """Adds a subscription, as :meth:`Client.subscribe` makes it."""
        _native.check_channel(channel)
        self._operations.append(("subscribe", channel, None))
        return self

    def unsubscribe(self, channel: str) -> Batch:
        """Adds an unsubscription."""
        _native.check_channel(channel)
        self._operations.append(("unsubscribe", channel, None))
        return self

    async def send(self) -> list[Union[JsonObject, Exception]]:
        """Sends the messages, and returns for each the server's reply or the exception with which it failed. Messages of a
        cancelled call that were not sent yet are not sent.

        :raise ClientInvalidOperation: If the client is closed.
        """
        operations, self._operations = self._operations, []
        native, _ = self._client._opened("publish")
        results = await self._client._call("publish", native.batch, operations)
        self.results = [
            self._client._exception(result, operation[0])
            if result.__class__ is _native.Failure
            else self._client._decoded(result)
            for operation, result in zip(operations, results, strict=True)
        ]
        return self.results

    def __await__(self) -> Generator[Any, None, list[Union[JsonObject, Exception]]]:
        return self.send().__await__()

    async def __aenter__(self) -> Batch:
        return self

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc_val: Optional[BaseException],
        exc_tb: Optional[TracebackType],
    ) -> None:
        if exc_type is None:
            await self.send()
