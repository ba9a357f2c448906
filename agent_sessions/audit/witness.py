"""The witness: a small program, run by someone else than the shop, that follows its log: ``agent-sessions-witness``.

Needs Python and ``cryptography``, neither Django nor the shop. A witness on the shop's own machine, under the shop's
own user, witnesses nothing.

Exit codes: 0 done; 1 a head was refused, or the log has shrunk; 2 wrong use.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from agent_sessions.audit.submissions import (
    HEAD_FILES,
    MAX_SUBMISSION,
    Submission,
    cosignature_file,
    read_submission,
)
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witnessing import Refused, Witness
from agent_sessions.exceptions import KeyProblem, NoteRefused

_WAIT: Final = 30
"""Seconds that a client may take over its request."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. ``arguments`` default to those of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "init":
            print(Witness.create(options.home, options.name).key.text)
            return 0
        witness = Witness(options.home)
        if options.command == "show":
            return _show(witness)
        if options.command == "add-log":
            key = read_vkey(options.vkey)
            witness.add_log(key)
            print(f"Following {key.name}.")
            return 0
        if options.command == "cosign":
            return cosign_folder(witness, options.directory)
        return _serve(witness, options.host, options.port)
    except (KeyProblem, OSError, sqlite3.Error) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent-sessions-witness",
        description="Follow a shop's log and co-sign its tree heads, as long as they are of one history.",
        epilog="Exit codes: 0 done, 1 a head was refused or the log has shrunk, 2 wrong use.",
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path.home() / ".agent-sessions-witness",
        help="folder of the key and the memory (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make a witness: a new key and an empty memory")
    init.add_argument("name", help="the witness's name, as witness.example/w1")
    commands.add_parser("show", help="print the witness's key and what it remembers")
    commands.add_parser("add-log", help="follow a log, or trust a new key of one").add_argument("vkey")
    serve = commands.add_parser("serve", help="answer POST /add-checkpoint (C2SP tlog-witness)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8787, help="port to listen on (default: %(default)s)")
    cosign = commands.add_parser("cosign", help="co-sign the heads that a shop has written into a folder")
    cosign.add_argument("--directory", type=Path, required=True, help="the folder")
    return parser


def _show(witness: Witness) -> int:
    print(witness.key.text)
    for known in witness.known():
        seen = datetime.fromtimestamp(known.seen_at, UTC).isoformat() if known.seen_at else "never"
        print(f"{known.origin}: size {known.size}, seen {seen}, {known.refusals} refused, {known.alarms} alarms")
    return 0


def cosign_folder(witness: Witness, folder: Path) -> int:
    """Co-sign the heads in a folder, the smallest first, each beside its file. Returns the exit code.

    Reads ``head-*.txt`` at any depth (submissions). Of heads that were seen before, nothing is said again. Prints
    what it did and why it refused; a log whose largest head is smaller than the one remembered has shrunk.
    """
    if not folder.is_dir():
        raise KeyProblem(f"{folder} is not a folder. Name the one that the shop writes its heads into.")
    found: dict[str, list[tuple[Submission, Path]]] = {}
    bad = 0
    for file in sorted(folder.rglob(HEAD_FILES)):
        try:
            with file.open("rb") as opened:
                submission = read_submission(opened.read(MAX_SUBMISSION + 1))
            found.setdefault(submission.head.origin, []).append((submission, file))
        except NoteRefused as error:
            bad += _say(f"{file.name}: refused, {error.problem}")
    for origin, heads in found.items():
        heads.sort(key=lambda pair: pair[0].head.size)
        try:
            bad += sum(_cosign_file(witness, *pair) for pair in heads)
            known, largest = witness.find(origin), heads[-1][0].head.size
        except Refused as refused:
            bad += _say(f"{origin}: {refused.message}")
            continue
        if largest < known.size:
            bad += _say(f"{origin}: HAS SHRUNK from {known.size} to {largest}: the log was rolled back or cut")
    return 1 if bad else 0


def _cosign_file(witness: Witness, submission: Submission, file: Path) -> int:
    """Co-sign one head; returns 1 when it was refused."""
    head, known = submission.head, witness.find(submission.head.origin)
    answer = file.with_name(cosignature_file(file.name, witness.key.key_id))
    if head.size < known.size or (head.root == known.root and answer.exists()):
        return 0
    if known.size in (0, head.size):
        # The first head that a witness sees is taken as it is; and of a head that it knows nothing is to be proven.
        submission = Submission(known.size, (), submission.note)
    try:
        made = witness.consider(submission)
    except Refused as refused:
        return _say(f"{file.name}: REFUSED, {refused.message}")
    partly = answer.with_name(f".{answer.name}.{os.getpid()}")
    partly.write_text(made.line, encoding="utf-8")
    partly.replace(answer)
    print(f"{file.name}: co-signed, {head.size} leaves")
    return 0


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


class Server(ThreadingHTTPServer):
    """Answers ``POST /add-checkpoint`` for one witness."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        super().__init__(address, Handler)
        self.witness = witness


class Handler(BaseHTTPRequestHandler):
    """One connection. The body is bounded, and so is the time that a client may take over it."""

    protocol_version = "HTTP/1.1"
    server_version = "agent-sessions-witness"
    timeout = _WAIT
    server: Server

    def do_POST(self) -> None:
        """Answer a submission."""
        length = self.headers.get("Content-Length", "")
        if self.path != "/add-checkpoint":
            self._answer(404, "This witness answers POST /add-checkpoint only.\n", close=True)
        elif not length.isascii() or not length.isdigit() or len(length) > 9 or int(length) > MAX_SUBMISSION:
            self._answer(400, f"Give a Content-Length of up to {MAX_SUBMISSION}.\n", close=True)
        else:
            self._consider(self.rfile.read(int(length)))

    def _consider(self, body: bytes) -> None:
        try:
            made = self.server.witness.consider(read_submission(body))
        except NoteRefused as error:
            self._answer(400, f"{error.message}\n")
        except Refused as refused:
            if refused.known_size is None:
                self._answer(refused.http_status, f"{refused.message}\n")
            else:
                self._answer(refused.http_status, f"{refused.known_size}\n", kind="text/x.tlog.size")
        except sqlite3.OperationalError as error:
            self._answer(503, f"The memory cannot be written ({error}). Try again.\n")
        else:
            self._answer(200, made.line)

    def _answer(self, status: int, text: str, *, kind: str = "text/plain; charset=utf-8", close: bool = False) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if close:  # what is left of the request must not be read as the next one
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _serve(witness: Witness, host: str, port: int) -> int:
    with Server((host, port), witness) as server:
        print(f"{witness.key.name} answers at http://{host}:{server.server_port}/add-checkpoint", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
