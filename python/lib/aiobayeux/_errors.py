"""Failures of the native module as exceptions."""

from __future__ import annotations

from typing import Any, Callable, Optional

from aiobayeux import _native
from aiobayeux.constants import SERVICE_CHANNEL_PREFIX, MetaChannel
from aiobayeux.exceptions import (
    AiocometdException,
    ClientError,
    ClientInvalidOperation,
    InboxOverflow,
    ServerError,
    TransportConnectionClosed,
    TransportError,
    TransportTimeoutError,
)
from aiobayeux.typing import JsonObject

_REFUSED = {
    MetaChannel.HANDSHAKE.value: "Handshake request failed.",
    MetaChannel.CONNECT.value: "Connect request failed.",
    MetaChannel.DISCONNECT.value: "Disconnect request failed.",
    MetaChannel.SUBSCRIBE.value: "Subscribe request failed.",
    MetaChannel.UNSUBSCRIBE.value: "Unsubscribe request failed.",
}

#: What calls say about a closed client.
CLOSED = {
    "subscribe": "Can't send subscribe request while, the client is closed.",
    "unsubscribe": "Can't send unsubscribe request while, the client is closed.",
    "publish": "Can't publish data while, the client is closed.",
    "receive": "The client is closed and there are no pending messages.",
}


def refusal(response: JsonObject) -> ServerError:
    """The exception for a reply or message that is not successful."""
    channel = response.get("channel") or ""
    default = "Service request failed." if channel.startswith(SERVICE_CHANNEL_PREFIX) else "Publish request failed."
    return ServerError(_REFUSED.get(channel, default), response)


def closed(operation: str) -> ClientInvalidOperation:
    """The exception for a call on a closed client."""
    return ClientInvalidOperation(CLOSED.get(operation, f"Can't {operation} while, the client is closed."))


def exception(failure: _native.Failure, operation: str, loads: Optional[Callable[[str], Any]] = None) -> Exception:
    """The exception for a failure of an operation. ``loads`` decodes the server's reply, if it is text."""
    if failure.kind in ("config", "invalid"):
        return ValueError(failure.text.removeprefix("configuration: "))
    reply = failure.reply
    if isinstance(reply, str):
        reply = loads(reply) if loads is not None else None
    error = _aiocometd_exception(failure, operation, reply)
    error.is_fate_unknown = failure.is_fate_unknown
    error.is_retryable = failure.is_retryable
    error.http_status = failure.http_status
    error.channel = failure.channel
    return error


def _aiocometd_exception(failure: _native.Failure, operation: str, reply: Optional[JsonObject]) -> AiocometdException:
    kind, text = failure.kind, failure.text
    if failure.no_transport:
        return ClientError("None of the connection types offered by the server are supported.")
    if kind == "server":
        if failure.has_ended and operation != "open":
            return ServerError("Connection closed by the server", reply)
        if reply is not None:
            return refusal(reply)
        return ServerError(text, None if failure.error is None else {"error": failure.error, "successful": False})
    if kind == "timeout":
        if operation == "receive" and not failure.has_ended:
            return TransportTimeoutError("Lost connection with the server.")
        return TransportTimeoutError(text)
    if kind == "transport":
        return TransportConnectionClosed(text) if failure.is_fate_unknown else TransportError(text)
    if kind == "closed":
        return closed(operation)
    if kind == "busy" and operation == "open":
        return ClientInvalidOperation("Client is already open.")
    if kind == "overflow":
        return InboxOverflow(text)
    return ClientError(text)
