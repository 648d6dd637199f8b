"""Payloads as JSON, with errors that say where a value stands."""

from __future__ import annotations

import json
import math
from typing import Any

from aiobayeux.typing import JsonDumper


def encode(data: Any, dumps: JsonDumper) -> str:
    """Encodes a payload. Raises the exception of ``dumps``, or one of the same kind that names the path to the value."""
    try:
        text = json.dumps(data, allow_nan=False) if dumps is json.dumps else dumps(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        found = find_fault(data)
        if found is None or (dumps is not json.dumps and not isinstance(error, TypeError)):
            raise
        path, why = found
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"the payload is not JSON: {path} is {why}") from error
    if isinstance(text, (bytes, bytearray)):
        return bytes(text).decode()
    if not isinstance(text, str):
        raise TypeError(f"json_dumps must return str or bytes, not {type(text).__name__}")
    return text


def find_fault(data: Any) -> tuple[str, str] | None:
    """Returns the path to the first value that is not JSON, as in ``data["a"][0]``, and what it is."""
    seen: set[int] = set()
    stack: list[tuple[str, Any, bool]] = [("data", data, False)]
    while stack:
        path, value, leaving = stack.pop()
        if leaving:
            seen.discard(id(value))
            continue
        if value is None or isinstance(value, (str, bool, int)):
            continue
        if isinstance(value, float):
            if not math.isfinite(value):
                return path, f"{value}, which JSON does not have: use None or a str"
            continue
        if isinstance(value, (dict, list, tuple)):
            if id(value) in seen:
                return path, "a part of itself"
            seen.add(id(value))
            stack.append((path, value, True))
            if isinstance(value, dict):
                for key in value:
                    if not (key is None or isinstance(key, (str, int, float, bool))):
                        return path, f"a dict with a key of type {type(key).__name__}: use str"
                stack.extend((f"{path}[{key!r}]", item, False) for key, item in reversed(value.items()))
            else:
                stack.extend((f"{path}[{at}]", value[at], False) for at in range(len(value) - 1, -1, -1))
            continue
        return path, f"of type {type(value).__name__}: use dict, list, str, int, float, bool or None"
    return None
