"""A proxy before PostgreSQL on which connections break at a commit: before it, or with its answer lost.

It follows the protocol just so far as to know where that is: messages with a type and a length, and what the server
says of the transaction at the end of each answer. Clients have to connect without SSL.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

WRITES = (b"INSERT", b"UPDATE", b"DELETE", b"SELECT agent_sessions_write")
_QUERIES = (b"Q", b"P")
"""A statement that is run at once, and one that is given its parameters after that."""
_READY, _IDLE = b"Z", b"I"
_AT_MOST = 65536


@dataclass(frozen=True, slots=True)
class Break:
    """What happens at a commit: it has come to the server and is ``stored``, or not; and then ``strike``."""

    stored: bool
    strike: Callable[[], None] = lambda: None


Plan = Callable[[int], Break | None]
"""Tells by its number how a commit breaks, if it does."""


class Proxy:
    """Listens on ``port`` until the end of the block. In ``breaking`` commits are counted, and break as planned."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._plan: Plan | None = None
        self.commits = 0
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._wires: list[_Wire] = []

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for wire in self._wires:
            wire.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @contextmanager
    def breaking(self, plan: Plan) -> Iterator[None]:
        """Let commits break; their numbers go on from one block to the next."""
        self._plan = plan
        try:
            yield
        finally:
            self._plan = None

    def reach(self) -> Break | None:
        """Count a commit that is asked for; return how it breaks."""
        if self._plan is None:
            return None
        self.commits += 1
        planned = self._plan(self.commits)
        self.broken += planned is not None
        return planned

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:  # it is down
                client.close()
                continue
            wire = _Wire(client, server, self.reach)
            self._wires.append(wire)
            self._start(wire.run)


class _Wire:
    """One connection of a client, and its own to the server."""

    def __init__(self, client: socket.socket, server: socket.socket, reach: Callable[[], Break | None]) -> None:
        self._client, self._server, self._reach = client, server, reach
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._from_client, self._from_server = _Messages(has_start=True), _Messages()
        self._status = b""
        self._lost: Break | None = None

    def run(self) -> None:
        """Carry messages until one side is gone, or the connection breaks."""
        with self._client, self._server, suppress(OSError):
            while True:
                for side in select.select([self._client, self._server], [], [])[0]:
                    heard = side.recv(_AT_MOST)
                    goes_on = self._ask(heard) if side is self._client else self._answer(heard)
                    if not heard or not goes_on:
                        return

    def cut(self) -> None:
        for side in (self._client, self._server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _ask(self, heard: bytes) -> bool:
        for kind, message in self._from_client.read(heard):
            if kind in _QUERIES and self._commits(_statement(kind, message)):
                planned = self._reach()
                if planned is not None and not planned.stored:
                    planned.strike()
                    return False
                self._lost = self._lost or planned
            self._server.sendall(message)
        return True

    def _answer(self, heard: bytes) -> bool:
        for kind, message in self._from_server.read(heard):
            if kind == _READY:
                self._status = message[-1:]
                if self._lost is not None:
                    self._lost.strike()
                    return False
            if self._lost is None:
                self._client.sendall(message)
        return True

    def _commits(self, statement: bytes) -> bool:
        return statement.startswith(WRITES if self._status == _IDLE else b"COMMIT")


class _Messages:
    """Takes a stream apart; the first message of a client has no type."""

    def __init__(self, *, has_start: bool = False) -> None:
        self._rest = b""
        self._type_size = 0 if has_start else 1

    def read(self, heard: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the type and the whole of each message that has come to its end."""
        self._rest += heard
        while len(self._rest) >= (head := self._type_size + 4):
            (length,) = struct.unpack("!I", self._rest[head - 4 : head])
            size = self._type_size + length
            if len(self._rest) < size:
                return
            message, self._rest = self._rest[:size], self._rest[size:]
            yield message[: self._type_size], message
            self._type_size = 1


def _statement(kind: bytes, message: bytes) -> bytes:
    """Return the SQL that a message asks for."""
    content = message[5:]
    return (content if kind == b"Q" else content.partition(b"\0")[2]).lstrip()
