"""Extensions: code of the user that sees all messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Optional

from aiobayeux.typing import Headers, Payload

__all__ = ["AuthExtension", "Extension"]


class Extension(ABC):
    """Code that sees each payload, meta messages included, and can change it in place.

    Outgoing payloads pass the extensions in the order of the list, then the :class:`AuthExtension`; incoming ones pass that
    first. Extensions run in the event loop of the client. An exception in :meth:`outgoing` is raised by the call whose
    message is in the payload; in :meth:`incoming` it has the effect of a broken connection. Neither method may await a
    call of its own client, which waits for the extension.
    """

    @abstractmethod
    async def outgoing(self, payload: Payload, headers: Headers) -> None:
        """Called with each payload before it is sent.

        :param payload: The messages of one request or frame. Their ids must not be changed.
        :param headers: The headers to send, to which others can be added. Over a WebSocket only those of the payload that
            opens it are sent.
        """

    @abstractmethod
    async def incoming(self, payload: Payload, headers: Optional[Headers] = None) -> None:
        """Called with each received payload before the client handles it.

        :param payload: The messages of one response or frame.
        :param headers: The headers of the response, with lowercase names; None over a WebSocket.
        """


class AuthExtension(Extension):
    """An extension that can renew credentials."""

    async def authenticate(self) -> None:
        """Called after the server refused the credentials, once for all calls that wait. The refused requests are then sent again,
        with what :meth:`~Extension.outgoing` adds. If they are refused again, that is raised. The default does nothing.
        """
