"""Writes reference.md from the docstrings of the package that is installed: ``python docs/make_reference.py``."""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiobayeux
from aiobayeux import compat, exceptions, testing

PAGE = Path(__file__).parent / "reference.md"
PARTS = {
    "The client": ["Client", "ConnectionType", "State"],
    "Streams, batches and events": ["Stream", "Batch", "Events", "Event"],
    "Extensions": ["Extension", "AuthExtension"],
    "Options": ["Retry", "TlsOptions"],
}
HEAD = """# Reference

Made from the docstrings by `docs/make_reference.py`; `help()` shows the same. All times are seconds or `timedelta`.
"""


def text(thing: Any) -> str:
    """A docstring as Markdown."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    doc = re.sub(r":\w+:`~?(?:[\w.]*\.)?([\w]+)`", r"`\1`", doc).replace("``", "`")
    doc = re.sub(r"^:param (\w+): *", r"- `\1`: ", doc, flags=re.MULTILINE)
    doc = re.sub(r"^:raise (\w+): *", r"- raises `\1`: ", doc, flags=re.MULTILINE)
    # A block after `::`, and tables, as code.
    doc = re.sub(r"^::\n\n((?:(?:    .*)?\n?)+)", _code, doc, flags=re.MULTILINE)
    return re.sub(r"^(={3,} =+\n(?:.*\n)*={3,} =+)$", r"```text\n\1\n```", doc, flags=re.MULTILINE).strip()


def _code(block: re.Match[str]) -> str:
    return f"```python\n{textwrap.dedent(block[1]).strip()}\n```\n\n"


def signature(name: str, thing: Any) -> str:
    """A signature without the receiver and the annotations' modules."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    parameters = [item for item in found.parameters.values() if item.name not in ("self", "cls")]
    shown = str(found.replace(parameters=parameters)).replace("typing.", "").replace("'", "")
    # Functions that are defaults have an address.
    shown = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"json.\1", shown)
    return f"{name}{shown}"


def members(owner: type) -> Iterator[tuple[str, Any, str]]:
    """The public members of a class, with their kind."""
    for base in reversed([base for base in owner.__mro__ if base.__module__.startswith("aiobayeux")]):
        for name, member in vars(base).items():
            if name.startswith("_") or getattr(owner, name, None) is None:
                continue
            if isinstance(member, property):
                yield name, member.fget, "property"
            elif isinstance(member, (classmethod, staticmethod)):
                yield name, member.__func__, ""
            elif inspect.isfunction(member):
                yield name, member, "async " if inspect.iscoroutinefunction(member) else ""


def describe(name: str, thing: Any) -> Iterator[str]:
    """The section of a class or function."""
    if isinstance(thing, type) and issubclass(thing, enum.Enum):
        yield f"### `{name}`\n\n{text(thing)}\n"
        yield "\n".join(f"- `{item.name}` = `{item.value!r}`" for item in thing) + "\n"
        return
    yield f"### `{name}`\n"
    if not (isinstance(thing, type) and issubclass(thing, Exception)):
        yield f"```python\n{signature(name, thing)}\n```\n"
    yield text(thing) + "\n"
    if not isinstance(thing, type):
        return
    seen = {}
    for member, function, kind in members(thing):
        seen[member] = (function, kind)
    for member, (function, kind) in seen.items():
        if kind == "property":
            yield f"#### `{name}.{member}`\n\n{text(function)}\n"
        else:
            yield f"#### `{kind}{signature(member, function)}`\n\n{text(function)}\n"


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, names in PARTS.items():
        lines.append(f"## {title}\n")
        for name in names:
            lines.extend(describe(name, getattr(aiobayeux, name)))
    lines.append(f"## Exceptions\n\n{text(exceptions)}\n")
    for name in exceptions.__all__:
        lines.extend(describe(name, getattr(exceptions, name)))
    lines.append(f"## `aiobayeux.testing`\n\n{text(testing)}\n")
    for name in testing.__all__:
        lines.extend(describe(name, getattr(testing, name)))
    lines.append("## `aiobayeux.compat`\n")
    lines.extend(describe("install", compat.install))
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
