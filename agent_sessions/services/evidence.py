"""Evidence with its proof (A2): the document of ``selectors.evidence``, and what its statements are checked with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from agent_sessions.audit.checks import DEPTH
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.notes import Policy
from agent_sessions.audit.open_chain import build_open_chain, open_chain_problems
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.evidence import Evidence, Proof
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import ArtifactNotReady, InvalidValue, SessionDamaged
from agent_sessions.models import AuditEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.audit import openings
from agent_sessions.selectors.evidence import WHOLE, Subject, evidence
from agent_sessions.selectors.log import log_keys
from agent_sessions.services._texts import check_text
from agent_sessions.services.artifacts import get_artifact
from agent_sessions.services.keys import signing_keys
from agent_sessions.services.site_events import record

DISCLOSED: Final = "evidence.disclosed"
MAX_REASON: Final = 200
_TRIES: Final = 5
"""Times that evidence and proof are read when events come in between: what it says has to be in its proof."""
_SEALED: Final = "The signed artifact of the session, made when it ended."
_OPEN: Final = (
    "The session has not ended, so nobody has signed it yet. These are its events so far: nothing in them can be "
    "changed unseen, but that none is missing at the end is shown by the artifact only."
)


def get_evidence(
    session_id: uuid.UUID,
    subject: Subject = WHOLE,
    *,
    personal: bool = False,
    reason: str = "",
    actor: Actor = SYSTEM,
    with_document: bool = True,
) -> Evidence:
    """Return what a decision, a payment, an order or a whole session rested on, with the proof of it (A2).

    Without ``personal`` what people said and what is known of the consumer is left out, here and in the proof. With it,
    ``actor`` and ``reason`` (1 to 200 characters, nothing personal) go into the site's own chain first (A9).
    ``with_document`` False says of the proof what came of checking it, and leaves it out.

    Raises InvalidValue if there is no such subject or no reason, and what ``get_artifact`` raises.
    """
    if personal:
        check_reason(reason)
    found, proof = evidence_and_proof(session_id, subject, personal=personal)
    if personal:
        facts: dict[str, Any] = {"session": str(session_id), "subject": subject.kind, "reason": reason}
        record(DISCLOSED, actor, facts)
    return with_proof(found, proof, site_trust(), personal=personal, with_document=with_document)


def check_reason(reason: str) -> None:
    """Raises InvalidValue if nobody says why what is personal is shown."""
    check_text("/reason", reason, MAX_REASON)
    if not reason.strip():
        raise InvalidValue("/reason", f"Say in 1 to {MAX_REASON} characters why what is personal is to be shown.")


def evidence_and_proof(session_id: uuid.UUID, subject: Subject, *, personal: bool) -> tuple[Evidence, bytes]:
    """Return the document without its proof, and the bytes of the proof: an artifact, or the chain so far.

    Both at one moment of the session, unless it moves on again and again.
    """
    for _ in range(_TRIES):
        found, proof = _read_both(session_id, subject, personal=personal)
        if read_head(session_id).head_seq == found.session.events:
            break
    return found, proof


def _read_both(session_id: uuid.UUID, subject: Subject, *, personal: bool) -> tuple[Evidence, bytes]:
    disclose = "all" if personal else "content"
    try:
        proof = get_artifact(session_id, disclose=disclose)
        head = read_head(session_id)
    except ArtifactNotReady:
        head = read_head(session_id)
        proof = _chain_so_far(head, disclose)
    return evidence(head, subject, personal=personal), proof


@dataclass(frozen=True, slots=True)
class Trust:
    """The site's own public keys, as a verifier is given them: of artifacts, and of the log if there is one."""

    keys: tuple[bytes, ...]
    log: LogTrust | None


def site_trust() -> Trust:
    """Return the keys that this site's proofs are checked with. Raises KeyProblem."""
    logs = tuple(read_vkey(key.vkey) for key in log_keys())
    return Trust(
        tuple(read_public_key(key.public_key) for key in signing_keys()),
        LogTrust(Policy(logs)) if logs else None,
    )


def with_proof(found: Evidence, proof: bytes, trust: Trust, *, personal: bool, with_document: bool) -> Evidence:
    """Add the proof to a document, and what the verifier says of it."""
    document: Any = parse_strict(proof, max_depth=DEPTH)
    sealed = "signature" in document
    if sealed:
        result = verify_artifact(proof, trust.keys, log=trust.log)
        told, ok = msgspec.json.decode(msgspec.json.encode(result)), result.ok and result.trusted
    else:
        problems = open_chain_problems(proof)
        ok = not problems
        told = {"ok": ok, "problems": msgspec.to_builtins(problems), "event_count": len(document["events"])}
    proven = Proof(
        sealed=sealed,
        note=_SEALED if sealed else _OPEN,
        sha256=sha256(proof).hexdigest(),
        opened="all" if personal else "content",
        ok=ok,
        verification=told,
        document=document if with_document else None,
    )
    return msgspec.structs.replace(found, proof=proven)


def evidence_bytes(found: Evidence) -> bytes:
    """Write a document as canonical JSON."""
    return canonical_bytes(found.to_json(), max_depth=DEPTH + 2)


def _chain_so_far(head: SessionHead, disclose: str) -> bytes:
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=head.session_id)
    stored = rows.filter(seq__lte=head.head_seq).order_by("seq").values_list("canonical", flat=True)
    events = [bytes(canonical) for canonical in stored]
    if not events:
        raise SessionDamaged(head.session_id, "its events are missing")
    return build_open_chain(str(head.session_id), events, openings(head, disclose=disclose, up_to=head.head_seq))
