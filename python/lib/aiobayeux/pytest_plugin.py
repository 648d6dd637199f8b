"""The fixtures of :mod:`aiobayeux.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aiobayeux.testing import FaultProxy, Peer, Server


@pytest.fixture
def cometd_server() -> Iterator[Server]:
    """A CometD server in the process."""
    from aiobayeux.testing import Server

    with Server() as server:
        yield server


@pytest.fixture
def cometd_peer() -> Iterator[Peer]:
    """A scripted server. Set its attribute ``script``."""
    from aiobayeux.testing import Peer

    with Peer() as peer:
        yield peer


@pytest.fixture
def cometd_proxy(cometd_server: Server) -> Iterator[FaultProxy]:
    """A network that can fail, in front of ``cometd_server``."""
    from aiobayeux.testing import FaultProxy

    with FaultProxy(cometd_server.url) as proxy:
        yield proxy


@pytest.fixture
def make_cometd_server() -> Iterator[Callable[..., Server]]:
    """A function that makes servers with options."""
    from aiobayeux.testing import Server

    servers: list[Server] = []

    def make(**options: object) -> Server:
        server = Server(**options)  # type: ignore[arg-type]
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()
