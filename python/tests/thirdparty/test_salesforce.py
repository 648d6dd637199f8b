"""aiosfstream-ng from PyPI, unchanged, on this package: against a server that behaves as Salesforce's does."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs

import pytest

from aiobayeux.testing import Answer, Peer, Request
from differential.environments import environment, interpreter, package_path

HERE = Path(__file__).parent
#: What `pip install aiosfstream-ng` installs, the client aiocometd-ng included, which is not used then.
PACKAGES = [
    "aiosfstream-ng==0.7.5",
    "aiocometd-ng==0.5.6",
    "aiohappyeyeballs==2.7.1",
    "aiohttp==3.14.5",
    "aiosignal==1.4.0",
    "attrs==26.1.0",
    "frozenlist==1.8.0",
    "idna==3.20",
    "multidict==7.2.1",
    "propcache==0.5.4",
    "typing_extensions==4.16.0",
    "yarl==1.25.1",
]
CHANNEL = "/topic/Orders"


def event(replay_id: int) -> dict[str, Any]:
    """An event of a PushTopic."""
    created = f"2026-01-01T00:00:{replay_id:02}.000Z"
    meta = {"createdDate": created, "replayId": replay_id, "type": "created"}
    return {"channel": CHANNEL, "data": {"event": meta, "sobject": {"Id": "001", "Name": "order"}}}


class Salesforce:
    """The script: long-polling only, tokens that expire, replay with ids from 8 on, and a session that it forgets."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.token = 1
        self.replays: list[Any] = []
        self.handshakes = 0

    @property
    def instance(self) -> str:
        return self.peer.url.rsplit("/", 1)[0]

    def __call__(self, request: Request) -> Answer:
        if request.path.startswith("/services/oauth2/token"):
            return self.login(request)
        assert request.path.startswith("/cometd/45.0"), request.path
        if request.kind == "upgrade":
            return Answer.status(405)
        if request.headers.get("authorization") != f"Bearer token-{self.token}":
            return request.refusal("401::Authentication invalid")
        if request.name == "/meta/handshake":
            self.handshakes += 1
            extra = {"supportedConnectionTypes": ["long-polling"], "ext": {"replay": True, "payload.format": True}}
            return Answer.messages([{**request.replies[0], **extra}])
        if request.name == "/meta/subscribe":
            return self.subscribe(request)
        if request.name == "/meta/connect" and request.nth == 1:
            lost = {"successful": False, "error": "403::Unknown client", "advice": {"reconnect": "handshake"}}
            return Answer.hold([{**request.replies[0], **lost}])
        return request.decently()

    def login(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        assert form["grant_type"] == "password" and form["client_id"] == "key"
        if form["password"] != "password+token":
            body = json.dumps({"error": "invalid_grant", "error_description": "authentication failure"})
            head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            return Answer.raw((head + body).encode()).then_cut()
        fields = {"access_token": f"token-{self.token}", "token_type": "Bearer", "instance_url": self.instance}
        body = json.dumps({**fields, "id": "https://example.com/id", "signature": "s", "issued_at": "1"})
        return Answer.body(body).header("content-type", "application/json")

    def subscribe(self, request: Request) -> Answer:
        (message,) = request.messages
        wanted = message.get("ext", {}).get("replay")
        self.replays.append(wanted)
        after = 10 if wanted is None else wanted[CHANNEL]
        if 0 <= after < 8:
            text = f"400::The replayId {{{after}}} you provided was invalid.  Please provide a valid ID"
            return request.refusal(text)
        last = 12 if self.handshakes == 1 else 13
        return Answer.messages([*request.replies, *(event(number) for number in range(after + 1, last + 1))])

    def expire(self) -> None:
        """The token is not valid any more, which the next request learns."""
        self.token += 1


@contextmanager
def program(salesforce: Salesforce, scenario: str, folder: Path) -> Iterator[IO[str]]:
    """Runs a scenario, and returns its output."""
    python = environment("aiosfstream-ng", interpreter("3.11", "3.12", "3.13", "3.10"), *PACKAGES)
    variables = {**os.environ, "PYTHONPATH": package_path(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-W", "error::RuntimeWarning", str(HERE / "salesforce_program.py")]
    command += [salesforce.instance, scenario]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            yield process.stdout
            rest = process.stdout.read()
            errors = process.stderr.read()
            assert process.wait(60) == 0, errors
            assert not rest, rest
        finally:
            process.kill()


def line(output: IO[str]) -> Any:
    """The next line that the program prints."""
    return json.loads(output.readline() or "null")


def line_after_push(salesforce: Salesforce, messages: list[dict[str, Any]], output: IO[str]) -> Any:
    """The next line, which comes after messages were pushed, as soon as the client has a connect that is held."""
    printed = threading.Event()

    def push() -> None:
        while not printed.wait(0.2):
            salesforce.peer.push(messages)

    pushing = threading.Thread(target=push)
    pushing.start()
    try:
        return line(output)
    finally:
        printed.set()
        pushing.join()


@pytest.fixture
def salesforce(cometd_peer: Peer) -> Salesforce:
    cometd_peer.script = Salesforce(cometd_peer)
    return cometd_peer.script


@pytest.mark.timeout(700)
def test_a_lost_session_and_an_expired_token(salesforce: Salesforce, tmp_path: Path) -> None:
    def marker(number: int) -> list[Any]:
        return [event(number)["data"]["event"]["createdDate"], number]

    with program(salesforce, "outages", tmp_path) as output:
        assert line(output) == ["open", "long-polling", True]
        assert line(output) == ["subscribed", [CHANNEL]]
        assert line(output) == ["message", 11, marker(11)]
        assert line(output) == ["message", 12, marker(12)]
        # The held connect learns that the session is lost; the replay begins after the last message that was received.
        assert line_after_push(salesforce, [], output) == ["message", 13, marker(13)]
        assert salesforce.replays == [None, {CHANNEL: 12}]
        assert salesforce.handshakes == 2
        salesforce.expire()
        # Ends the held connect: the next one is refused, and sent again with a new token.
        assert line_after_push(salesforce, [event(14)], output) == ["message", 14, marker(14)]
        assert line(output) == ["closed", True]
    requests = salesforce.peer.requests()
    assert requests[-1].name == "/meta/disconnect"
    assert 1 <= len([request for request in requests if "oauth2" in request.path]) <= 2


@pytest.mark.timeout(700)
def test_a_token_that_expires_with_the_session(salesforce: Salesforce, tmp_path: Path) -> None:
    with program(salesforce, "outages", tmp_path) as output:
        for _ in range(4):
            line(output)
        salesforce.expire()
        # The lost session is replaced, for which a new token is needed first.
        assert line_after_push(salesforce, [], output)[:2] == ["message", 13]
        assert line_after_push(salesforce, [event(14)], output)[:2] == ["message", 14]
        assert line(output) == ["closed", True]
    requests = salesforce.peer.requests()
    assert len([request for request in requests if "oauth2" in request.path]) == 2
    assert requests[-1].headers["authorization"] == "Bearer token-2"


@pytest.mark.timeout(700)
def test_a_marker_that_is_too_old(salesforce: Salesforce, tmp_path: Path) -> None:
    with program(salesforce, "fallback", tmp_path) as output:
        assert line(output) == ["subscribed", [CHANNEL]]
    assert salesforce.replays == [{CHANNEL: 7}, {CHANNEL: -2}]


@pytest.mark.timeout(700)
def test_a_refusal_has_the_exception_of_the_package(salesforce: Salesforce, tmp_path: Path) -> None:
    with program(salesforce, "no_fallback", tmp_path) as output:
        module, code, text = line(output)[1:]
    assert module == "aiosfstream_ng.exceptions" and code == 400 and text.startswith("The replayId {7} you provided")


@pytest.mark.timeout(700)
def test_a_login_that_fails(salesforce: Salesforce, tmp_path: Path) -> None:
    with program(salesforce, "wrong_password", tmp_path) as output:
        assert line(output) == ["failed", "Authentication failed", True]
