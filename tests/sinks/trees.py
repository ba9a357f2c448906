"""A log that exists nowhere but here: heads of any size, with their proofs, to write into sinks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from agent_sessions.audit.merkle import Frontier, consistency_plan, grow, leaf_hash
from agent_sessions.audit.notes import Checkpoint, sign_checkpoint
from agent_sessions.audit.submissions import Submission
from agent_sessions.audit.vkeys import SIGNS, NoteKey
from agent_sessions.crypto.signing import sign
from tests.golden.make_log import LOG_KEY, LOG_PRIVATE


class Tree:
    """A log of up to ``leaves`` leaves; another ``story`` is another history."""

    def __init__(self, origin: str = "shop.example/agent-sessions/1", *, story: str = "", leaves: int = 20) -> None:
        self.key = NoteKey(origin, SIGNS, LOG_KEY.public)
        self._story, self._leaves = story, leaves

    @cached_property
    def _hashes(self) -> list[bytes]:
        return [leaf_hash(f"{self._story}{n}".encode()) for n in range(self._leaves)]

    @cached_property
    def nodes(self) -> dict[tuple[int, int], bytes]:
        return {(node.level, node.position): node.hash for node in grow(Frontier(), self._hashes)[1]}

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(self.key.name, size, grow(Frontier(), self._hashes[:size])[0].root())

    def submission(self, old: int, new: int) -> Submission:
        """The head of ``new`` leaves, with the proof from ``old``."""
        note = sign_checkpoint(self.head(new), self.key, partial(sign, LOG_PRIVATE))
        return Submission(old, tuple(consistency_plan(old, new).hashes(self.nodes)), note)


class Endpoint(BaseHTTPRequestHandler):
    """Answers every POST as its server says, and keeps what came."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        status, kind, answer = self.server.answers.pop(0)  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status == 302:
            self.send_header("Location", self.path)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Answering(ThreadingHTTPServer):
    """An endpoint on this machine: give ``answers`` (status, type, body), find what came in ``got``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Endpoint)
        self.answers: list[tuple[int, str, bytes]] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Run a server in a thread; yield its URL."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
