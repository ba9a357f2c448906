"""Verify the artifact of a session, offline: ``python -m agent_sessions.audit.verify FILE --key KEY``.

Needs neither Django nor the shop, only the site's public key (``audit.public_key`` of its agents.json, got by
a way that you trust). The key inside an artifact is never trusted: whoever forges one signs it with a key of
his own.

Exit codes: 0 good; 1 not good; 2 the command was wrong or a file could not be read; 3 good by itself, but no
key was given, so it is open who signed it.

Codes of problems, in the order in which they are looked for; a stage is entered only when those before found
nothing:

1. ``too_large``, ``not_json`` (also duplicate keys, fractions, depth)
2. ``unknown_member``, ``missing_member``, ``wrong_value``
3. ``not_canonical``: not in the one spelling of RFC 8785
4. ``wrong_seq``, ``wrong_run``, ``broken_chain``, ``wrong_place`` (an event that cannot stand there)
5. ``wrong_count``, ``wrong_root``: the events are not the ones that were counted and signed
6. ``contradiction``: a fact that stands in two places is not the same in both
7. ``unfit_key``, ``bad_signature``, ``wrong_key`` (good signatures, but by none of the keys that were given)
8. ``bad_opening``, ``wrong_order``: what is disclosed is not what was committed to
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agent_sessions.audit import checks
from agent_sessions.audit.chain import PROBLEMS_KEPT
from agent_sessions.audit.events import event_hash
from agent_sessions.audit.shapes import ARTIFACT, OPENING, Problem, shape_problems
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.crypto.encoding import from_base64
from agent_sessions.crypto.signing import key_id, read_public_key
from agent_sessions.exceptions import InvalidValue, KeyProblem

MAX_SIZE: Final = 256 * 1024 * 1024
"""Bytes of the largest artifact that is looked at."""

_KEY_FILE: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Verification:
    """What came out. ``ok``: nothing is wrong; ``trusted``: and one of the keys given has signed it.

    ``problems`` begins with the first thing wrong. ``opened`` counts private values that are disclosed (and
    were checked), ``withheld`` those of which only the commitment is there.
    """

    ok: bool
    trusted: bool
    problems: list[Problem] = field(default_factory=list)
    event_count: int = 0
    opened: int = 0
    withheld: int = 0
    run_id: str = ""
    key_id: str = ""


def verify_artifact(raw: bytes, keys: Sequence[bytes] = ()) -> Verification:
    """Verify an artifact's bytes, bare or in the protocol's wrapper ``{"data": …, "ok": true}``.

    ``keys`` are raw 32-byte public keys to trust (see ``crypto.signing.read_public_key``). Never raises:
    whatever is wrong with the bytes is a problem in the result.
    """
    document, problems = _read(raw)
    if document is None or problems:
        return Verification(False, False, problems[:PROBLEMS_KEPT])
    events: list[checks.Document] = document["events"]
    hashes = [event_hash(canonical_bytes(event, max_depth=checks.DEPTH)) for event in events]
    for stage in (
        checks.chain_problems(document, hashes),
        checks.count_problems(document, hashes),
        checks.fact_problems(document),
        checks.signature_problems(document, keys),
        checks.opening_problems(document),
    ):
        problems = list(islice(stage, PROBLEMS_KEPT))
        if problems:
            break
    if problems:
        return Verification(False, False, problems, event_count=len(events))
    opened = len(document["openings"])
    public = from_base64(document["public_key"])[-32:]
    return Verification(
        ok=True,
        trusted=public in keys,
        event_count=len(events),
        opened=opened,
        withheld=sum(len(event.get("private", ())) for event in events) - opened,
        run_id=document["run_id"],
        key_id=key_id(public),
    )


def _read(raw: bytes) -> tuple[checks.Document | None, list[Problem]]:
    """Stages 1 to 3: bytes to a document whose members all have the right types."""
    if len(raw) > MAX_SIZE:
        return None, [Problem("too_large", "document", f"has more than {MAX_SIZE} bytes")]
    try:
        whole = parse_strict(raw, max_depth=checks.DEPTH)
    except InvalidValue as error:
        return None, [Problem("not_json", "document", error.problem)]
    wrapped = type(whole) is dict and whole.keys() == {"data", "ok"} and whole["ok"] is True
    document: Any = whole["data"] if wrapped and type(whole) is dict else whole
    problems = shape_problems(document, ARTIFACT, "")
    if not problems:
        for number, opening in enumerate(document["openings"]):
            problems += shape_problems(opening, OPENING, f"openings[{number}]")
        for number, event in enumerate(document["events"]):
            if type(event) is not dict:
                problems.append(Problem("wrong_value", f"events[{number}]", "is not an object"))
    if problems:
        return None, problems
    canonical = canonical_bytes(whole, max_depth=checks.DEPTH)
    if canonical != raw:
        pairs = enumerate(zip(raw, canonical, strict=False))
        byte = next((number for number, (found, right) in pairs if found != right), len(canonical))
        return None, [Problem("not_canonical", "document", f"is not canonical (RFC 8785) at byte {byte}")]
    return document, []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. ``arguments`` default to those of the process."""
    parser = argparse.ArgumentParser(
        prog="agent-sessions-verify",
        description="Verify the signed artifact of an agent session.",
        epilog="Exit codes: 0 good, 1 not good, 2 wrong use, 3 good by itself but no key was given.",
    )
    parser.add_argument("file", metavar="FILE", help="the artifact as it was served, or - for standard input")
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="public key to trust: base64, or a file with base64 or PEM in it; can be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    try:
        keys = [_read_key(text) for text in options.key]
        raw = _read_file(options.file, MAX_SIZE)
    except (KeyProblem, OSError, UnicodeDecodeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    result = verify_artifact(raw, keys)
    print(json.dumps(asdict(result), indent=2) if options.json else _report(result))
    if not result.ok:
        return 1
    return 0 if result.trusted else 3


def _read_key(text: str) -> bytes:
    try:
        return read_public_key(text)
    except KeyProblem:
        if not Path(text).is_file():
            raise
    return read_public_key(_read_file(text, _KEY_FILE).decode("ascii"))


def _read_file(name: str, limit: int) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(limit + 1)
    with Path(name).open("rb") as file:
        return file.read(limit + 1)


def _report(result: Verification) -> str:
    if not result.ok:
        lines = ["NOT GOOD. This artifact proves nothing."]
        lines += [f"  {problem.where} {problem.message} [{problem.code}]" for problem in result.problems]
        return "\n".join(lines)
    lines = [
        f"Good: session {json.dumps(result.run_id)[1:-1]}.",
        f"  {result.event_count} events, unbroken from creation to end.",
        f"  {result.opened} private values disclosed and as committed, {result.withheld} withheld.",
    ]
    if result.trusted:
        lines.append(f"  Signed with key {result.key_id}, which you gave.")
    else:
        lines.append(
            "  WHO SIGNED IT IS NOT CHECKED. It was checked only against the key that it carries itself "
            f"({result.key_id}), and anyone can make one. Give the site's key with --key."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
