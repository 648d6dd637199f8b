"""The scripts of the servers for those programs that need one. Each call returns a new script."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from aiobayeux.testing import Answer, Peer, Request

Script = Callable[[Request], Answer]
Maker = Callable[[Peer], Script]
SCRIPTS: dict[str, Maker] = {}


def script(make: Maker) -> Maker:
    """Registers the script of the program with the same name."""
    SCRIPTS[make.__name__] = make
    return make


def decent(request: Request) -> Answer:
    """Grants everything. The first connect is answered at once: aiocometd does not ask for that."""
    if request.name == "/meta/connect" and request.nth == 0:
        return Answer.messages(request.replies)
    return request.decently()


def each(request: Request, change: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]) -> Answer:
    """Answers with the replies of a correct server, each changed by a function of the message and its reply."""
    if request.kind == "upgrade" or (request.name == "/meta/connect" and request.nth > 0):
        return decent(request)
    pairs = zip(request.messages, request.replies, strict=False)
    return Answer.messages([change(message, reply) for message, reply in pairs])


@script
def handshake_refused(peer: Peer) -> Script:
    def answer(request: Request) -> Answer:
        return (
            request.refusal("403:ann,room:Handshake denied") if request.name == "/meta/handshake" else decent(request)
        )

    return answer


@script
def no_common_connection_type(peer: Peer) -> Script:
    def answer(request: Request) -> Answer:
        if request.name == "/meta/handshake":
            return Answer.messages([{**request.replies[0], "supportedConnectionTypes": ["callback-polling"]}])
        return decent(request)

    return answer


@script
def calls_refused(peer: Peer) -> Script:
    def change(message: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        names = (message["channel"], message.get("subscription", ""))
        if any("denied" in name for name in names) or message["channel"] == "/meta/unsubscribe":
            return {**reply, "successful": False, "error": "400:a,b:denied"}
        return reply

    return lambda request: each(request, change)


@script
def calls_refused_over_a_websocket(peer: Peer) -> Script:
    return calls_refused(peer)


@script
def advice_none(peer: Peer) -> Script:
    def answer(request: Request) -> Answer:
        if request.name == "/meta/subscribe":
            threading.Timer(0.5, peer.push, [[{"channel": "/a", "data": 1}]]).start()
        if request.name == "/meta/connect" and request.nth == 1:
            over = {"successful": False, "error": "403::over", "advice": {"reconnect": "none"}}
            return Answer.hold([{**request.replies[0], **over}])
        return decent(request)

    return answer


@script
def lost_connection(peer: Peer) -> Script:
    def answer(request: Request) -> Answer:
        if request.nth == 0 and request.name in ("/meta/handshake", "/meta/connect"):
            return Answer.messages(request.replies)
        return Answer.cut()

    return answer


@script
def refused_message(peer: Peer) -> Script:
    def answer(request: Request) -> Answer:
        if request.name == "/meta/subscribe":
            refused = {"channel": "/a", "data": 2, "successful": False, "error": "400::no"}
            events = [{"channel": "/a", "data": 1}, refused, {"channel": "/a", "data": 3}]
            return Answer.messages([*request.replies, *events])
        return decent(request)

    return answer


def _guarded(wanted: str) -> Script:
    def answer(request: Request) -> Answer:
        if request.headers.get("authorization") != wanted:
            return request.refusal("401::Unauthorized")
        return decent(request)

    return answer


@script
def authentication(peer: Peer) -> Script:
    return _guarded("Bearer new")


@script
def authentication_fails(peer: Peer) -> Script:
    return _guarded("Bearer new")


@script
def authentication_is_not_enough(peer: Peer) -> Script:
    return _guarded("Bearer new")


@script
def service_answers(peer: Peer) -> Script:
    def answer(request: Request) -> Answer:
        if request.name == "/service/ask":
            return Answer.messages([*request.replies, {"channel": "/service/ask", "data": {"answer": 42}}])
        return decent(request)

    return answer


@script
def session_lost(peer: Peer) -> Script:
    granted: list[str] = []

    def answer(request: Request) -> Answer:
        granted.extend(message["subscription"] for message in request.messages if "subscription" in message)
        if request.name == "/meta/subscribe" and len(granted) == 2:
            # Now the held connect is answered.
            threading.Timer(0.5, peer.push, [[]]).start()
        if request.name == "/meta/connect" and request.nth == 1:
            lost = {"successful": False, "error": "402::Unknown client", "advice": {"reconnect": "handshake"}}
            return Answer.hold([{**request.replies[0], **lost}])
        if granted[2:] and "subscription" in request.messages[-1] and set(granted[2:]) == {"/a", "/b"}:
            return Answer.messages([*request.replies, {"channel": "/b", "data": "again"}])
        if granted[2:] and "subscription" in request.messages[-1]:
            return Answer.messages(request.replies)
        return decent(request)

    return answer
