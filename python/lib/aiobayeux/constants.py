"""Names of the protocol: connection types and channels."""

from __future__ import annotations

from enum import Enum, auto, unique

__all__ = [
    "DEFAULT_CONNECTION_TYPE",
    "META_CHANNEL_PREFIX",
    "SERVICE_CHANNEL_PREFIX",
    "ConnectionType",
    "MetaChannel",
    "State",
    "TransportState",
]


@unique
class ConnectionType(Enum):
    """How messages travel between client and server."""

    LONG_POLLING = "long-polling"
    WEBSOCKET = "websocket"


#: The connection type that every CometD server has.
DEFAULT_CONNECTION_TYPE = ConnectionType.LONG_POLLING
#: What the names of meta channels begin with.
META_CHANNEL_PREFIX = "/meta/"
#: What the names of service channels begin with.
SERVICE_CHANNEL_PREFIX = "/service/"


@unique
class MetaChannel(str, Enum):
    """The channels of the protocol itself."""

    HANDSHAKE = "/meta/handshake"
    CONNECT = "/meta/connect"
    DISCONNECT = "/meta/disconnect"
    SUBSCRIBE = "/meta/subscribe"
    UNSUBSCRIBE = "/meta/unsubscribe"


@unique
class TransportState(Enum):
    """The states of a transport in aiocometd. Programs observe :class:`State` instead."""

    DISCONNECTED = auto()
    SERVER_DISCONNECTED = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    DISCONNECTING = auto()


@unique
class State(str, Enum):
    """The state of a client, see :attr:`aiobayeux.Client.state`."""

    #: Not open, or closed.
    DISCONNECTED = "disconnected"
    #: Asking for a session, for the first time or again.
    HANDSHAKING = "handshaking"
    #: The session exists; its subscriptions are being made.
    CONNECTING = "connecting"
    #: Messages flow.
    CONNECTED = "connected"
    #: The connection is lost and is being restored.
    UNCONNECTED = "unconnected"
    #: Closing.
    DISCONNECTING = "disconnecting"
