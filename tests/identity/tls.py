"""A TLS server on this machine, under a certificate authority of its own, that answers what a test wants."""

from __future__ import annotations

import datetime
import functools
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "agent.test"
_FROM, _UNTIL = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2100))

Answer = Callable[[ssl.SSLSocket, threading.Event], None]


def sending(raw: bytes) -> Answer:
    """An answer that is these bytes and the end of the connection."""

    def answer(connection: ssl.SSLSocket, _stop: threading.Event) -> None:
        connection.sendall(raw)

    return answer


class DirectoryServer:
    """Serves on a free port of 127.0.0.1 as ``agent.test`` and keeps what it was sent in ``requests``."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self._stop.set()
        # Wakes the thread where nobody connected.
        with socket.create_connection(("127.0.0.1", self.port)):
            self._thread.join(timeout=10)
        self._listener.close()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with plain:
            plain.settimeout(10)
            try:
                with _server_context().wrap_socket(plain, server_side=True) as connection:
                    self.requests.append(connection.recv(65536))
                    self._answer(connection, self._stop)
            except OSError:
                # The client hung up, as it should in many of the tests.
                return


def trusting() -> ssl.SSLContext:
    """The client's context: as strict as the system's, with the authority of the tests as the only one."""
    return ssl.create_default_context(cadata=_certificates()[0])


@functools.cache
def _server_context() -> ssl.SSLContext:
    _, chain = _certificates()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_bytes(chain)
        context.load_cert_chain(path)
    return context


@functools.cache
def _certificates() -> tuple[str, bytes]:
    """The authority's certificate, and the server's with its key; both as PEM."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("Authority of the tests")
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    usage = dict.fromkeys((*unused, "decipher_only"), False)
    root = (
        _builder(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), critical=True
        )
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _builder(_name(HOST), authority, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return root.public_bytes(pem).decode(), leaf.public_bytes(pem) + private


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
