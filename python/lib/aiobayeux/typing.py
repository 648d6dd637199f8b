"""Types of arguments and results."""

from __future__ import annotations

import ssl as _ssl
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, Dict, List, Protocol, Union, runtime_checkable

from aiobayeux.constants import ConnectionType

__all__ = [
    "ConnectionTypeSpec",
    "CoroFunction",
    "Fingerprint",
    "Headers",
    "JsonDumper",
    "JsonLoader",
    "JsonObject",
    "Payload",
    "SSLValidationMode",
    "Seconds",
]

#: A coroutine function.
CoroFunction = Callable[..., Awaitable[Any]]
#: A JSON object.
JsonObject = Dict[str, Any]
#: Encodes a value as JSON.
JsonDumper = Callable[[Any], Union[str, bytes]]
#: Decodes JSON.
JsonLoader = Callable[[str], Any]
#: The messages of one request or frame.
Payload = List[JsonObject]
#: Names and values of HTTP headers.
Headers = Dict[str, str]
#: One connection type, or several, the preferred one first.
ConnectionTypeSpec = Union[ConnectionType, Iterable[ConnectionType]]
#: A time: seconds, or a timedelta.
Seconds = Union[int, float, timedelta]


@runtime_checkable
class Fingerprint(Protocol):
    """The SHA-256 digest of a certificate, as ``aiohttp.Fingerprint`` has it."""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes."""
        ...


#: What the option ``ssl`` of a client takes, besides None.
SSLValidationMode = Union[_ssl.SSLContext, Fingerprint, bool]
