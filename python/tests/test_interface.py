"""The interface of aiocometd: names, signatures, texts and the tree of exceptions."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import aiobayeux
from aiobayeux import AuthExtension, Client, ConnectionType, Extension, constants, exceptions


def test_the_signature_of_a_client() -> None:
    parameters = inspect.signature(Client).parameters
    expected = {
        "url": inspect.Parameter.empty,
        "connection_types": None,
        "connection_timeout": 10.0,
        "ssl": None,
        "max_pending_count": 100,
        "extensions": None,
        "auth": None,
        "json_dumps": json.dumps,
        "json_loads": json.loads,
        "loop": None,
    }
    assert {name: parameters[name].default for name in expected} == expected
    assert list(parameters)[:2] == ["url", "connection_types"]
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in list(parameters)[2:])


def test_the_tree_of_exceptions() -> None:
    tree = {
        "AiocometdException": Exception,
        "TransportError": exceptions.AiocometdException,
        "TransportInvalidOperation": exceptions.TransportError,
        "TransportTimeoutError": exceptions.TransportError,
        "TransportConnectionClosed": exceptions.TransportError,
        "ServerError": exceptions.AiocometdException,
        "ClientError": exceptions.AiocometdException,
        "ClientInvalidOperation": exceptions.ClientError,
    }
    for name, base in tree.items():
        assert getattr(exceptions, name).__bases__ == (base,)


@pytest.mark.parametrize(
    ("error", "code", "message", "arguments"),
    [
        ("403:chat,ann:denied", 403, "denied", ["chat", "ann"]),
        ("401::Unknown client", 401, "Unknown client", []),
        ("no code", None, None, None),
        ("403:denied", 403, "denied", None),
        ("40:x:y", None, "y", ["x"]),
        ("4031::z", 403, "z", []),
        ("", None, None, None),
        (":a:b:c", None, "c", ["a:b"]),
        (None, None, None, None),
    ],
)
def test_the_parts_of_an_error(error: str | None, code: Any, message: Any, arguments: Any) -> None:
    response = {"channel": "/a", "successful": False, "error": error}
    raised = exceptions.ServerError("text", response)
    assert (raised.message, raised.response, raised.error) == ("text", response, error)
    assert (raised.error_code, raised.error_message, raised.error_args) == (code, message, arguments)
    assert raised.args == ("text", response)
    copy = pickle.loads(pickle.dumps(raised))
    assert copy.args == raised.args


def test_an_error_without_a_response() -> None:
    raised = exceptions.ServerError("text", None)
    assert (raised.response, raised.error, raised.error_code, raised.error_message, raised.error_args) == (None,) * 5


def test_constants() -> None:
    assert [item.value for item in ConnectionType] == ["long-polling", "websocket"]
    assert constants.MetaChannel.HANDSHAKE == "/meta/handshake"
    assert {item.name for item in constants.MetaChannel} == {
        "HANDSHAKE",
        "CONNECT",
        "DISCONNECT",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
    }
    assert json.dumps({"channel": constants.MetaChannel.CONNECT}) == '{"channel": "/meta/connect"}'


def test_extensions_are_abstract() -> None:
    for base in (Extension, AuthExtension):
        with pytest.raises(TypeError, match="abstract"):
            base()
    assert issubclass(AuthExtension, Extension)


def test_repr() -> None:
    text = repr(Client("http://localhost/cometd", ConnectionType.WEBSOCKET, connection_timeout=1, ssl=False))
    assert text.startswith("Client('http://localhost/cometd', [<ConnectionTy...: 'websocket'>]")
    assert "connection_timeout=1, ssl=False, max_pending_count=100, extensions=None, auth=None, loop=None" in text


def test_everything_that_is_public_has_a_docstring() -> None:
    for name in aiobayeux.__all__:
        item = getattr(aiobayeux, name)
        if not name.startswith("_"):
            assert item.__doc__, name
        if inspect.isclass(item):
            for key, member in vars(item).items():
                if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                    assert inspect.getdoc(getattr(item, key)), f"{name}.{key}"


def run(program: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("name", ["aiocometd", "aiocometd_ng"])
def test_the_package_under_the_name_of_aiocometd(name: str) -> None:
    out = run(
        f"""
        import aiobayeux.compat
        aiobayeux.compat.install("{name}")
        aiobayeux.compat.install("{name}")
        import {name}
        import {name}.exceptions as errors
        from {name} import Client, ConnectionType, Extension, AuthExtension
        from {name}.client import Client as Same
        from {name}.constants import MetaChannel
        from {name}.extensions import Extension as SameExtension
        from {name}.typing import JsonObject, JsonDumper, JsonLoader, Payload, Headers, SSLValidationMode
        import aiobayeux
        assert Client is Same is aiobayeux.Client and errors is aiobayeux.exceptions and SameExtension is Extension
        print(Client("http://localhost/cometd").closed, {name}.__version__)
        """
    )
    assert out.split() == ["True", aiobayeux.__version__]


def test_a_module_that_was_imported_is_not_replaced() -> None:
    out = run(
        """
        import sys, types
        sys.modules["aiocometd"] = types.ModuleType("aiocometd")
        from aiobayeux.compat import install
        try:
            install("aiocometd")
        except ImportError as error:
            print(error)
        try:
            install("a.b")
        except ValueError as error:
            print(error)
        """
    )
    assert "call install('aiocometd') before anything imports it" in out and "top-level module" in out
