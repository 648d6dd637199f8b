"""The exceptions of the package.

::

    AiocometdException
        ClientError
            ClientInvalidOperation
            InboxOverflow
        TransportError
            TransportInvalidOperation
            TransportTimeoutError
            TransportConnectionClosed
        ServerError

Arguments that are wrong raise ``ValueError`` or ``TypeError``, and calls outside of the client's event loop ``RuntimeError``.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

__all__ = [
    "AiocometdException",
    "ClientError",
    "ClientInvalidOperation",
    "InboxOverflow",
    "ServerError",
    "TransportConnectionClosed",
    "TransportError",
    "TransportInvalidOperation",
    "TransportTimeoutError",
]


class AiocometdException(Exception):
    """The base of all exceptions of the package."""

    #: Whether the server may have acted on the call although it failed.
    is_fate_unknown: bool = False
    #: Whether the same call can succeed later without a change of the program.
    is_retryable: bool = False
    #: The HTTP status of the response, if the call failed because of it.
    http_status: Optional[int] = None
    #: The channel of the subscription that could not be restored, or whose queue overflowed.
    channel: Optional[str] = None


class TransportError(AiocometdException):
    """The connection could not be made, or it was lost."""


class TransportInvalidOperation(TransportError):
    """The transport cannot do this in its state. Kept for programs that catch it; it is not raised."""


class TransportTimeoutError(TransportError):
    """A timeout has passed."""


class TransportConnectionClosed(TransportError):
    """The connection was lost while a call was on its way."""


class ServerError(AiocometdException):
    """The server refused a request, or it closed the session.

    :param message: What failed.
    :param response: The server's reply, if there is one.
    """

    def __init__(self, message: str, response: Optional[Dict[str, Any]]) -> None:
        super().__init__(message, response)

    @property
    def message(self) -> str:
        """What failed."""
        return str(self.args[0])

    @property
    def response(self) -> Optional[Dict[str, Any]]:
        """The server's reply, if there is one."""
        response: Optional[Dict[str, Any]] = self.args[1]
        return response

    @property
    def error(self) -> Optional[str]:
        """The field ``error`` of the reply, as in ``"403:chat,ann:denied"``."""
        error = None if self.response is None else self.response.get("error")
        return error if isinstance(error, str) else None

    @property
    def error_code(self) -> Optional[int]:
        """The number at its beginning, as in ``403``; None if it has no three digits there."""
        code = (self.error or "")[:3]
        return int(code) if len(code) == 3 and code.isascii() and code.isdigit() else None

    @property
    def error_message(self) -> Optional[str]:
        """The text after its last colon, as in ``"denied"``; None if it has no colon."""
        return None if self.error is None or ":" not in self.error else self.error.rsplit(":", 1)[1]

    @property
    def error_args(self) -> Optional[List[str]]:
        """What is between its first and its last colon, as in ``["chat", "ann"]``; None if it has not two."""
        if self.error is None or self.error.count(":") < 2:
            return None
        arguments = self.error.split(":", 1)[1].rsplit(":", 1)[0]
        return arguments.split(",") if arguments else []


class ClientError(AiocometdException):
    """The client cannot do this."""


class ClientInvalidOperation(ClientError):
    """The client cannot do this in its state: it is closed, or it is open already."""


class InboxOverflow(ClientError):
    """The queue of a receiver with the policy ``"close"`` was full. :attr:`channel` is that of a stream."""
