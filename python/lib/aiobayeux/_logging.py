"""Log records of the native module for ``logging``.

The native module logs to ``aiobayeux``, and bodies and frames at level 5 to ``aiobayeux.wire``.
"""

from __future__ import annotations

import atexit
import logging

from aiobayeux import _native

#: The level of bodies and frames.
TRACE = 5
_NOTHING = 255


def update_level() -> None:
    """Lets the native module make only the records that somebody wants."""
    wanted = min(
        (
            logger.getEffectiveLevel()
            for logger in (logging.getLogger("aiobayeux"), logging.getLogger("aiobayeux.wire"))
        ),
    )
    if logging.root.manager.disable >= logging.CRITICAL or not logging.getLogger("aiobayeux").hasHandlers():
        wanted = _NOTHING
    _native.set_log_level(min(max(wanted, TRACE), _NOTHING))


def flush() -> None:
    """Hands the records that wait to ``logging``."""
    for target, level, text in _native.take_log_records():
        name = "aiobayeux.wire" if target == "bayeux::wire" else "aiobayeux"
        logger = logging.getLogger(name)
        if logger.isEnabledFor(level):
            logger.handle(logger.makeRecord(name, level, f"({target})", 0, "%s", (text,), None))


atexit.register(flush)
