"""The events of a client's life."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Mapping

__all__ = ["Event"]


class Event:
    """A change of the connection or the session: a :attr:`name`, and attributes that depend on it. All times are in seconds.

    ==================== ==============================================================================================
    name                 attributes
    ==================== ==============================================================================================
    connected            ``transport``: messages flow, and the subscriptions are restored
    lost                 ``cause``, ``is_fatal``: messages do not flow; the client restores the connection
    retrying             ``cause``, ``is_fatal``, ``delay``, ``failures``: an attempt failed; the next follows after ``delay``
    request_failed       ``channel``, ``cause``, ``messages``, ``repeated``, ``delay``
    rehandshaken         a new session has taken the place of one that the server removed
    resubscribed         ``channel``, ``error``: None if the subscription is restored
    gap_possible         ``channels``: messages may have been missed
    transport_changed    ``previous``, ``transport``, ``cause``
    server_changed       ``previous``, ``url``, ``cause``
    advice_changed       ``reconnect``, ``timeout``, ``interval``
    advice_capped        ``what``, ``advised``, ``used``
    ignored              ``what``: something that is not part of the protocol
    cookies_withheld     ``names``: secure cookies that were not sent over a connection without TLS
    slow_consumer        ``channel``, ``dropped``: messages did not fit a queue
    publish_failed       ``channel``, ``error``: of ``publish_and_forget``
    events_missed        ``missed``: this listener is too slow
    closed               ``reason``, ``is_requested``
    ==================== ==============================================================================================
    """

    __slots__ = ("fields", "name")

    name: str
    fields: Mapping[str, Any]

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self.name = name
        #: All attributes.
        self.fields = MappingProxyType(dict(fields))

    def __getattr__(self, name: str) -> Any:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"an event {self.name!r} has no {name!r}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self.name == other.name and dict(self.fields) == dict(other.fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = "".join(f", {name}={value!r}" for name, value in self.fields.items())
        return f"<Event {self.name}{fields}>"
