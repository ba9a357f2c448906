"""Sending a head over HTTP: one POST, bounded in time and size, that follows no redirect."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Timer
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from agent_sessions.audit.submissions import Submission
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks.base import OtherHeadKept, SinkBehind, SinkFailed

_MOST: Final = 64 * 1024
"""Bytes of an answer that are read."""
_IN_ALL: Final = 10
"""Times the timeout that a request and its answer may take together."""
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Reply(NamedTuple):
    """What an endpoint answered. ``kind`` is the Content-Type without its parameters."""

    status: int
    kind: str
    body: bytes


class Endpoint:
    """A URL that heads are posted to, within ``timeout`` seconds for each wait on the network, and ten times that for
    all of it: who answers a byte at a time holds up the log no longer.
    """

    def __init__(self, sink: str, url: str, timeout: float) -> None:
        """Raise InvalidValue for what is no URL, and for http elsewhere than on this machine."""
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except (ValueError, TypeError, AttributeError):
            raise InvalidValue("/url", "is not a URL") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self._host in _LOCAL):
            raise InvalidValue("/url", "is not an https URL (http is for this machine alone)")
        if not self._host or parts.username or parts.password or parts.fragment:
            raise InvalidValue("/url", "has no host, or a user, a password or a fragment")
        if type(timeout) not in (int, float) or not 0 < timeout <= 60:
            raise InvalidValue("/timeout", "is not a number of seconds above 0 and up to 60")
        self._sink, self._timeout, self._tls = sink, timeout, parts.scheme == "https"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a body of text. Raises SinkFailed when there is no answer."""
        connection = self._connection()
        hurry = Timer(_IN_ALL * self._timeout, _hang_up, [connection])
        hurry.daemon = True
        hurry.start()
        try:
            connection.request("POST", self._target, body, {"Content-Type": "text/plain; charset=utf-8", **headers})
            answer = connection.getresponse()
            kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
            return Reply(answer.status, kind, answer.read(_MOST))
        except (OSError, http.client.HTTPException) as error:
            problem = "no answer in time" if isinstance(error, socket.timeout) else str(error) or type(error).__name__
            raise SinkFailed(self._sink, f"{self._host}: {problem}") from error
        finally:
            hurry.cancel()
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    """End whatever waits on a connection; closing it would leave its reader waiting."""
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


class PostingSink:
    """What the sinks that heads are posted to have in common: they cannot be read back, so there is nothing in them."""

    readable = False

    def newest(self, origin: str) -> None:  # noqa: ARG002
        return

    def origins(self) -> list[str]:
        return []

    def heads(self, origin: str) -> Iterator[Submission]:  # noqa: ARG002
        return iter(())

    def cosignatures(self, note: str) -> Sequence[str]:  # noqa: ARG002
        return ()


def check_conflict(sink: str, submission: Submission, reply: Reply) -> None:
    """Raise OtherHeadKept or SinkBehind if an answer says so: 409 with the size that is known there (tlog-witness)."""
    text = reply.body.removesuffix(b"\n")
    if reply.status != 409 or reply.kind != "text/x.tlog.size" or not 0 < len(text) <= 19 or not text.isdigit():
        return
    known, head = int(text), submission.head
    if known > head.size or known == submission.old == head.size:
        raise SinkBehind(sink, head.origin, size=head.size, known=known)
    if known != submission.old:
        raise OtherHeadKept(known)
