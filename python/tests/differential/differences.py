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


#: Over what real and scripted servers do, nothing: the rest of docs/differences.md concerns what aiocometd loses or hangs on.
DIFFERENCES: dict[str, list[Difference]] = {}
