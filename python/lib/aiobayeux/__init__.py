"""A client for CometD servers: the Bayeux protocol over WebSocket and HTTP long-polling, for asyncio.

::

    import asyncio
    from aiobayeux import Client

    async def main() -> None:
        async with Client("https://example.com/cometd") as client:
            await client.subscribe("/chat/demo")
            async for message in client:
                print(message["data"])

    asyncio.run(main())
"""

from __future__ import annotations

import logging as _logging_module

from aiobayeux import constants, exceptions, extensions, typing
from aiobayeux._metadata import VERSION as __version__
from aiobayeux._options import Retry
from aiobayeux.client import Client
from aiobayeux.constants import ConnectionType, MetaChannel, State
from aiobayeux.events import Event
from aiobayeux.exceptions import (
    AiocometdException,
    ClientError,
    ClientInvalidOperation,
    InboxOverflow,
    ServerError,
    TransportConnectionClosed,
    TransportError,
    TransportInvalidOperation,
    TransportTimeoutError,
)
from aiobayeux.extensions import AuthExtension, Extension
from aiobayeux.streams import Batch, Events, Stream
from aiobayeux.tls import TlsOptions

__all__ = [
    "AiocometdException",
    "AuthExtension",
    "Batch",
    "Client",
    "ClientError",
    "ClientInvalidOperation",
    "ConnectionType",
    "Event",
    "Events",
    "Extension",
    "InboxOverflow",
    "MetaChannel",
    "Retry",
    "ServerError",
    "State",
    "Stream",
    "TlsOptions",
    "TransportConnectionClosed",
    "TransportError",
    "TransportInvalidOperation",
    "TransportTimeoutError",
    "__version__",
    "constants",
    "exceptions",
    "extensions",
    "typing",
]

# Programs without a configuration of logging get no warnings.
_logging_module.getLogger("aiobayeux").addHandler(_logging_module.NullHandler())
