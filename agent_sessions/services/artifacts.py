"""The signed artifact of an ended session: sealed once, and written out whenever somebody asks."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.audit.artifact import PURPOSE, Seal, build_artifact, make_seal, write_artifact
from agent_sessions.audit.chain import check_chain
from agent_sessions.audit.events import ENDED, event_hash
from agent_sessions.audit.filed import ProofFile
from agent_sessions.audit.proofs import Inclusion
from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.exceptions import (
    AgentSessionsError,
    ArtifactNotReady,
    LogDamaged,
    NotLogged,
    SessionDamaged,
    SessionEnded,
)
from agent_sessions.models import Artifact, AuditEvent, Session, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors.audit import openings
from agent_sessions.selectors.log import log_inclusion
from agent_sessions.services.keys import active_site_key, site_key_secret

logger = logging.getLogger("agent_sessions")


def get_artifact(session_id: uuid.UUID, *, disclose: str = PURPOSE) -> bytes:
    """Return the session's artifact as canonical JSON, sealing it first if no job has come by yet.

    ``disclose`` says which private values are opened in it: "purpose" (the agent's own), "all" (for readers who may
    see the session's content) or "none". What has been erased cannot be opened; the events that say so come ``after``.

    It carries the proof that the session is in the log once a tree head that counts covers its end.

    Raises SessionNotFound, SessionQuarantined, ArtifactNotReady while the session is live, SessionDamaged if its
    history is not what was sealed, KeyProblem.
    """
    head, seal = require_seal(session_id)
    opened = openings(head, disclose=disclose, up_to=seal.event_count)
    inclusion, after = _inclusion(session_id, seal), _after(head, seal)
    return build_artifact(seal, [*map(bytes, _covered(head, seal))], list(opened), inclusion=inclusion, after=after)


def require_seal(session_id: uuid.UUID) -> tuple[SessionHead, Seal]:
    """Return where an ended session stands and its seal, made now if no job has come by yet.

    Raises what ``get_artifact`` raises.
    """
    from agent_sessions.services.sessions import expire_session

    head = read_head(session_id)
    if head.is_live():
        raise ArtifactNotReady(session_id)
    if head.status in LIVE:
        with suppress(SessionEnded):  # a job may come first
            expire_session(head)
        head = read_head(session_id)
    require_open(head)
    sealed = seal_artifact(session_id)
    return head, Seal(
        envelope=bytes(sealed.envelope),
        root_hash=sealed.root_hash,
        signature=bytes(sealed.signature),
        runtime_signature=bytes(sealed.runtime_signature),
        public_key=bytes(sealed.signing_key.public),
        event_count=sealed.event_count,
    )


def file_artifact(file: ProofFile, head: SessionHead, seal: Seal, *, disclose: str) -> dict[str, Any]:
    """Write a session's artifact to a file as ``get_artifact`` returns it, a few events at a time.

    Return it for ``audit.verify.verify_filed``, which it was not checked with. Raises SessionDamaged, KeyProblem.
    """
    opened = openings(head, disclose=disclose, up_to=seal.event_count)
    inclusion, after = _inclusion(head.session_id, seal), _after(head, seal)
    events = map(bytes, _covered(head, seal).iterator(chunk_size=200))
    return write_artifact(file, seal, events, opened, inclusion=inclusion, after=after)


def _covered(head: SessionHead, seal: Seal) -> QuerySet[Any]:
    covered = AuditEvent.objects.using(_alias()).filter(session_id=head.session_id, seq__lte=seal.event_count)
    return covered.order_by("seq").values_list("canonical", flat=True)


def _after(head: SessionHead, seal: Seal) -> list[bytes]:
    # Up to where the head stood whose keys open the rest, so that nothing is opened that is said to be erased.
    after = AuditEvent.objects.using(_alias()).filter(
        session_id=head.session_id, seq__gt=seal.event_count, seq__lte=head.head_seq
    )
    return [bytes(canonical) for canonical in after.order_by("seq").values_list("canonical", flat=True)]


def _inclusion(session_id: uuid.UUID, seal: Seal) -> Inclusion | None:
    """Return the proof that the end is in the log, None before a tree head that counts covers it."""
    try:
        return log_inclusion(session_id, seq=seal.event_count)
    except NotLogged:
        return None
    except LogDamaged:
        # The artifact is good by itself. The log is compared with its exported heads elsewhere.
        logger.exception("The artifact of session %s goes out without its proof of inclusion.", session_id)
        return None


def seal_artifact(session_id: uuid.UUID) -> Artifact:
    """Sign the history of an ended session; the first call decides, later ones return what it made.

    Raises ArtifactNotReady if the session has not ended, SessionDamaged if its chain is broken or does not end in its
    end, KeyProblem.
    """
    alias = _alias()
    sealed = Artifact.objects.using(alias).select_related("signing_key").filter(pk=session_id).first()
    if sealed is not None:
        return sealed
    rows = AuditEvent.objects.using(alias).filter(session_id=session_id).order_by("seq")
    last = rows.filter(kind=ENDED).first()
    first = rows.filter(seq=1).first()
    if last is None or first is None:
        raise ArtifactNotReady(session_id)
    hashes = _checked_hashes(session_id)
    key = active_site_key(SiteKey.Purpose.ARTIFACT)
    seal = make_seal(
        bytes(first.canonical),
        bytes(last.canonical),
        hashes[: last.seq],
        private_key=site_key_secret(key),
        public_key=bytes(key.public),
    )
    if seal.event_count != last.seq:
        raise SessionDamaged(session_id, f"it has {seal.event_count} of the {last.seq} events up to its end")
    try:
        return _rows.with_retries(f"The artifact of session {session_id}", lambda: _store(session_id, seal, key))
    except IntegrityError:  # somebody else has just sealed it
        return Artifact.objects.using(alias).select_related("signing_key").get(pk=session_id)


def _checked_hashes(session_id: uuid.UUID) -> list[str]:
    """Hash the session's events, checking that they are the chain that its row names the end of.

    Nothing else stands between an event that was changed before and the signature over it. Every session comes by here,
    and few are long, so it is one plain query: a cursor takes two more, and Django does not say as its own what goes
    wrong when one is closed. Raises SessionDamaged.
    """
    head = read_head(session_id)
    rows = AuditEvent.objects.using(_alias()).filter(session_id=session_id, seq__lte=head.head_seq).order_by("seq")
    hashes: list[str] = []

    def events() -> Iterator[tuple[int, bytes]]:
        for seq, stored in rows.values_list("seq", "canonical"):
            canonical = bytes(stored)
            hashes.append(event_hash(canonical))
            yield seq, canonical

    problems = check_chain(events(), run_id=str(session_id), limit=1)
    if problems:
        raise SessionDamaged(session_id, f"{problems[0].where} {problems[0].message}")
    if len(hashes) != head.head_seq or hashes[-1] != head.head_hash:
        raise SessionDamaged(session_id, "its events do not end where its row says")
    return hashes


def _store(session_id: uuid.UUID, seal: Seal, key: SiteKey) -> Artifact:
    alias, now = _alias(), timezone.now()
    with transaction.atomic(using=alias):
        sealed = Artifact.objects.using(alias).create(
            session_id=session_id,
            envelope=seal.envelope,
            root_hash=seal.root_hash,
            signature=seal.signature,
            runtime_signature=seal.runtime_signature,
            signing_key=key,
            event_count=seal.event_count,
            created_at=now,
        )
        Session.objects.using(alias).filter(pk=session_id).update(sealed_at=now)
    return sealed


def try_to_seal(session_id: uuid.UUID) -> bool:
    """Seal an ended session's artifact; if that fails, log why and return False.

    The session has ended either way: the next run of ``expire_sessions`` tries again, and so does whoever asks for the
    artifact.
    """
    try:
        seal_artifact(session_id)
    except AgentSessionsError:
        logger.exception("The artifact of session %s could not be sealed; it will be tried again.", session_id)
        return False
    return True


def _alias() -> str:
    return _rows.write_connection().alias
