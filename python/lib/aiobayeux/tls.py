"""TLS: which certificates a client trusts, and its own."""

from __future__ import annotations

import os
import ssl as _ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional, Union

from aiobayeux import _native
from aiobayeux.typing import Fingerprint, SSLValidationMode

__all__ = ["TlsOptions"]

PathLike = Union[str, "os.PathLike[str]"]
_USE_TLS = "use the option tls=aiobayeux.TlsOptions(...) instead"


@dataclass(frozen=True)
class TlsOptions:
    """Which certificates a client trusts over ``https`` and ``wss``. By default those that the operating system trusts.

    Paths are read when the client is opened. Texts are PEM.
    """

    #: More certificate authorities: PEM text, or the path of a file.
    ca: Union[str, bytes, PathLike, None] = None
    #: Whether only the authorities of :attr:`ca` are trusted.
    only_given_authorities: bool = False
    #: The client's own certificate chain and its private key: each PEM text, or the path of a file.
    client_certificate: Optional[tuple[Union[str, bytes, PathLike], Union[str, bytes, PathLike]]] = None
    #: SHA-256 digests of certificates, 32 bytes each. Exactly these are trusted, whatever their issuer and names.
    pins: tuple[bytes, ...] = ()
    #: Trusts every certificate. For tests only: anybody on the network can read and change all messages.
    dangerously_trust_anyone: bool = False

    def native(self) -> dict[str, Any]:
        """The form of the native module."""
        options: dict[str, Any] = {}
        if self.ca is not None:
            options["ca"] = [_pem(self.ca)]
        if self.only_given_authorities:
            options["only_given_authorities"] = True
        if self.client_certificate is not None:
            chain, key = self.client_certificate
            options["client_certificate"] = (_pem(chain), _pem(key))
        if self.pins:
            options["pins"] = _pins(self.pins)
        if self.dangerously_trust_anyone:
            options["trust_anyone"] = True
        return options


def _pem(given: Union[str, bytes, PathLike]) -> bytes:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str) and "-----BEGIN" in given:
        return given.encode()
    with open(given, "rb") as file:
        return file.read()


def _pins(digests: Iterable[bytes]) -> list[bytes]:
    pins = [bytes(digest) for digest in digests]
    for pin in pins:
        if len(pin) != 32:
            raise ValueError(f"a pin is a SHA-256 digest of 32 bytes, not {len(pin)}")
    return pins


def from_ssl(ssl: Union[SSLValidationMode, None]) -> Optional[dict[str, Any]]:
    """The native options for aiocometd's option ``ssl``; None for the default."""
    if ssl is None or ssl is True:
        return None
    if ssl is False:
        return {"trust_anyone": True}
    if isinstance(ssl, _ssl.SSLContext):
        return _from_context(ssl)
    if isinstance(ssl, Fingerprint):
        return {"pins": _pins([ssl.fingerprint])}
    raise TypeError(f"ssl must be None, False, an ssl.SSLContext or an aiohttp.Fingerprint, not {type(ssl).__name__}")


def _from_context(context: _ssl.SSLContext) -> dict[str, Any]:
    """What can be taken from a context: its authorities, and that it verifies nothing. All else is an error."""
    if context.verify_flags & (_ssl.VERIFY_CRL_CHECK_LEAF | _ssl.VERIFY_CRL_CHECK_CHAIN):
        raise ValueError(f"the revocation lists of an SSLContext cannot be taken: {_USE_TLS}, which has pins")
    if context.maximum_version not in (_ssl.TLSVersion.MAXIMUM_SUPPORTED, _ssl.TLSVersion.TLSv1_3):
        raise ValueError(
            "the maximum_version of an SSLContext cannot be taken: leave it as it is, the client agrees on TLS 1.2 or 1.3"
        )
    if context.minimum_version is _ssl.TLSVersion.TLSv1_3:
        raise ValueError(
            "the minimum_version of an SSLContext cannot be taken: leave it as it is, the client agrees on TLS 1.2 or 1.3"
        )
    if context.keylog_filename:
        raise ValueError("the keylog_filename of an SSLContext cannot be taken: unset it (and SSLKEYLOGFILE)")
    if _has_client_certificate(context):
        raise ValueError(
            "the client certificate of an SSLContext cannot be taken, because its key cannot be read: "
            "use the option tls=aiobayeux.TlsOptions(client_certificate=(chain, key)) instead"
        )
    if context.verify_mode is _ssl.CERT_NONE:
        return {"trust_anyone": True}
    if not context.check_hostname:
        raise ValueError(
            "check_hostname=False of an SSLContext cannot be taken: "
            "use the option tls=aiobayeux.TlsOptions(pins=(digest,)) for a certificate with another name, or ssl=False"
        )
    authorities = context.get_ca_certs(binary_form=True)
    system = _ssl.create_default_context().get_ca_certs(binary_form=True)
    if not authorities or set(authorities) == set(system):
        return {}
    pem = "".join(map(_ssl.DER_cert_to_PEM_cert, authorities))
    return {"ca": [pem.encode()], "only_given_authorities": True}


def _has_client_certificate(context: _ssl.SSLContext) -> bool:
    """Whether a certificate was loaded into a context, which it does not tell: a server in memory asks for it."""
    mode, checks_names = context.verify_mode, context.check_hostname
    try:
        context.check_hostname = False
        context.verify_mode = _ssl.CERT_NONE
        return _sends_certificate(context)
    finally:
        context.verify_mode = mode
        context.check_hostname = checks_names


def _sends_certificate(context: _ssl.SSLContext) -> bool:
    server_context = _ssl.SSLContext(_ssl.PROTOCOL_TLS_SERVER)
    server_context.maximum_version = _ssl.TLSVersion.TLSv1_2
    server_context.verify_mode = _ssl.CERT_OPTIONAL
    # Rarely needed, and slow to import.
    import tempfile

    certificate, key = _native.throwaway_certificate()
    with tempfile.TemporaryDirectory(prefix="aiobayeux-") as folder:
        path = os.path.join(folder, "server.pem")
        with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(certificate + key)
        server_context.load_cert_chain(path)
    to_server, to_client = _ssl.MemoryBIO(), _ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(8):
        done = True
        for side in (client, server):
            try:
                side.do_handshake()
            except _ssl.SSLWantReadError:
                done = False
            except _ssl.SSLError as error:
                # The server does not know the issuer of a certificate that it was sent.
                return side is server and "CERTIFICATE_VERIFY_FAILED" in str(error)
        if done:
            return server.getpeercert(binary_form=True) is not None
    return False
