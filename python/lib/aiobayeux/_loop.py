"""The way of results from the native module to an event loop: one port for each loop, shared by all of its clients."""

from __future__ import annotations

import asyncio
import itertools
import threading
import weakref
from collections import deque
from typing import Any, Callable, Deque, Protocol

from aiobayeux import _logging, _native

#: How many messages are taken at once: enough to make the crossing cheap, few enough to begin with the first soon.
_BURST = 256


class Listener(Protocol):
    """What a port notifies."""

    def ready(self) -> None:
        """Something can be taken."""

    def question(self, number: int, question: tuple[str, bytes, dict[str, str]]) -> None:
        """The extensions are asked."""


class LoopPort:
    """The port of one event loop."""

    _ports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopPort] = weakref.WeakKeyDictionary()
    _lock = threading.Lock()

    @classmethod
    def running(cls) -> LoopPort:
        """Returns the port of the running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "there is no running event loop: await this in a coroutine that asyncio.run() runs"
            ) from None
        with cls._lock:
            port = cls._ports.get(loop)
            if port is None or not port.native.is_ours():
                port = cls._ports[loop] = cls(loop)
        return port

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # A strong reference would keep the loop, and with it this port, for ever.
        self._loop = weakref.ref(loop)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._listeners: weakref.WeakValueDictionary[int, Listener] = weakref.WeakValueDictionary()
        self._tokens = itertools.count(1)
        itself = weakref.ref(self)

        def drain() -> None:
            port = itself()
            if port is not None:
                port._drain()

        self.native = _native.Port()
        watched = self.native.fileno()
        try:
            if watched is None:
                raise NotImplementedError
            loop.add_reader(watched, drain)
        except NotImplementedError:
            # Loops that watch no sockets, such as the default one of Windows.
            reference = self._loop

            def notify() -> None:
                loop = reference()
                if loop is not None:
                    loop.call_soon_threadsafe(drain)

            self.native = _native.Port(notify)

    def is_running(self) -> bool:
        """Whether the loop of this port is the running one."""
        try:
            return asyncio.get_running_loop() is self._loop()
        except RuntimeError:
            return False

    def is_usable(self) -> bool:
        """Whether the loop can still deliver."""
        loop = self._loop()
        return loop is not None and not loop.is_closed() and self.native.is_ours()

    def token(self) -> int:
        """Returns a number that is not in use."""
        return next(self._tokens)

    def listen(self, token: int, listener: Listener) -> None:
        """Notifies the listener for as long as it exists."""
        self._listeners[token] = listener

    async def call(self, start: Callable[..., None], *arguments: Any, **options: Any) -> Any:
        """Starts a call, which gets a token first, and waits for its outcome. Cancelling gives the call up."""
        token = self.token()
        future = asyncio.get_running_loop().create_future()
        self._calls[token] = future
        try:
            start(token, *arguments, **options)
            return await future
        except asyncio.CancelledError:
            self.native.cancel(token)
            raise
        finally:
            self._calls.pop(token, None)

    def _drain(self) -> None:
        done, ready, questions = self.native.take()
        for token, outcome in done:
            future = self._calls.get(token)
            if future is not None and not future.done():
                future.set_result(outcome)
        for token in ready:
            listener = self._listeners.get(token)
            if listener is not None:
                listener.ready()
        for client, number, question in questions:
            listener = self._listeners.get(client)
            if listener is None:
                self.native.refuse(number, "the client does not exist any more")
            else:
                listener.question(number, question)
        if _native.has_log_records():
            _logging.flush()


class Inbox:
    """Items that were taken from the native module and wait here, and those who wait for them."""

    __slots__ = ("__weakref__", "_take", "_waiters", "items", "on_question")

    def __init__(self, take: Callable[[int], Any]) -> None:
        self._take = take
        self._waiters: set[asyncio.Future[None]] = set()
        self.items: Deque[Any] = deque()
        self.on_question: Callable[[int, tuple[str, bytes, dict[str, str]]], None] | None = None

    def ready(self) -> None:
        """Wakes all who wait; those who find nothing wait again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def question(self, number: int, question: tuple[str, bytes, dict[str, str]]) -> None:
        """Passes a question on."""
        if self.on_question is not None:
            self.on_question(number, question)

    def poll(self) -> Any:
        """Returns an item, a ``Failure``, False at the end, or None if there is nothing yet."""
        if not self.items:
            taken = self._take(_BURST)
            if taken.__class__ is not list:
                return taken
            self.items.extend(taken)
        return self.items.popleft()

    async def next(self) -> Any:
        """Returns an item, a ``Failure``, or False at the end. Nothing is lost if this is cancelled."""
        while True:
            item = self.poll()
            if item is not None:
                return item
            await self.wait()

    async def wait(self) -> None:
        """Waits until there may be something."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
