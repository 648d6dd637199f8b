"""Certificates, and what the option `ssl` takes."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from aiobayeux import Client, ConnectionType, TlsOptions, _native
from aiobayeux.exceptions import TransportError
from aiobayeux.testing import Server
from aiobayeux.tls import from_ssl


@pytest.fixture
def tls_server() -> Any:
    with Server(tls=True) as server:
        yield server


async def works(url: str, **options: Any) -> None:
    async with Client(url, **options) as client:
        assert (await client.publish("/a", 1))["successful"]


async def fails(url: str, **options: Any) -> None:
    with pytest.raises(TransportError, match="certificate"):
        await Client(url, **options).open()


def context(server: Server) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=server.ca)
    return made


def digest(server: Server) -> bytes:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(server.address))).digest()


class Fingerprint:
    """As in aiohttp."""

    def __init__(self, fingerprint: bytes) -> None:
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint


@pytest.mark.parametrize("connection_type", list(ConnectionType))
async def test_what_is_trusted(tls_server: Server, connection_type: ConnectionType) -> None:
    await fails(tls_server.url, connection_types=connection_type)
    await works(tls_server.url, connection_types=connection_type, ssl=False)
    await works(tls_server.url, connection_types=connection_type, ssl=context(tls_server))
    await works(tls_server.url, connection_types=connection_type, ssl=Fingerprint(digest(tls_server)))
    await works(tls_server.url, connection_types=connection_type, tls=TlsOptions(ca=tls_server.ca))
    await works(tls_server.url, connection_types=connection_type, tls=TlsOptions(pins=(digest(tls_server),)))


async def test_what_is_not_trusted(tls_server: Server) -> None:
    with Server(tls=True) as other:
        await fails(tls_server.url, ssl=context(other))
        await fails(tls_server.url, ssl=Fingerprint(digest(other)))
        await fails(tls_server.url, tls=TlsOptions(ca=other.ca, only_given_authorities=True))
    await fails(tls_server.url, ssl=ssl.create_default_context())


async def test_a_context_that_verifies_nothing(tls_server: Server) -> None:
    made = ssl.create_default_context()
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    await works(tls_server.url, ssl=made)


async def test_paths(tls_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(tls_server.ca or "")
    await works(tls_server.url, tls=TlsOptions(ca=path))
    await works(tls_server.url, tls=TlsOptions(ca=str(path)))
    with pytest.raises(FileNotFoundError):
        await works(tls_server.url, tls=TlsOptions(ca=tmp_path / "missing.pem"))


async def test_client_certificates(tmp_path: Path) -> None:
    authority, chain, key = _native.client_certificate()
    with Server(tls=True, client_ca=authority) as server:
        await works(server.url, tls=TlsOptions(ca=server.ca, client_certificate=(chain, key)))
        with pytest.raises(TransportError):
            await works(server.url, tls=TlsOptions(ca=server.ca))
        (tmp_path / "client.pem").write_text(chain + key)
        made = context(server)
        assert from_ssl(made) is not None
        made.load_cert_chain(tmp_path / "client.pem")
        with pytest.raises(ValueError, match=r"use the option tls=aiobayeux.TlsOptions\(client_certificate="):
            await works(server.url, ssl=made)
        assert made.check_hostname and made.verify_mode is ssl.CERT_REQUIRED, "it is as it was"


def changed(change: Any) -> ssl.SSLContext:
    made = ssl.create_default_context()
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda made: setattr(made, "verify_flags", made.verify_flags | ssl.VERIFY_CRL_CHECK_LEAF), "revocation lists"),
        (lambda made: setattr(made, "maximum_version", ssl.TLSVersion.TLSv1_2), "maximum_version"),
        (lambda made: setattr(made, "minimum_version", ssl.TLSVersion.TLSv1_3), "minimum_version"),
        (lambda made: setattr(made, "check_hostname", False), "check_hostname=False"),
    ],
)
def test_what_cannot_be_taken_from_a_context(change: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        from_ssl(changed(change))


def test_other_values() -> None:
    assert from_ssl(None) is None and from_ssl(True) is None
    with pytest.raises(ValueError, match="32 bytes"):
        from_ssl(Fingerprint(b"short"))
    with pytest.raises(TypeError, match=r"an ssl\.SSLContext or an aiohttp\.Fingerprint"):
        from_ssl("yes")  # type: ignore[arg-type]


def test_the_fingerprint_of_aiohttp() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    assert from_ssl(aiohttp.Fingerprint(bytes(32))) == {"pins": [bytes(32)]}
