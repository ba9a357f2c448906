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
8. ``bad_opening``, ``wrong_order``: what is disclosed is not what was committed to; of the events after the end the
   codes of 4 and ``wrong_value``, and ``contradiction`` where something is disclosed that they say was erased
9. of the proof that the session is in the site's log: ``no_inclusion`` (asked for, but not there), ``bad_leaf``,
   ``bad_checkpoint`` (malformed, or not signed by those who were asked for), ``bad_proof``, ``bad_head`` (the head that
   was given), ``no_consistency``, ``inconsistent``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agent_sessions.audit import checks
from agent_sessions.audit.chain import PROBLEMS_KEPT
from agent_sessions.audit.events import ERASED, event_hash
from agent_sessions.audit.filed import Filed, Hashes, not_canonical
from agent_sessions.audit.inclusion import Logged, LogTrust, inclusion_problems, where_logged
from agent_sessions.audit.notes import MAX_NOTE, Policy, read_hashes
from agent_sessions.audit.shapes import ARTIFACT, OPENING, Problem, shape_problems
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey, read_vkey
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.crypto.encoding import from_base64
from agent_sessions.crypto.signing import key_id, read_public_key
from agent_sessions.exceptions import InvalidValue, KeyProblem, NoteRefused

MAX_SIZE: Final = 256 * 1024 * 1024
"""Bytes of the largest artifact that is looked at."""

_LISTS: Final = {"after", "events", "openings"}
_KEY_FILE: Final = 16 * 1024
_YEAR_9999: Final = 253_370_764_800


@dataclass(frozen=True, slots=True)
class Erased:
    """A class of content that was erased: ``content`` or ``personal``, by which rule, and when."""

    data_class: str
    rule: str
    at: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What came out. ``ok``: nothing is wrong; ``trusted``: and one of the keys given has signed it.

    ``problems`` begins with the first thing wrong. ``opened`` counts private values that are disclosed (and
    were checked), ``withheld`` those of which only the commitment is there. ``logged`` is where in the site's
    log the session is, None when the artifact carries no proof of that. ``erased`` is what the site says was erased
    since the end: chained to it, but not covered by its signatures.
    """

    ok: bool
    trusted: bool
    problems: list[Problem] = field(default_factory=list)
    event_count: int = 0
    opened: int = 0
    withheld: int = 0
    run_id: str = ""
    key_id: str = ""
    logged: Logged | None = None
    erased: list[Erased] = field(default_factory=list)


def verify_artifact(raw: bytes, keys: Sequence[bytes] = (), *, log: LogTrust | None = None) -> Verification:
    """Verify an artifact's bytes, bare or in the protocol's wrapper ``{"data": …, "ok": true}``.

    ``keys`` are raw 32-byte public keys to trust (see ``crypto.signing.read_public_key``). ``log`` says whose
    signatures on the site's log to trust; without it, a proof in the artifact is checked by itself only. Never
    raises: whatever is wrong with the bytes is a problem in the result.
    """
    document, problems = _read(raw)
    if document is None or problems:
        return Verification(False, False, problems[:PROBLEMS_KEPT])
    events: list[checks.Document] = document["events"]
    hashes = [event_hash(canonical_bytes(event, max_depth=checks.DEPTH)) for event in events]
    return _found(document, hashes, keys, log)


def verify_filed(
    document: checks.Document, size: int, keys: Sequence[bytes] = (), *, log: LogTrust | None = None
) -> Verification:
    """Verify what ``artifact.write_artifact`` wrote to a file: as ``verify_artifact`` its bytes, in little memory."""
    events: Filed = document["events"]
    if size > MAX_SIZE:
        return Verification(False, False, [_too_large()])
    problems = shape_problems({**document, **{name: [None] for name in _LISTS & document.keys()}}, ARTIFACT, "")
    for name in sorted(_LISTS & document.keys()):
        problems += not_canonical(document[name], name)
    if problems:
        return Verification(False, False, problems[:PROBLEMS_KEPT])
    return _found(document, Hashes(events), keys, log)


def _found(
    document: checks.Document, hashes: Sequence[str], keys: Sequence[bytes], log: LogTrust | None
) -> Verification:
    """Stages 4 to 9."""
    events = document["events"]
    for stage in (
        checks.chain_problems(document, hashes),
        checks.count_problems(document, hashes),
        checks.fact_problems(document),
        checks.signature_problems(document, keys),
        checks.opening_problems(document),
        checks.after_problems(document, hashes),
        inclusion_problems(document, log),
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
        logged=where_logged(document, log),
        erased=_erased(document),
    )


def _too_large() -> Problem:
    return Problem("too_large", "document", f"has more than {MAX_SIZE} bytes")


def _erased(document: checks.Document) -> list[Erased]:
    """Read what the events after the end say, the first that names a class."""
    found: dict[str, Erased] = {}
    for event in document.get("after", ()):
        if event["kind"] == ERASED:
            for name in event["params"]["classes"]:
                found.setdefault(name, Erased(name, event["params"].get("rule", ""), event["timestamp"]))
    return [found[name] for name in sorted(found)]


def _read(raw: bytes) -> tuple[checks.Document | None, list[Problem]]:
    """Stages 1 to 3: bytes to a document whose members all have the right types."""
    if len(raw) > MAX_SIZE:
        return None, [_too_large()]
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
        for name in ("events", "after"):
            for number, event in enumerate(document.get(name, ())):
                if type(event) is not dict:
                    problems.append(Problem("wrong_value", f"{name}[{number}]", "is not an object"))
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
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        keys = [_read_key(text) for text in options.key]
        log = _log_trust(options)
        if _is_zip(options.file):
            return _main_bundle(options, keys, log)
        raw = _read_file(options.file, MAX_SIZE)
    except (KeyProblem, NoteRefused, OSError, UnicodeDecodeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    result = verify_artifact(raw, keys, log=log)
    print(json.dumps(asdict(result), indent=2) if options.json else _report(result))
    if not result.ok:
        return 1
    return 0 if result.trusted else 3


def _is_zip(name: str) -> bool:
    return name != "-" and _read_file(name, 3).startswith(b"PK\x03\x04")


def _main_bundle(options: argparse.Namespace, keys: Sequence[bytes], log: LogTrust | None) -> int:
    from agent_sessions.audit.bundle import verify_bundle
    from agent_sessions.audit.bundle_report import report

    with Path(options.file).open("rb") as file:
        result = verify_bundle(file, keys, log=log)
    print(json.dumps(asdict(result), indent=2) if options.json else report(result))
    return 1 if not result.ok else 0 if result.trusted else 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent-sessions-verify",
        description="Verify the signed artifact of an agent session, or a whole bundle of evidence.",
        epilog="Exit codes: 0 good, 1 not good, 2 wrong use, 3 good by itself but no key was given.",
    )
    parser.add_argument("file", metavar="FILE", help="an artifact as it was served (- for standard input), or a bundle")
    parser.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="public key to trust: base64, or a file with base64 or PEM in it; can be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    log = parser.add_argument_group("the proof that the session is in the site's log")
    several: dict[str, Any] = {"action": "append", "default": [], "metavar": "VKEY"}
    log.add_argument("--log-key", **several, help="a key of the log to trust: name+id+base64, or a file with that")
    log.add_argument("--witness-key", **several, help="a witness to trust, written the same way")
    log.add_argument("--require-witness", type=int, default=0, metavar="N", help="how many of them must have signed")
    log.add_argument("--require-inclusion", action="store_true", help="refuse an artifact without the proof")
    log.add_argument("--checkpoint", metavar="FILE", help="a tree head from elsewhere, to be of the same history")
    log.add_argument("--consistency", metavar="FILE", help="the proof of that: a hash in base64 on each line")
    return parser


def _log_trust(options: argparse.Namespace) -> LogTrust | None:
    """Read the options about the log; None when there are none. Raises KeyProblem, NoteRefused and OSError."""
    logs = tuple(_read_vkey(text, SIGNS, "--log-key") for text in options.log_key)
    witnesses = tuple(_read_vkey(text, COSIGNS, "--witness-key") for text in options.witness_key)
    if not logs:
        if witnesses or options.require_witness or options.require_inclusion or options.checkpoint:
            raise KeyProblem("Nothing can be said of a log whose key is not known. Give the log's key with --log-key.")
        return None
    if not 0 <= options.require_witness <= len({key.public for key in witnesses}):
        raise KeyProblem(
            f"--require-witness {options.require_witness} asks for more witnesses than --witness-key names "
            "(or fewer than none). Name them all."
        )
    consistency = None
    if options.consistency:
        consistency = tuple(read_hashes(_read_file(options.consistency, _KEY_FILE).decode("ascii").split()))
    return LogTrust(
        Policy(logs, witnesses, options.require_witness),
        required=options.require_inclusion,
        head=_read_file(options.checkpoint, MAX_NOTE).decode() if options.checkpoint else None,
        consistency=consistency,
    )


def _read_vkey(text: str, kind: int, option: str) -> NoteKey:
    key = read_vkey(_read_file(text, _KEY_FILE).decode() if Path(text).is_file() else text)
    if key.kind != kind:
        raise KeyProblem(f"{option} was given the key of a {'witness' if kind == SIGNS else 'log'}. Swap them.")
    return key


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
    for one in result.erased:
        what = "What it said of people" if one.data_class == "personal" else "Its content"
        lines.append(
            f"  {what}: erased under rule {json.dumps(one.rule)} on {one.at[:10]}, as the site says after the end."
        )
    if result.trusted:
        lines.append(f"  Signed with key {result.key_id}, which you gave.")
    else:
        lines.append(
            "  WHO SIGNED IT IS NOT CHECKED. It was checked only against the key that it carries itself "
            f"({result.key_id}), and anyone can make one. Give the site's key with --key."
        )
    if result.logged is not None:
        lines += _log_report(result.logged)
    return "\n".join(lines)


def _log_report(logged: Logged) -> list[str]:
    name = json.dumps(logged.log)[1:-1]
    lines = [f"  In the log {name}: leaf {logged.leaf_index} (from 0) of {logged.tree_size}."]
    if not logged.signed:
        lines.append("  WHO SIGNED THE LOG'S HEAD IS NOT CHECKED. Give the log's key with --log-key.")
    for witness, seconds in logged.witnesses:
        moment = datetime.fromtimestamp(seconds, UTC).isoformat() if seconds < _YEAR_9999 else f"second {seconds}"
        lines.append(f"  Co-signed by the witness {json.dumps(witness)[1:-1]} at {moment}.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
