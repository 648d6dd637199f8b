"""What the tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: How long anything may take on a slow machine.
PATIENCE = 60.0


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(patience) if hasattr(asyncio, "timeout") else _Timeout(patience):
        while not condition():
            await asyncio.sleep(0.01)


class _Timeout:
    """`asyncio.timeout` for Python 3.10."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handle = asyncio.get_running_loop().call_later(self._delay, task.cancel)

    async def __aexit__(self, *_: object) -> None:
        self._handle.cancel()
