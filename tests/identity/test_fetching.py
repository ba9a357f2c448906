"""A directory is fetched over TLS from a public address, in bounded time and bytes, or not at all."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions.identity.fetching import (
    MAX_BYTES,
    MEDIA_TYPE,
    WELL_KNOWN,
    DirectoryUnavailable,
    FetchedDirectory,
    fetch_directory,
    is_public,
    origin_of,
)
from tests.identity.tls import HOST, DirectoryServer, sending, trusting

Leads = Callable[..., list[object]]
SMALL = b'{"keys":[]}'


def response(body: bytes = SMALL, *, status: str = "200 OK", kind: str = MEDIA_TYPE, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@pytest.fixture
def leads(monkeypatch: pytest.MonkeyPatch) -> Leads:
    """Let the name ``agent.test`` lead to addresses; returns the list of the names that were looked up."""
    real = socket.getaddrinfo

    def lead(*addresses: str) -> list[object]:
        asked: list[object] = []

        def look_up(host: Any, port: Any, *rest: Any, **named: Any) -> list[Any]:
            if host != HOST:
                return real(host, port, *rest, **named)
            asked.append(host)
            if not addresses:
                raise socket.gaierror("no such name")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return lead


def fetch(server: DirectoryServer, **facts: Any) -> FetchedDirectory:
    return fetch_directory(server.origin, **{"allow_private": True, "context": trusting(), **facts})


def test_a_directory_is_asked_for_at_its_well_known_address(leads: Leads) -> None:
    asked = leads("127.0.0.1")
    with DirectoryServer(sending(response(more="Cache-Control: public, max-age=600\r\n"))) as server:
        assert fetch(server) == FetchedDirectory(SMALL, 600)

    head = server.requests[0].decode().split("\r\n")
    assert head[0] == f"GET {WELL_KNOWN} HTTP/1.1"
    assert f"Host: {HOST}:{server.port}" in head
    assert f"Accept: {MEDIA_TYPE}" in head
    assert asked == [HOST], "the name is looked up once, so it cannot lead elsewhere between check and connection"


@pytest.mark.parametrize(
    ("field", "max_age"),
    [
        ("", None),
        ("Cache-Control: private\r\n", None),
        ("Cache-Control: max-age=x\r\n", None),
        ("Cache-Control: MAX-AGE=30\r\n", 30),
        ('Cache-Control: private\r\nCache-Control: max-age="40"\r\n', 40),
        ("Cache-Control: no-store, max-age=600\r\n", 0),
        ("Cache-Control: max-age=600, no-cache\r\n", 0),
    ],
)
def test_the_age_is_what_the_server_says(leads: Leads, field: str, max_age: int | None) -> None:
    leads("127.0.0.1")
    with DirectoryServer(sending(response(more=field))) as server:
        assert fetch(server).max_age == max_age


def test_a_directory_in_chunks_and_with_parameters_of_its_type_is_read(leads: Leads) -> None:
    leads("127.0.0.1")
    raw = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA_TYPE}; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        '5\r\n{"key\r\n6\r\ns":[]}\r\n0\r\n\r\n'
    )
    with DirectoryServer(sending(raw.encode())) as server:
        assert fetch(server).document == SMALL


def test_the_largest_directory_fits(leads: Leads) -> None:
    leads("127.0.0.1")
    with DirectoryServer(sending(response(b" " * MAX_BYTES))) as server:
        assert len(fetch(server).document) == MAX_BYTES


def test_another_address_is_tried_when_one_does_not_answer(leads: Leads) -> None:
    leads("127.0.0.2", "127.0.0.1")
    with DirectoryServer(sending(response())) as server:
        assert fetch(server).document == SMALL


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: " + MEDIA_TYPE.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (response(status="404 Not Found"), "answered 404"),
        (response(status="203 Non-Authoritative Information"), "answered 203"),
        (response(status="206 Partial Content"), "answered 206"),
        (response(status="301 Moved", more="Location: https://elsewhere.example/\r\n"), "answered 301"),
        (response(status="307 Moved", more="Location: https://127.0.0.1/\r\n"), "answered 307"),
        (response(status="503 Unavailable"), "answered 503"),
        (response(kind="application/json"), "not served as"),
        (response(kind="text/html"), "not served as"),
        (response(more="Content-Encoding: gzip\r\n"), "compressed"),
        (response(b" " * (MAX_BYTES + 1)), "larger than"),
        (ENDLESS + b"1\r\n \r\n" * 200_000, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Padding: 1\r\n" * 200, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nX-Padding: " + b"1" * 300_000, "could not be fetched"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, "could not be fetched"),
        (b"SSH-2.0-OpenSSH\r\n", "could not be fetched"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "could not be fetched"),
        (b"", "could not be fetched"),
    ],
)
def test_every_other_answer_is_refused(leads: Leads, raw: bytes, said: str) -> None:
    leads("127.0.0.1")
    with DirectoryServer(sending(raw)) as server, pytest.raises(DirectoryUnavailable, match=said):
        fetch(server)


def silent(_connection: ssl.SSLSocket, stop: threading.Event) -> None:
    stop.wait(10)


def trickling(connection: ssl.SSLSocket, stop: threading.Event) -> None:
    """A whole good answer, each byte soon after the last: only a limit of the total time ends it."""
    for byte in response():
        if stop.wait(0.05):
            return
        connection.sendall(bytes([byte]))


@pytest.mark.parametrize(("answer", "step", "total"), [(silent, 0.2, 60), (silent, 60, 0.2), (trickling, 60, 0.5)])
def test_a_server_cannot_hold_the_site_up(leads: Leads, answer: Any, step: float, total: float) -> None:
    leads("127.0.0.1")
    begun = time.monotonic()
    with DirectoryServer(answer) as server:
        with pytest.raises(DirectoryUnavailable):
            fetch(server, step=step, total=total)
        assert time.monotonic() - begun < 5


def test_a_name_that_is_slow_to_look_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def slow(*_args: Any, **_named: Any) -> list[Any]:
        release.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    with pytest.raises(DirectoryUnavailable):
        fetch_directory("https://agent.test", step=0.1)
    assert time.monotonic() - begun < 5
    release.set()


def test_only_trusted_certificates_of_the_right_name_count(leads: Leads) -> None:
    leads("127.0.0.1")
    with DirectoryServer(sending(response())) as server, pytest.raises(DirectoryUnavailable, match="SSLCert"):
        fetch(server, context=None)
    with DirectoryServer(sending(response())) as server, pytest.raises(DirectoryUnavailable, match="SSLCert"):
        fetch_directory(f"https://localhost:{server.port}", allow_private=True, context=trusting())
    assert server.requests == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["93.184.216.34", "127.0.0.1"], ["::1"], []]
)
def test_a_name_that_leads_inside_is_refused_before_any_connection(
    leads: Leads, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    tried: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda address, **_: tried.append(address))
    leads(*addresses)

    with pytest.raises(DirectoryUnavailable):
        fetch_directory(f"https://{HOST}")
    assert tried == []


def test_the_checked_address_is_the_one_that_is_connected_to(leads: Leads, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refuse(address: object, **_named: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    asked = leads("93.184.216.34", "93.184.216.35")

    with pytest.raises(DirectoryUnavailable, match="ConnectionRefusedError"):
        fetch_directory(f"https://{HOST}:8443")
    assert tried == [("93.184.216.34", 8443), ("93.184.216.35", 8443)]
    assert asked == [HOST]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse, not to bind to
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.0.2.1", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::1", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("2002:7f00:1::", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_public_addresses_are_told_from_the_others(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://agent.example", "https://agent.example"),
        ("HTTPS://Agent.Example:0443/", "https://agent.example"),
        ("https://agent.example:8443", "https://agent.example:8443"),
        (f"https://agent.example{WELL_KNOWN}", "https://agent.example"),
    ],
)
def test_an_origin_has_one_spelling(url: str, origin: str) -> None:
    assert origin_of(url) == origin
