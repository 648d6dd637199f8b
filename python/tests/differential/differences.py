"""What differs from aiocometd on purpose. docs/differences.md explains each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """A line that aiocometd prints, and those that this package prints instead."""

    theirs: str
    ours: tuple[str, ...]
    #: Whose line it is.
    of: tuple[str, ...] = ("aiocometd", "fork")


CLOSED = "ClientInvalidOperation: Can't publish data while, the client is closed."
DIFFERENCES: dict[str, list[Difference]] = {
    # The text ends with the reason.
    "advice_none": [Difference(CLOSED, (f"{CLOSED} (the server closed the session: 403::over)",))],
}
