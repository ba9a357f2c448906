"""A bundle of evidence: a zip with a signed manifest, checked offline (``agent-sessions-verify BUNDLE.zip --key KEY``).

In it are ``manifest.json`` (what was asked, by whom, and the SHA-256 of every other file), ``manifest.sig.json`` (the
site's Ed25519 signature over that), ``README.txt``, ``index.jsonl`` (a line for each session), tree heads of the log
below ``log/``, and of each session ``sessions/<id>/evidence.json`` with its proof beside it: ``artifact.json``, or
``chain.json`` of one that has not ended. Everything but the two texts is canonical JSON.

What a bundle shows: the manifest's signature that the site handed out these files and no others; each artifact's own
signatures what happened in that session; and evidence is compared with the events and the opened values of its proof.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, Any, Final

from agent_sessions.audit.bundle_evidence import evidence_problems
from agent_sessions.audit.chain import PROBLEMS_KEPT
from agent_sessions.audit.checks import DEPTH
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.notes import Policy, open_checkpoint, parse_checkpoint, parse_note
from agent_sessions.audit.open_chain import open_chain_problems
from agent_sessions.audit.shapes import (
    HASH,
    SIGNATURE,
    SOME_TEXT,
    WHOLE,
    Member,
    Problem,
    literal,
    shape_problems,
)
from agent_sessions.audit.verify import MAX_SIZE, Verification, verify_artifact
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.crypto.signing import key_id, public_key_text, read_public_key, sign, verify
from agent_sessions.exceptions import InvalidValue, KeyProblem, NoteRefused

BUNDLE_TYPE: Final = "agent-session-bundle/v1"
SIGNATURE_TYPE: Final = "agent-session-bundle-signature/v1"
MANIFEST, SIGNED = "manifest.json", "manifest.sig.json"
DOMAIN: Final = b"agent-session-bundle/v1\0"
"""What is signed is this and the SHA-256 of the manifest in hex, so that the signature passes for no other."""

_MAX_SIGNED: Final = 16 * 1024
"""Bytes of the largest ``manifest.sig.json``: it is read before anybody is known to have signed anything."""
_SMALL: Final = 16 * 1024 * 1024
_DENSEST: Final = 50
"""How many times its size in the zip a file may have that is not small. Hashes and salts do not shrink; nothing that a
site writes comes near it, but what is made to fill a reader's memory does."""
_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError
)  # fmt: skip
_SESSION: Final = re.compile(r"sessions/([0-9a-f-]{36})/(evidence|artifact|chain)\.json")
_NAME: Final = re.compile(rf"README\.txt|index\.jsonl|log/head-[0-9]{{1,9}}\.txt|{_SESSION.pattern}")
_ANY: Final = Member("a value", lambda _value: True)
_LIST: Final = Member("a list", lambda value: type(value) is list)
_MANIFEST: Final = {
    "asked": Member("an object", lambda value: type(value) is dict),
    "counts": Member("an object", lambda value: type(value) is dict),
    "files": _LIST,
    "id": SOME_TEXT,
    "keys": _LIST,
    "log_keys": _LIST,
    "made_at": SOME_TEXT,
    "made_by": SOME_TEXT,
    "package": SOME_TEXT,
    "personal": Member("true or false", lambda value: type(value) is bool),
    "reason": SOME_TEXT,
    "site": _ANY,
    "type": literal(BUNDLE_TYPE),
}
_FILE: Final = {"bytes": WHOLE, "path": SOME_TEXT, "sha256": HASH}
_SIGNATURE: Final = {
    "key_id": SOME_TEXT,
    "manifest_sha256": HASH,
    "public_key": SOME_TEXT,
    "signature": SIGNATURE,
    "type": literal(SIGNATURE_TYPE),
}


@dataclass(frozen=True, slots=True)
class BundleVerification:
    """What came out. ``ok``: nothing is wrong; ``trusted``: and one of the keys given has signed the manifest.

    ``sealed`` counts sessions with an artifact, ``live`` those that had not ended, ``unreadable`` those of which the
    site itself says that it could not give evidence. ``logged`` counts artifacts with a proof of being in the log.
    """

    ok: bool
    trusted: bool
    problems: list[Problem] = field(default_factory=list)
    bundle: str = ""
    key_id: str = ""
    files: int = 0
    sealed: int = 0
    live: int = 0
    unreadable: int = 0
    logged: int = 0


def sign_manifest(digest: str, *, private_key: bytes, public_key: bytes) -> bytes:
    """Return the bytes of ``manifest.sig.json`` for a manifest whose SHA-256 in hex is ``digest``."""
    document = {
        "key_id": key_id(public_key),
        "manifest_sha256": digest,
        "public_key": public_key_text(public_key),
        "signature": to_base64(sign(private_key, DOMAIN + digest.encode("ascii"))),
        "type": SIGNATURE_TYPE,
    }
    return canonical_bytes(document)


def verify_bundle(file: IO[bytes], keys: Sequence[bytes] = (), *, log: LogTrust | None = None) -> BundleVerification:
    """Verify a bundle, one session in memory at a time. ``keys`` and ``log`` are as in ``verify_artifact``.

    Never raises for what is wrong with the bundle.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _Check(archive, keys, log).result()
    except _UNREADABLE as error:
        return BundleVerification(
            False, False, [Problem("not_zip", "bundle", f"cannot be read: {type(error).__name__}")]
        )


class _Check:
    """One bundle being checked: manifest and signature first, then every file, then every session."""

    def __init__(self, archive: zipfile.ZipFile, keys: Sequence[bytes], log: LogTrust | None) -> None:
        self._archive, self._keys, self._log = archive, keys, log
        self._listed: dict[str, Any] = {}
        self._public = b""
        self._bundle = ""
        self._counted: Mapping[str, Any] = {}
        self._told = {"sealed": 0, "live": 0, "unreadable": 0, "logged": 0}

    def result(self) -> BundleVerification:
        problems: list[Problem] = []
        for stage in (
            self._names(),
            self._manifest(),
            self._hashes(),
            self._heads(),
            self._sessions(),
            self._counts(),
        ):
            for problem in stage:
                problems.append(problem)
                if len(problems) == PROBLEMS_KEPT:
                    break
            if problems:
                return BundleVerification(False, False, problems, bundle=self._bundle)
        return BundleVerification(
            ok=True,
            trusted=self._public in self._keys,
            bundle=self._bundle,
            key_id=key_id(self._public),
            files=len(self._listed),
            sealed=self._told["sealed"],
            live=self._told["live"],
            unreadable=self._told["unreadable"],
            logged=self._told["logged"],
        )

    def _names(self) -> Iterator[Problem]:
        seen: set[str] = set()
        for info in self._archive.infolist():
            where = repr(info.filename[:80])
            if info.filename in seen:
                yield Problem("wrong_file", where, "is in the bundle twice")
            seen.add(info.filename)
            if info.filename not in (MANIFEST, SIGNED) and not _NAME.fullmatch(info.filename):
                yield Problem("wrong_file", where, "is a file that a bundle does not have")
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                yield Problem("wrong_file", where, "is packed in another way than deflated")
            elif info.file_size > (most := _MAX_SIGNED if info.filename == SIGNED else MAX_SIZE):
                yield Problem("too_large", where, f"has more than {most} bytes")
            elif info.file_size > max(_SMALL, _DENSEST * info.compress_size):
                yield Problem("too_large", where, f"grows to {info.file_size} bytes out of {info.compress_size}")
        for name in (MANIFEST, SIGNED):
            if name not in seen:
                yield Problem("missing_file", name, "is missing")

    def _manifest(self) -> Iterator[Problem]:
        """Check who signed the manifest, and only then read what a stranger may have written."""
        raw = self._archive.read(MANIFEST)
        found = list(self._signature(sha256(raw).hexdigest()))
        manifest = {} if found else _document(raw, _MANIFEST, MANIFEST, found)
        if found:
            yield from found
            return
        self._bundle, self._counted = manifest["id"], manifest["counts"]
        for number, one in enumerate(manifest["files"]):
            found = shape_problems(one, _FILE, f"files[{number}]")
            yield from found
            if not found:
                self._listed[one["path"]] = one

    def _signature(self, digest: str) -> Iterator[Problem]:
        problems: list[Problem] = []
        signature = _document(self._archive.read(SIGNED), _SIGNATURE, SIGNED, problems)
        if problems:
            yield from problems
            return
        try:
            self._public = read_public_key(signature["public_key"])
        except KeyProblem as error:
            yield Problem("unfit_key", f"{SIGNED} public_key", f"cannot be used: {error.message}")
            return
        if signature["manifest_sha256"] != digest or signature["key_id"] != key_id(self._public):
            yield Problem("contradiction", SIGNED, "is not about this manifest, or names another key")
        if not verify(self._public, DOMAIN + digest.encode("ascii"), from_base64(signature["signature"])):
            yield Problem("bad_signature", SIGNED, "was not made with public_key over this manifest")
        if self._keys and self._public not in self._keys:
            yield Problem("wrong_key", SIGNED, "was made with none of the keys given")

    def _hashes(self) -> Iterator[Problem]:
        there = {info.filename for info in self._archive.infolist()} - {MANIFEST, SIGNED}
        for name in sorted(self._listed.keys() - there):
            yield Problem("missing_file", repr(name[:80]), "is in the manifest and not in the bundle")
        for name in sorted(there - self._listed.keys()):
            yield Problem("wrong_file", repr(name[:80]), "is in the bundle and not in the manifest")
        for name in sorted(there & self._listed.keys()):
            digest = sha256()
            with self._archive.open(name) as content:
                while part := content.read(1 << 20):
                    digest.update(part)
            if digest.hexdigest() != self._listed[name]["sha256"]:
                yield Problem("wrong_hash", name, "is not the file that the manifest names")

    def _heads(self) -> Iterator[Problem]:
        """Check who signed the tree heads, of the logs whose keys were given; cosignatures may come later."""
        policy = self._log.policy if self._log else Policy(())
        for name in sorted(name for name in self._listed if name.startswith("log/")):
            raw = self._archive.read(name)
            try:
                origin = parse_checkpoint(parse_note(raw).text).origin
                if any(key.name == origin for key in policy.logs):
                    open_checkpoint(raw, (*policy.logs, *policy.witnesses))
            except NoteRefused as error:
                yield Problem("bad_checkpoint", name, f"cannot be trusted: {error.problem}")

    def _sessions(self) -> Iterator[Problem]:
        ids = {match[1] for name in self._listed if (match := _SESSION.fullmatch(name))}
        for session in sorted(ids):
            place = f"sessions/{session}"
            names = [name for name in ("artifact", "chain") if f"{place}/{name}.json" in self._listed]
            if len(names) != 1 or f"{place}/evidence.json" not in self._listed:
                yield Problem("missing_file", place, "does not have evidence and one proof of it")
                continue
            proof = self._archive.read(f"{place}/{names[0]}.json")
            yield from self._session(place, session, names[0], proof)

    def _session(self, place: str, session: str, name: str, proof: bytes) -> Iterator[Problem]:
        if name == "artifact":
            checked: Verification = verify_artifact(proof, self._keys, log=self._log)
            found = checked.problems
            self._told["sealed"] += 1
            self._told["logged"] += checked.logged is not None
        else:
            found = open_chain_problems(proof)
            self._told["live"] += 1
        for problem in found:
            yield Problem(problem.code, f"{place}/{name}.json {problem.where}", problem.message)
        if found:
            return
        document: Any = parse_strict(proof, max_depth=DEPTH)
        if document["run_id"] != session:
            yield Problem("contradiction", f"{place}/{name}.json", "is of another session")
        yield from evidence_problems(
            self._archive.read(f"{place}/evidence.json"), document, proof, f"{place}/evidence.json"
        )

    def _counts(self) -> Iterator[Problem]:
        counts = self._counted
        lines = self._archive.read("index.jsonl").splitlines() if "index.jsonl" in self._listed else []
        self._told["unreadable"] = len(lines) - self._told["sealed"] - self._told["live"]
        for name in ("sealed", "live", "unreadable"):
            if counts.get(name) != self._told[name]:
                yield Problem("wrong_count", f"{MANIFEST} counts.{name}", f"is not {self._told[name]}")
        if len(lines) != counts.get("sessions"):
            yield Problem("wrong_count", "index.jsonl", "does not have a line for each session")


def _document(raw: bytes, shape: Any, where: str, problems: list[Problem]) -> Any:
    try:
        document = parse_strict(raw)
    except InvalidValue as error:
        problems.append(Problem("not_json", where, error.problem))
        return {}
    problems += shape_problems(document, shape, where)
    if not problems and canonical_bytes(document) != raw:
        problems.append(Problem("not_canonical", where, "is not canonical (RFC 8785)"))
    return document
