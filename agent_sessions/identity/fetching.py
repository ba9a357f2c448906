"""Fetch a key directory from an agent's site, so that whoever chooses its address gains nothing by the choice.

The precautions are those of draft-ietf-webbotauth-httpsig-protocol, "Server-Side Request Forgery": https alone, no
redirects, bounded bytes and time, and only public addresses. The name is resolved once and the checked address is
the one that is connected to, so a name that changes its address in between (DNS rebinding) leads nowhere else.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Final, cast

WELL_KNOWN: Final = "/.well-known/http-message-signatures-directory"
MEDIA_TYPE: Final = "application/http-message-signatures-directory+json"
MAX_BYTES: Final = 64 * 1024
MAX_HEADER_BYTES: Final = 16 * 1024
STEP_SECONDS: Final = 3.0
"""The longest wait for each of: the name, one connection, the handshake, the next bytes."""
TOTAL_SECONDS: Final = 6.0
MAX_ADDRESSES: Final = 3
"""How many of a name's addresses are tried."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN: Final = re.compile(
    rf"(?i:https://({_LABEL}(?:\.{_LABEL})*))(?::([0-9]{{1,5}}))?(?:/|{re.escape(WELL_KNOWN)})?"
)
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class DirectoryUnavailable(Exception):
    """The directory could not be read. The message says why, for the site's log; it holds nothing that was sent."""


@dataclass(frozen=True, slots=True)
class FetchedDirectory:
    """A directory as served. ``max_age`` is for how many seconds it is good, or None where the server does not say."""

    document: bytes
    max_age: int | None = None


def origin_of(url: str) -> str:
    """Write the origin of a key directory in its one spelling: ``https://agent.example`` or with a port.

    The directory's full well-known address stands for its origin too. Raises ValueError for every other URL: another
    scheme, a path, a query, a user name, a host that is not ASCII.
    """
    found = _ORIGIN.fullmatch(url)
    if found is None or not 0 < int(found[2] or 443) < 65536:
        raise ValueError("is not the https origin of a key directory, such as https://agent.example")
    port = int(found[2] or 443)
    return f"https://{found[1].lower()}" + ("" if port == 443 else f":{port}")


def fetch_directory(
    origin: str,
    *,
    allow_private: bool = False,
    context: ssl.SSLContext | None = None,
    step: float = STEP_SECONDS,
    total: float = TOTAL_SECONDS,
) -> FetchedDirectory:
    """Fetch the key directory of an origin that ``origin_of`` wrote.

    ``allow_private`` lifts the rule that only public addresses are connected to; ``context`` replaces the system's
    trusted authorities; ``step`` and ``total`` are seconds. Proxies of the environment are not used: a site that may
    only go out through one gives the verifier a ``fetch`` of its own. Raises DirectoryUnavailable.
    """
    host, _, port = origin.removeprefix("https://").partition(":")
    deadline = time.monotonic() + total
    try:
        addresses = _resolve(host, int(port or 443), min(step, total))
        if not allow_private and not all(is_public(address) for address in addresses):
            raise DirectoryUnavailable("the name of the key directory leads to an address that is not public")
        with _connect(addresses, int(port or 443), step, deadline) as plain:
            plain.settimeout(_left(step, deadline))
            trust = context or ssl.create_default_context()
            with trust.wrap_socket(plain, server_hostname=host) as connection:
                return _get(connection, origin, step, deadline)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DirectoryUnavailable(f"the key directory could not be fetched ({type(error).__name__})") from error


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open internet: not private, loopback, link-local or reserved."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            # 6to4 and Teredo carry another address inside; no directory needs them.
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None and ip.teredo is None
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """Look a name up. The system's resolver knows no timeout, so it is asked in a thread that may be left behind."""
    answer: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        answer.put([str(entry[4][0]) for entry in found])

    threading.Thread(target=ask, daemon=True, name="agent-directory-lookup").start()
    try:
        addresses = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if not addresses:
        raise OSError("the name does not resolve")
    return addresses[:MAX_ADDRESSES]


def _connect(addresses: list[str], port: int, step: float, deadline: float) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=_left(step, deadline))
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout=_left(step, deadline))


def _get(connection: ssl.SSLSocket, origin: str, step: float, deadline: float) -> FetchedDirectory:
    request = (
        f"GET {WELL_KNOWN} HTTP/1.1\r\nHost: {origin.removeprefix('https://')}\r\nAccept: {MEDIA_TYPE}\r\n"
        "Accept-Encoding: identity\r\nUser-Agent: agent-sessions\r\nConnection: close\r\n\r\n"
    )
    connection.settimeout(_left(step, deadline))
    connection.sendall(request.encode("ascii"))
    response = http.client.HTTPResponse(cast(socket.socket, _Bounded(connection, step, deadline)), method="GET")
    with response:
        response.begin()
        if response.status != 200:
            raise DirectoryUnavailable(f"the key directory answered {response.status}, not 200")
        if response.headers.get_content_type() != MEDIA_TYPE:
            raise DirectoryUnavailable(f"the key directory is not served as {MEDIA_TYPE}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DirectoryUnavailable("the key directory is served compressed, which was not asked for")
        document = response.read(MAX_BYTES + 1)
        if len(document) > MAX_BYTES:
            raise DirectoryUnavailable(f"the key directory is larger than {MAX_BYTES} bytes")
        return FetchedDirectory(document, _max_age(response.headers.get_all("Cache-Control") or []))


def _max_age(fields: list[str]) -> int | None:
    directives = [part.strip().lower() for field in fields for part in field.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0
    for directive in directives:
        found = re.fullmatch(r'max-age="?([0-9]{1,10})"?', directive)
        if found:
            return int(found[1])
    return None


def _left(step: float, deadline: float) -> float:
    """Seconds that the next step may take."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for a key directory is over")
    return min(step, left)


class _Bounded(io.RawIOBase):
    """The connection as a file that ends the reading when the time or the bytes run out.

    A timeout of the socket alone does not: a server that sends one byte before each of them could go on for ever.
    """

    def __init__(self, connection: ssl.SSLSocket, step: float, deadline: float) -> None:
        self._connection = connection
        self._step = step
        self._deadline = deadline
        self._bytes_left = MAX_HEADER_BYTES + 2 * MAX_BYTES  # chunked transfer can double the bytes

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_left(self._step, self._deadline))
        count = self._connection.recv_into(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise OSError("the key directory sends too much")
        return count
