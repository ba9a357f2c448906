"""The artifact: what a session leaves behind, signed, so that anyone can check it without asking the shop.

It is the protocol's document (contract item 78) with members of ours beside it. ``signature`` is over the
root hash, as the protocol says, and so covers events only. ``envelope`` repeats every fact about the session
that stands outside the events, and ``runtime_signature`` covers it. Start facts stand in the first event's
``header`` too and end facts in the last event's ``params``, so that neither the document nor the envelope can
say anything that the chain does not.

Private values are in no event, only commitments to them. ``openings`` discloses some (salt and value): each
reader can be given others under the same signatures. The ``session`` of these commitments is the ``run_id``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from itertools import chain
from typing import Any, Final

from agent_sessions.audit.chain import check_chain, event_problems
from agent_sessions.audit.events import ENDED, event_hash, root_hash
from agent_sessions.audit.filed import ProofFile
from agent_sessions.audit.leaf import SessionLeaf, parse_leaf
from agent_sessions.audit.proofs import Inclusion
from agent_sessions.audit.shapes import ARTIFACT_TYPE, ENVELOPE, ENVELOPE_TYPE, shape_problems
from agent_sessions.crypto.canonical import JSON, canonical_bytes, parse_strict
from agent_sessions.crypto.commitments import opens
from agent_sessions.crypto.encoding import to_base64, to_base64url
from agent_sessions.crypto.signing import key_id, public_key_text, sign, verify
from agent_sessions.exceptions import InvalidValue, KeyProblem, NoteRefused, SessionDamaged

ENVELOPE_DOMAIN: Final = b"agent-session-envelope/v1\0"
"""What is signed begins with it, so that no signature over a root hash passes for one over an envelope."""

PURPOSE: Final = "purpose"
"""Path of the agent's purpose among the first event's private values."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What is kept of an ended session so that its artifact can be written at any time.

    ``envelope`` is canonical JSON; signatures are 64 raw bytes and the key 32; ``root_hash`` is lowercase
    hex.
    """

    envelope: bytes
    root_hash: str
    signature: bytes
    runtime_signature: bytes
    public_key: bytes
    event_count: int


@dataclass(frozen=True, slots=True)
class Opening:
    """A private value to disclose: of which event and path, with the salt (32 bytes) of its commitment."""

    seq: int
    path: str
    salt: bytes
    value: JSON

    def to_json(self) -> dict[str, JSON]:
        return {"path": self.path, "salt": to_base64url(self.salt), "seq": self.seq, "value": self.value}


def make_seal(
    first_event: bytes, last_event: bytes, hashes: Sequence[str], *, private_key: bytes, public_key: bytes
) -> Seal:
    """Sign an ended session with a key at hand. See ``seal_with``."""
    return seal_with(
        first_event,
        last_event,
        hashes,
        sign=lambda message: sign(private_key, message),
        public_key=public_key,
    )


def seal_with(
    first_event: bytes,
    last_event: bytes,
    hashes: Sequence[str],
    *,
    sign: Callable[[bytes], bytes],
    public_key: bytes,
) -> Seal:
    """Sign an ended session: envelope and both signatures (contract items 71, 76 and 77).

    ``first_event`` and ``last_event`` are canonical bytes, ``hashes`` the hex hashes of all events from the
    first to the last, in order. ``sign`` makes an Ed25519 signature; a key service can stand behind it.

    Raises SessionDamaged when the events are not a session's first and last or not what was hashed, and
    KeyProblem when the signatures do not fit the public key.
    """
    if len(hashes) < 2 or hashes[0] != event_hash(first_event) or hashes[-1] != event_hash(last_event):
        raise SessionDamaged(_run_id(first_event), "the first or last event is not the one that was hashed")
    envelope = canonical_bytes(_envelope(first_event, last_event, hashes, public_key))
    root = root_hash(hashes)
    signature = sign(root.encode("ascii"))
    runtime_signature = sign(ENVELOPE_DOMAIN + envelope)
    if not verify(public_key, root.encode("ascii"), signature) or not verify(
        public_key, ENVELOPE_DOMAIN + envelope, runtime_signature
    ):
        raise KeyProblem(
            f"The signing key does not belong to the public key {key_id(public_key)}. "
            "Configure both halves of one key pair.",
            key_id=key_id(public_key),
        )
    return Seal(envelope, root, signature, runtime_signature, public_key, len(hashes))


def build_artifact(
    seal: Seal,
    events: Sequence[bytes],
    openings: Sequence[Opening] = (),
    *,
    inclusion: Inclusion | None = None,
    after: Sequence[bytes] = (),
) -> bytes:
    """Write the artifact as canonical JSON, ready to be served or stored.

    ``events`` are canonical bytes from the first on; what was appended after the end is left out. ``after`` are the
    events after the end, which say what was erased since; they are chained on, but the seal does not cover them.
    ``openings`` may come in any order. ``inclusion`` is the proof that the end of the session is in the log; it
    is not covered by the seal's signatures, since a log can only hold what was there before it.

    Raises SessionDamaged when the events are not those that were sealed or those after the end do not follow them,
    InvalidValue for an opening that does not open the commitment of its event and for a leaf that is not this
    session's end, and NoteRefused for a proof that does not lead from the leaf to its tree head.
    """
    covered, file = events[: seal.event_count], BytesIO()
    ordered = sorted(openings, key=lambda opening: (opening.seq, opening.path))
    document = write_artifact(ProofFile(file), seal, covered, ordered, inclusion=inclusion, after=after)
    _check_openings(ordered, covered, document["run_id"])
    return file.getvalue()


def write_artifact(
    file: ProofFile,
    seal: Seal,
    events: Iterable[bytes],
    openings: Iterable[Opening],
    *,
    inclusion: Inclusion | None = None,
    after: Sequence[bytes] = (),
) -> dict[str, Any]:
    """Write an artifact of any length to a file; return it as ``verify.verify_filed`` takes it.

    As ``build_artifact``, but that ``openings`` come in order, and that whether they open anything is for the verifier.
    """
    envelope: Any = parse_strict(seal.envelope)
    run_id: str = envelope["run_id"]
    first, rest = [], iter(openings)
    for opening in rest:  # the purpose is told before the events, and among the first that are opened
        first.append(opening)
        if opening.seq > 1:
            break
    purpose = next((opening.value for opening in first if (opening.seq, opening.path) == (1, PURPOSE)), None)
    document: dict[str, Any] = {
        "agent": {
            "name": envelope["agent"]["name"],
            "purpose": purpose,
            "version": envelope["agent"]["version"],
        },
        "created_at": envelope["created_at"],
        "ended_at": envelope["ended_at"],
        "envelope": envelope,
        "public_key": public_key_text(seal.public_key),
        "root_hash": seal.root_hash,
        "run_id": run_id,
        "runtime_signature": to_base64(seal.runtime_signature),
        "session_id": envelope["token_hash"],
        "signature": to_base64(seal.signature),
        "site": envelope["site"],
        "type": ARTIFACT_TYPE,
    }
    # What was signed and what was hashed goes in as those bytes, never re-written.
    written = {name: canonical_bytes(value) for name, value in document.items()} | {"envelope": seal.envelope}
    lists: dict[str, Iterable[bytes]] = {
        "events": _sealed(events, seal, run_id),
        "openings": (canonical_bytes(opening.to_json()) for opening in chain(first, rest)),
    }
    if after:
        found = check_chain(
            enumerate(after, seal.event_count + 1), run_id=run_id, after=(seal.event_count, envelope["head_hash"])
        )
        if found:
            raise SessionDamaged(run_id, f"{found[0].where} {found[0].message}")
        document["after"], lists["after"] = [], after
    if inclusion is not None:
        check_leaf(inclusion.leaf, run_id=run_id, event_count=seal.event_count, head_hash=envelope["head_hash"])
        if not inclusion.proof.proves(inclusion.leaf):
            raise NoteRefused("the proof does not lead from the leaf to the tree head")
        written["inclusion"] = inclusion.to_json()
        document["inclusion"] = parse_strict(written["inclusion"])
    for number, name in enumerate(sorted(written.keys() | lists)):
        file.put(b'%b"%b":' % (b"," if number else b"{", name.encode("ascii")))
        if name in lists:
            document[name] = file.put_list(lists[name])
        else:
            file.put(written[name])
    file.put(b"}")
    return document


def _sealed(events: Iterable[bytes], seal: Seal, run_id: str) -> Iterator[bytes]:
    """Yield the events. Raises SessionDamaged after the last if they are not the ones that were sealed."""
    count, root = 0, sha256()
    for count, event in enumerate(events, start=1):  # noqa: B007 - how many there were
        root.update(event_hash(event).encode("ascii"))
        yield event
    if (count, root.hexdigest()) != (seal.event_count, seal.root_hash):
        raise SessionDamaged(run_id, "its events are not the ones that were sealed when it ended")


def check_leaf(written: bytes, *, run_id: str, event_count: int, head_hash: str) -> SessionLeaf:
    """Read a leaf that is to stand for this session's end: the last event that its artifact covers.

    Raises InvalidValue for any other. A leaf of an earlier event would leave the end out, and one of a later event
    (a purge) says nothing that could be compared with the events in the artifact.
    """
    leaf = parse_leaf(written)
    if not isinstance(leaf, SessionLeaf):
        raise InvalidValue("/type", "is not a leaf of a session")
    if leaf.session != run_id:
        raise InvalidValue("/session", "is another session")
    if (leaf.seq, leaf.head) != (event_count, head_hash):
        raise InvalidValue("/seq", "is not the last event of the artifact, by number and hash")
    return leaf


def _envelope(first_event: bytes, last_event: bytes, hashes: Sequence[str], public_key: bytes) -> dict[str, JSON]:
    """Collect what the envelope says from the events, which are the only source of it."""
    first, last = _event(first_event), _event(last_event)
    run_id = str(first.get("run_id"))
    found = event_problems(first, seq=1, prev_hash="", run_id=run_id, where="the first event")
    found += event_problems(last, seq=len(hashes), prev_hash=hashes[-2], run_id=run_id, where="the last event")
    if found:
        raise SessionDamaged(run_id, f"{found[0].where} {found[0].message}")
    header: Any = first["header"]
    params: Any = last["params"]
    private: Any = first.get("private", {})
    envelope: dict[str, JSON] = {
        **header,
        "end_reason": params.get("end_reason"),
        "ended_at": params.get("ended_at"),
        "event_count": len(hashes),
        "head_hash": hashes[-1],
        "key_id": key_id(public_key),
        "root_hash": root_hash(hashes),
        "run_id": run_id,
        "type": ENVELOPE_TYPE,
    }
    if PURPOSE in private:
        envelope["purpose_commitment"] = private[PURPOSE]
    found = shape_problems(envelope, ENVELOPE, "the envelope")
    if last["kind"] != ENDED or found:
        raise SessionDamaged(run_id, f"its last event is not {ENDED} with the time and the reason")
    return envelope


def _check_openings(openings: Sequence[Opening], events: Sequence[bytes], run_id: str) -> None:
    for number, opening in enumerate(openings):
        where = f"/openings/{number}"
        if number and (opening.seq, opening.path) == (openings[number - 1].seq, openings[number - 1].path):
            raise InvalidValue(where, "opens the same value twice")
        private: Mapping[str, Any] = {}
        if 1 <= opening.seq <= len(events):
            private = _private(_event(events[opening.seq - 1]))
        made = private.get(opening.path)
        if (
            len(opening.salt) != 32
            or made is None
            or not opens(made, opening.salt, run_id, opening.seq, opening.path, opening.value)
        ):
            raise InvalidValue(where, f"does not open a commitment of event {opening.seq}")
        if (opening.seq, opening.path) == (1, PURPOSE) and type(opening.value) is not str:
            raise InvalidValue(where, "is a purpose that is not text")


def _event(canonical: bytes) -> dict[str, JSON]:
    try:
        event = parse_strict(canonical)
    except InvalidValue as error:
        raise SessionDamaged("(unreadable)", f"an event {error.problem}") from None
    if type(event) is not dict:
        raise SessionDamaged("(unreadable)", "an event is not an object")
    return event


def _private(event: Mapping[str, JSON]) -> Mapping[str, Any]:
    private: Any = event.get("private", {})
    return private if type(private) is dict else {}


def _run_id(canonical: bytes) -> str:
    return str(_event(canonical).get("run_id"))
