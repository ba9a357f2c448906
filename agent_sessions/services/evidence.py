"""Evidence with its proof (A2): the document of ``selectors.evidence``, and what its statements are checked with."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

import msgspec

from agent_sessions.audit.artifact import Opening
from agent_sessions.audit.checks import DEPTH
from agent_sessions.audit.filed import ProofFile
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.notes import Policy
from agent_sessions.audit.open_chain import filed_chain_problems, write_open_chain
from agent_sessions.audit.verify import verify_filed
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
from agent_sessions.services.artifacts import file_artifact, require_seal
from agent_sessions.services.keys import signing_keys
from agent_sessions.services.site_events import record

DISCLOSED: Final = "evidence.disclosed"
MAX_REASON: Final = 200
_IN_MEMORY: Final = 1 << 20
"""Bytes of the longest proof that is made in memory; longer ones are in a file that has no name."""
_PART: Final = 1 << 16
_TRIES: Final = 5
"""Times that evidence and proof are read when events come in between: what it says has to be in its proof."""
_SEALED: Final = "The signed artifact of the session, made when it ended."
_OPEN: Final = (
    "The session has not ended, so nobody has signed it yet. These are its events so far: nothing in them can be "
    "changed unseen, but that none is missing at the end is shown by the artifact only."
)


class EvidenceFile:
    """A document with the proof in a file: its bytes, ``size`` of them, are those that ``evidence_bytes`` writes.

    ``evidence`` is what it states, without the proof's document; ``proof`` is that. A session of any length takes no
    more memory than what is stated of it. To be closed.
    """

    def __init__(self, evidence: Evidence, proof: IO[bytes]) -> None:
        self.evidence, self.proof = evidence, proof
        document: dict[str, Any] = evidence.to_json()
        proven: dict[str, Any] = document.pop("proof")
        del proven["document"]  # the first of its members in the order in which they are written
        before = {name: value for name, value in document.items() if name < "proof"}
        after = {name: value for name, value in document.items() if name > "proof"}
        self._before = _canonical(before)[:-1] + b',"proof":{"document":'
        self._after = b"," + _canonical(proven)[1:] + b"," + _canonical(after)[1:]
        self.size = len(self._before) + proof.seek(0, SEEK_END) + len(self._after)

    def __iter__(self) -> Iterator[bytes]:
        yield self._before
        self.proof.seek(0)
        while part := self.proof.read(_PART):
            yield part
        yield self._after

    def __enter__(self) -> EvidenceFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.proof.close()


def get_evidence(
    session_id: uuid.UUID,
    subject: Subject = WHOLE,
    *,
    personal: bool = False,
    reason: str = "",
    actor: Actor = SYSTEM,
    with_document: bool = True,
    most: int | None = None,
) -> Evidence:
    """Return what a decision, a payment, an order or a whole session rested on, with the proof of it (A2).

    Without ``personal`` what people said and what is known of the consumer is left out, here and in the proof. With it,
    ``actor`` and ``reason`` (1 to 200 characters, nothing personal) go into the site's own chain first (A9).
    ``with_document`` False says of the proof what came of checking it, and leaves it out. ``most`` is how many of a
    kind are stated, the first ones: a page that shows no more of a long session needs no more memory for it.

    Raises InvalidValue if there is no such subject or no reason, and what ``get_artifact`` raises.
    """
    with open_evidence(session_id, subject, personal=personal, reason=reason, actor=actor, most=most) as found:
        if not with_document or found.evidence.proof is None:
            return found.evidence
        found.proof.seek(0)
        document: Any = parse_strict(found.proof.read(), max_depth=DEPTH)
        proof = msgspec.structs.replace(found.evidence.proof, document=document)
        return msgspec.structs.replace(found.evidence, proof=proof)


def open_evidence(
    session_id: uuid.UUID,
    subject: Subject = WHOLE,
    *,
    personal: bool = False,
    reason: str = "",
    actor: Actor = SYSTEM,
    most: int | None = None,
) -> EvidenceFile:
    """Return what ``get_evidence`` does as a file: whole, verified, and recorded before a byte of it can be read."""
    if personal:
        check_reason(reason)
    found = file_evidence(session_id, subject, site_trust(), personal=personal, most=most)
    if personal:
        facts: dict[str, Any] = {"session": str(session_id), "subject": subject.kind, "reason": reason}
        try:
            record(DISCLOSED, actor, facts)
        except BaseException:
            found.close()
            raise
    return found


def check_reason(reason: str) -> None:
    """Raises InvalidValue if nobody says why what is personal is shown."""
    check_text("/reason", reason, MAX_REASON)
    if not reason.strip():
        raise InvalidValue("/reason", f"Say in 1 to {MAX_REASON} characters why what is personal is to be shown.")


def file_evidence(
    session_id: uuid.UUID, subject: Subject, trust: Trust, *, personal: bool, most: int | None = None
) -> EvidenceFile:
    """Return the document with its proof (an artifact, or the chain so far) and what the verifier says of that.

    Both at one moment of the session, unless it moves on again and again.
    """
    for attempt in range(_TRIES):
        file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - whoever gets it closes it
        try:
            found = _read_both(session_id, subject, trust, file, personal=personal, most=most)
        except BaseException:
            file.close()
            raise
        if attempt + 1 == _TRIES or read_head(session_id).head_seq == found.evidence.session.events:
            break
        file.close()
    return found


def _read_both(
    session_id: uuid.UUID, subject: Subject, trust: Trust, file: IO[bytes], *, personal: bool, most: int | None
) -> EvidenceFile:
    disclose = "all" if personal else "content"
    out, told = ProofFile(file), {}
    try:
        head, seal = require_seal(session_id)
    except ArtifactNotReady:
        sealed, head = False, read_head(session_id)
        chain = write_open_chain(out, str(session_id), _events(head), _openings(head, disclose))
        problems = filed_chain_problems(chain)
        ok = not problems
        told = {"ok": ok, "problems": msgspec.to_builtins(problems), "event_count": len(chain["events"])}
    else:
        sealed = True
        artifact = file_artifact(out, head, seal, disclose=disclose)
        result = verify_filed(artifact, out.size, trust.keys, log=trust.log)
        told, ok = msgspec.json.decode(msgspec.json.encode(result)), result.ok and result.trusted
    proof = Proof(
        sealed=sealed,
        note=_SEALED if sealed else _OPEN,
        sha256=out.sha256,
        opened=disclose,
        ok=ok,
        verification=told,
        document=None,
    )
    found = evidence(head, subject, personal=personal, most=most)
    return EvidenceFile(msgspec.structs.replace(found, proof=proof), file)


def _events(head: SessionHead) -> Iterator[bytes]:
    """Yield the events so far. Raises SessionDamaged if there are none."""
    rows = AuditEvent.objects.using(_rows.write_connection().alias).filter(session_id=head.session_id)
    stored = rows.filter(seq__lte=head.head_seq).order_by("seq").values_list("canonical", flat=True)
    canonical = None
    for canonical in stored.iterator(chunk_size=200):
        yield bytes(canonical)
    if canonical is None:
        raise SessionDamaged(head.session_id, "its events are missing")


def _openings(head: SessionHead, disclose: str) -> Iterator[Opening]:
    return openings(head, disclose=disclose, up_to=head.head_seq)


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


def evidence_bytes(found: Evidence) -> bytes:
    """Write a document as canonical JSON."""
    return _canonical(found.to_json())


def _canonical(document: dict[str, Any]) -> bytes:
    return canonical_bytes(document, max_depth=DEPTH + 2)
