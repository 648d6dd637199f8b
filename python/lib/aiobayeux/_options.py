"""Options of a client, checked and in the form that the native module takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Optional, Union

from aiobayeux.constants import ConnectionType
from aiobayeux.typing import Seconds

__all__ = ["Retry", "connection_types", "pairs", "seconds"]

#: The policies for a full queue.
OVERFLOW = ("drop_oldest", "drop_newest", "close", "pause")


def seconds(value: Optional[Seconds], name: str, *, optional: bool = False) -> Optional[float]:
    """A time in seconds."""
    if value is None:
        if optional:
            return None
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not None")
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must not be negative, but is {value}")
    # Longer than any program runs.
    return min(float(value), 1e9)


@dataclass(frozen=True)
class Retry:
    """How a client retries after a failed attempt to connect.

    The delay begins with ``min_delay`` and doubles up to ``max_delay``. A longer interval of the server's advice is obeyed.
    """

    #: The first delay, in seconds.
    min_delay: Seconds = 1.0
    #: The longest delay, in seconds.
    max_delay: Seconds = 30.0
    #: Whether delays are random parts of their length, so that clients do not all come back at once.
    jitter: bool = True
    #: After how many failed attempts in a row the client gives up. None: never.
    max_attempts: Optional[int] = None
    #: After how many seconds without a success the client gives up. None: never.
    max_elapsed: Optional[Seconds] = None
    #: Whether the client gives up at once after failures that waiting does not mend, such as an untrusted certificate.
    give_up_on_fatal: bool = False

    def native(self) -> dict[str, Any]:
        """The form of the native module."""
        return {
            "min_delay": seconds(self.min_delay, "min_delay"),
            "max_delay": seconds(self.max_delay, "max_delay"),
            "jitter": self.jitter,
            "max_attempts": self.max_attempts,
            "max_elapsed": seconds(self.max_elapsed, "max_elapsed", optional=True),
            "give_up_on_fatal": self.give_up_on_fatal,
        }


def connection_types(given: Any) -> list[ConnectionType]:
    """The connection types, the preferred one first."""
    if given is None:
        return [ConnectionType.WEBSOCKET, ConnectionType.LONG_POLLING]
    if isinstance(given, (ConnectionType, str)):
        given = [given]
    if not isinstance(given, Iterable):
        raise TypeError(f"connection_types must be a ConnectionType or a list of them, not {type(given).__name__}")
    try:
        types = [ConnectionType(item) for item in given]
    except ValueError as error:
        raise ValueError(f"{error}: use aiobayeux.ConnectionType.WEBSOCKET or LONG_POLLING") from None
    if not types:
        raise ValueError("connection_types is empty: name at least one ConnectionType")
    return types


def pairs(given: Union[Mapping[str, str], Iterable[tuple[str, str]]], name: str) -> list[tuple[str, str]]:
    """Names and values."""
    items = given.items() if isinstance(given, Mapping) else given
    result = []
    for item in items:
        key, value = item
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{name} has names and values of type str, not {item!r}")
        result.append((key, value))
    return result


def overflow(policy: str) -> str:
    """A policy for a full queue."""
    if policy not in OVERFLOW:
        raise ValueError(f"{policy!r} is not an overflow policy: use one of {', '.join(map(repr, OVERFLOW))}")
    return policy
