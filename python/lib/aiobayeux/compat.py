"""Existing programs without a change: the package under the name of aiocometd."""

from __future__ import annotations

import sys

import aiobayeux
from aiobayeux import client, constants, exceptions, extensions, typing

__all__ = ["install"]


def install(name: str = "aiocometd") -> None:
    """Registers this package as the module ``name``, for programs and packages that import that. Call it before they do.

    ::

        import aiobayeux.compat
        aiobayeux.compat.install("aiocometd_ng")
        import aiosfstream_ng  # uses aiobayeux

    :param name: ``aiocometd`` or the name of one of its forks.
    :raise ValueError: If the name is not that of a top-level module.
    :raise ImportError: If another module of that name was imported already.
    """
    if not name.isidentifier():
        raise ValueError(f'{name!r} is not the name of a top-level module, such as "aiocometd"')
    known = sys.modules.get(name)
    if known is not None and known is not aiobayeux:
        raise ImportError(f"the module {name} was imported already: call install({name!r}) before anything imports it")
    sys.modules[name] = aiobayeux
    for module in (client, constants, exceptions, extensions, typing):
        sys.modules[f"{name}.{module.__name__.rpartition('.')[2]}"] = module
