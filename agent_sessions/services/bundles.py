"""A bundle of evidence of many sessions, for an auditor or for the person they are about (A2, GDPR Art. 15).

What is in it, and how it is checked, is said in ``audit.bundle``. One session is in memory at a time. Its manifest's
hash goes into the site's own chain before anybody gets the bundle, so that which files were handed out can be told.
"""

from __future__ import annotations

import os
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from django.utils import timezone

import agent_sessions
from agent_sessions.audit.bundle import BUNDLE_TYPE, MANIFEST, SIGNED, sign_manifest
from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.domain.values import check_value
from agent_sessions.exceptions import AgentSessionsError, InvalidValue, NotLogged, PaymentDataRefused, SessionBusy
from agent_sessions.models import SiteKey
from agent_sessions.selectors.evidence import WHOLE, WITHHELD
from agent_sessions.selectors.log import log_keys, tree_head
from agent_sessions.selectors.selection import Selection, require_some, selected_sessions
from agent_sessions.selectors.sessions import ids_of
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services.evidence import EvidenceFile, check_reason, evidence_bytes, file_evidence, site_trust
from agent_sessions.services.keys import active_site_key, consumer_pseudonym, signing_keys, site_key_secret
from agent_sessions.services.revealing import reveal_content
from agent_sessions.services.site_events import record

EXPORTED: Final = "evidence.exported"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that the same sessions at the same moment make the same bytes."""
_README: Final = """\
Evidence of agent sessions
==========================

manifest.json      what was asked for, when and by whom, and the SHA-256 of every other file
manifest.sig.json  the site's signature over the manifest
index.jsonl        a line for each session
sessions/<id>/evidence.json  policies and limits, prices and stock seen, approvals, what the consumer was shown,
                             payments, orders
sessions/<id>/artifact.json  its proof: the signed record of the session
sessions/<id>/chain.json     in its place, the events so far of a session that had not ended
log/head-N.txt     the newest tree head of each generation of the site's log, if it has one

Check all of it, offline, with the site's public key got by a way that you trust:

    pip install agent-sessions
    agent-sessions-verify THIS.zip --key KEY

Times are UTC. Amounts are in the currency's minor units: 1250 EUR is 12.50.
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was made. ``unreadable`` counts sessions of which there is no evidence; the index says why.

    ``unproven`` counts those whose proof the verifier did not find good.
    """

    bundle_id: uuid.UUID
    sessions: int
    sealed: int
    live: int
    unreadable: int
    unproven: int
    manifest_sha256: str


def select_evidence(
    *,
    consumer: str = "",
    sessions: Iterable[uuid.UUID] = (),
    order: str = "",
    agent: str = "",
    parent_request: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    merchant: str = "",
) -> Selection:
    """Say which sessions evidence is wanted of: those that fit everything given.

    ``consumer`` is the store's own reference of the customer, of ``merchant`` (default: the setting MERCHANT); it is
    kept nowhere. Raises InvalidValue for a text that nothing can have, KeyProblem.
    """
    for name, text in {"consumer": consumer, "order": order, "agent": agent, "parent_request": parent_request,
                       "merchant": merchant}.items():  # fmt: skip
        check_value(text, f"/{name}")
    if consumer:
        merchant = merchant or settings.merchant
    return Selection(
        sessions=tuple(sessions),
        consumer=consumer_pseudonym(consumer, merchant=merchant) if consumer else "",
        order=order,
        agent=agent,
        parent_request=parent_request,
        start=start,
        end=end,
        merchant=merchant,
    )


def export_evidence(
    selection: Selection,
    path: Path,
    *,
    reason: str,
    actor: Actor,
    personal: bool = False,
    limit: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Bundle:
    """Write a bundle to a file that nobody but its owner reads (0600): whole, or not at all.

    Raises OSError, and what ``write_bundle`` raises.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # it makes it 0600
    try:
        with os.fdopen(descriptor, "w+b") as file:
            made = write_bundle(
                selection, file, reason=reason, actor=actor, personal=personal, limit=limit, progress=progress
            )
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return made


def write_bundle(
    selection: Selection,
    file: IO[bytes],
    *,
    reason: str,
    actor: Actor,
    personal: bool = False,
    reveal: bool = False,
    limit: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Bundle:
    """Write a bundle of the sessions that fit into an empty binary file, and note in the site's chain that it was made.

    ``reason`` (1 to 200 characters, nothing personal) says what for. ``personal``: with what is personal, which
    the caller has to be allowed. ``reveal``: with what is personal of the sessions that it reveals to ``actor`` on the
    way, for ``reason`` (``reveal_content``); the others stay masked, and the index says which. What was revealed stays
    so if no bundle comes of it. ``limit`` refuses larger ones. ``progress`` is told the number of sessions so far. A
    session that cannot be read does not hold up the others; the index says why.

    Raises InvalidValue if no session fits or more than ``limit`` do, or without a reason; PaymentDataRefused,
    KeyProblem; SessionBusy, if a session's history has no time to say that it is revealed.
    """
    check_reason(reason)
    require_no_payment_data({"params": {"reason": reason}})  # before anything is revealed for it
    require_some(selection, limit=limit)

    def opens(session_id: uuid.UUID) -> bool:
        return _revealed(session_id, reason, actor) if reveal else personal

    personal = personal or reveal
    with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as index, _archive(file) as archive:
        writing = _Writing(archive, listed, index, personal, opens)
        for count, session_id in enumerate(ids_of(selected_sessions(selection), chunk=100), start=1):
            writing.add(session_id)
            if progress is not None:
                progress(count)
        made = writing.finish(selection, reason=reason, actor=actor)
    facts: dict[str, Any] = {
        "bundle": str(made.bundle_id),
        "manifest_sha256": made.manifest_sha256,
        "asked_by": sorted(selection.to_json()),
        "sessions": made.sessions,
        "personal": personal,
        "reason": reason,
    }
    record(EXPORTED, actor, facts)
    return made


def _revealed(session_id: uuid.UUID, reason: str, actor: Actor) -> bool:
    """Reveal all of a session to who exports it; False if there is nothing to reveal, or it cannot be read."""
    try:
        reveal_content(session_id, groups=GROUPS, reason=reason, actor=actor)
    except (InvalidValue, PaymentDataRefused, SessionBusy):
        raise
    except AgentSessionsError:
        return False
    return True


class _Writing:
    """A zip in the making. What the manifest lists, and the index, are kept on disk until the end.

    ``personal``: it was asked for with what is personal; ``opens`` is asked of each session whether that is in it.
    """

    def __init__(
        self,
        archive: zipfile.ZipFile,
        listed: IO[bytes],
        index: IO[bytes],
        personal: bool,
        opens: Callable[[uuid.UUID], bool],
    ) -> None:
        self._archive, self._listed, self._index, self._personal, self._opens = archive, listed, index, personal, opens
        self._trust = site_trust()
        self._counts = {"sessions": 0, "sealed": 0, "live": 0, "unreadable": 0, "unproven": 0}

    def add(self, session_id: uuid.UUID) -> None:
        """Add a session: its evidence and its proof, or to the index why there is none."""
        told: dict[str, Any] = {"session": str(session_id)}
        self._counts["sessions"] += 1
        personal = self._opens(session_id)
        try:
            found = file_evidence(session_id, WHOLE, self._trust, personal=personal)
        except AgentSessionsError as error:
            self._counts["unreadable"] += 1
            told |= {"standing": "unreadable", "problem": error.code}
        else:
            with found:
                told |= self._put(session_id, found)
        self._index.write(canonical_bytes(told) + b"\n")

    def _put(self, session_id: uuid.UUID, found: EvidenceFile) -> dict[str, Any]:
        """Write evidence and proof; return what the index says of them."""
        stated = found.evidence
        assert stated.proof is not None  # noqa: S101 - evidence in a file has one
        standing, name = ("sealed", "artifact") if stated.proof.sealed else ("live", "chain")
        self._counts[standing] += 1
        self._counts["unproven"] += not stated.proof.ok
        self._copy(f"sessions/{session_id}/{name}.json", found.proof)
        self._file(f"sessions/{session_id}/evidence.json", evidence_bytes(stated))
        return {
            "standing": standing,
            "verified": stated.proof.ok,
            "personal": stated.personal,
            "opened_at": stated.session.created_at,
            "ended_at": stated.session.ended_at,
            "merchant": stated.session.merchant,
            "orders": [one.order_ref for one in stated.orders if one.order_ref],
            "erased": [one.text for one in stated.erased],
        }

    def finish(self, selection: Selection, *, reason: str, actor: Actor) -> Bundle:
        """Write index, manifest and signature."""
        bundle_id = new_id()
        self._file("README.txt", _README.encode())
        self._copy("index.jsonl", self._index)
        logs = log_keys()
        for generation in sorted({key.generation for key in logs}):
            with suppress(NotLogged):  # no head of it counts yet
                self._file(f"log/head-{generation}.txt", tree_head(generation=generation).encode())
        manifest = canonical_bytes(
            {
                "asked": self._asked(selection),
                "counts": self._counts,
                "files": [],
                "id": str(bundle_id),
                "keys": [
                    {"active": key.active, "key_id": key.key_id, "public_key": key.public_key} for key in signing_keys()
                ],
                "log_keys": [{"active": key.active, "generation": key.generation, "key": key.vkey} for key in logs],
                "made_at": format_time(timezone.now()),
                "made_by": str(actor),
                "package": agent_sessions.__version__,
                "personal": self._personal,
                "reason": reason,
                "site": settings.site,
                "type": BUNDLE_TYPE,
            }
        )
        digest = self._manifest(manifest)
        key = active_site_key(SiteKey.Purpose.ARTIFACT)
        signed = sign_manifest(digest, private_key=site_key_secret(key), public_key=bytes(key.public))
        self._archive.writestr(_entry(SIGNED), signed)
        return Bundle(bundle_id, manifest_sha256=digest, **self._counts)

    def _asked(self, selection: Selection) -> dict[str, Any]:
        asked = selection.to_json()
        return {**asked, "consumer": WITHHELD} if "consumer" in asked and not self._personal else asked

    def _manifest(self, written: bytes) -> str:
        """Write the manifest with its list of files, which is too long to be held; return its SHA-256 in hex."""
        before, _, after = written.partition(b'"files":[]')
        digest = sha256()
        with self._archive.open(_entry(MANIFEST), "w") as entry:

            def put(part: bytes) -> None:
                digest.update(part)
                entry.write(part)

            put(before + b'"files":[')
            self._listed.seek(0)
            for number, line in enumerate(self._listed):
                put((b"," if number else b"") + line.rstrip(b"\n"))
            put(b"]" + after)
        return digest.hexdigest()

    def _file(self, path: str, content: bytes) -> None:
        self._archive.writestr(_entry(path), content)
        self._note(path, sha256(content).hexdigest(), len(content))

    def _copy(self, path: str, source: IO[bytes]) -> None:
        digest, size = sha256(), 0
        source.seek(0)
        with self._archive.open(_entry(path), "w") as entry:
            while part := source.read(1 << 20):
                digest.update(part)
                size += len(part)
                entry.write(part)
        self._note(path, digest.hexdigest(), size)

    def _note(self, path: str, digest: str, size: int) -> None:
        self._listed.write(canonical_bytes({"bytes": size, "path": path, "sha256": digest}) + b"\n")


@contextmanager
def _archive(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Write a zip; if that fails, close it without a word of its own about the handle that was open."""
    archive = zipfile.ZipFile(file, "w", compression=zipfile.ZIP_DEFLATED)
    try:
        yield archive
    except BaseException:
        with suppress(ValueError, OSError):
            archive.close()
        raise
    archive.close()


def _entry(path: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, date_time=_EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info
