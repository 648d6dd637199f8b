"""The way of payloads from the native module through the extensions of a client and back."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Optional

from aiobayeux import _native
from aiobayeux._json import encode
from aiobayeux.extensions import Extension

if TYPE_CHECKING:
    from aiobayeux.client import Client

LOGGER = logging.getLogger("aiobayeux")
#: How many exceptions of extensions are kept until the call ends whose message was in the payload.
_KEPT = 16


class Extending:
    """Answers the questions of a native client with the extensions of a client."""

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._raised: OrderedDict[str, Exception] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def exception(self, failure: _native.Failure) -> Optional[Exception]:
        """What an extension raised, if that is the failure."""
        for text, error in self._raised.items():
            if text in failure.text:
                del self._raised[text]
                return error
        return None

    def ask(self, port: _native.Port, number: int, question: tuple[str, bytes, dict[str, str]]) -> None:
        """Answers a question soon."""
        client = self._client()
        if client is None:
            port.refuse(number, "the client does not exist any more")
            return
        task = asyncio.get_running_loop().create_task(self._answer(client, port, number, *question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self, client: Client, port: _native.Port, number: int, name: str, body: bytes, headers: dict[str, str]
    ) -> None:
        try:
            payload = await self._extended(client, name, body, headers)
            if payload is None:
                port.pass_unchanged(number)
            else:
                text = encode(payload, client._json_dumps)
                port.answer(number, text.encode(), list(headers.items()))
        except Exception as error:
            text = f"{name} raised {type(error).__name__}: {error}"
            LOGGER.debug("an extension failed: %s", text, exc_info=error)
            # The native module shows texts on one line, with some characters escaped.
            reason = f"{name} raised {type(error).__name__} ({id(error):x})"
            self._raised[reason] = error
            while len(self._raised) > _KEPT:
                self._raised.popitem(last=False)
            port.refuse(number, f"{reason}: {error}")
        except BaseException as error:
            port.refuse(number, f"{name} was ended by {type(error).__name__}")
            raise

    async def _extended(self, client: Client, name: str, body: bytes, headers: dict[str, str]) -> Any:
        """The payload after the extensions; None if it stays as it is."""
        if name == "authenticate":
            if client.auth is not None:
                await _awaited(client.auth, name)
            return None
        try:
            payload = client._json_loads(body.decode())
        except ValueError:
            # The native client says what is wrong with it.
            return None
        if isinstance(payload, dict):
            payload = [payload]
        extensions: list[Extension] = list(client.extensions or ())
        auth: list[Extension] = [] if client.auth is None else [client.auth]
        if name == "outgoing":
            for extension in extensions + auth:
                await _awaited(extension, name, payload, headers)
        else:
            for extension in auth + extensions:
                await _awaited(extension, name, payload, headers or None)
        return payload


async def _awaited(extension: Extension, name: str, *arguments: Any) -> None:
    result = getattr(extension, name)(*arguments)
    if not hasattr(result, "__await__"):
        raise TypeError(
            f"{type(extension).__name__}.{name} returned {type(result).__name__}, which cannot be awaited: "
            f"write `async def {name}`"
        )
    await result
