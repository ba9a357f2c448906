"""Every error the package raises: what was wrong, with what, and what to do next.

Each class has a stable ``code`` for programs, an HTTP ``status`` for the wire, and its facts as attributes and in
``details``. Messages never hold a secret, a token or a value that an agent or a consumer sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Protocol


class AgentSessionsError(Exception):
    """Base of all errors of this package; catch it to catch them all."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


# What the caller sent


class InvalidValue(AgentSessionsError):
    """A value, key or shape that a session cannot hold. ``path`` is a JSON pointer (RFC 6901) to it."""

    code = "invalid_value"
    status = 422

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or '/'}: {problem}", path=path, problem=problem)
        self.path = path
        self.problem = problem


class LimitExceeded(AgentSessionsError):
    """A slice, a state or a message is larger than the setting allows. Sizes are bytes of JSON."""

    code = "limit_exceeded"
    status = 413

    def __init__(self, what: str, *, size: int, limit: int, setting: str) -> None:
        super().__init__(
            f"{what} would hold {size} bytes; the limit is {limit} (AGENT_SESSIONS[{setting!r}]). "
            "Keep only what the agent needs and refer to the rest by id.",
            what=what,
            size=size,
            limit=limit,
        )
        self.what = what
        self.size = size
        self.limit = limit


class InvalidParameter(AgentSessionsError):
    """A parameter of a capability is missing, has the wrong type, or is not one of its values (contract item 38)."""

    code = "invalid_parameter"
    status = 400

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}", parameter=name, problem=problem)
        self.name = name
        self.problem = problem


class PaymentDataRefused(AgentSessionsError):
    """A card's number, track data, a security code or a PIN, where none is ever kept (S8). Nothing was stored.

    ``pointer`` is a JSON pointer (RFC 6901) that never holds the value; ``rule`` says what was found there, for
    programs; ``where`` which part of an HTTP request it is about: body, query, path or header.
    """

    code = "payment_data_refused"
    status = 422

    def __init__(self, pointer: str, rule: str, where: str = "") -> None:
        place = f"{where} {pointer or '/'}".strip()
        super().__init__(
            f"{place} holds raw payment data ({rule}). Nothing of the request was kept. Send the token that the "
            "payment provider gives for the card, with its brand and last four digits if they are needed.",
            pointer=pointer,
            rule=rule,
            **({"where": where} if where else {}),
        )
        self.pointer = pointer
        self.rule = rule
        self.where = where


# Sending a request again


class IdempotencyKeyReused(AgentSessionsError):
    """The Idempotency-Key came with another request before; nothing was done (V7)."""

    code = "idempotency_key_reused"
    status = 422

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key came with another request before. Send a new key with a new request, and the same "
            "request when you send one again."
        )


class RequestInProgress(AgentSessionsError):
    """The same request, under the same Idempotency-Key, is being carried out (V7). ``retry_after`` in seconds."""

    code = "request_in_progress"
    status = 409

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(
            f"This request is being carried out. Send it again after {retry_after} seconds, with the same "
            "Idempotency-Key, for its answer.",
            retry_after=retry_after,
        )
        self.retry_after = retry_after


# What the store says to a call


class ItemNotFound(AgentSessionsError):
    """The store has no such item, or the cart has no such line (contract item 40)."""

    code = "item_not_found"
    status = 404

    def __init__(self, what: str, where: str = "in this store") -> None:
        super().__init__(f"There is no {what} {where}.")


class CartProblem(AgentSessionsError):
    """The store will not sell that: out of stock, not for sale, a voucher that does not hold, an empty cart.

    ``problems`` are maps with ``code``, ``message`` and, where it helps, ``line``, ``voucher`` and ``available``.
    The status is 400 and not 409, because the protocol's clients read the answers to 400 only.
    """

    code = "cart_problem"
    status = 400

    def __init__(self, message: str, problems: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message, problems=[dict(problem) for problem in problems])
        self.problems = tuple(problems)


class PolicyDenied(AgentSessionsError):
    """A rule of the site, or the scope that the consumer set, does not allow the call.

    ``approval`` tells how a person is asked, where the yes of one would help, and what came of it so far.
    """

    code = "policy_denied"
    status = 403

    def __init__(
        self, message: str, *, rule: str, needs_human: bool, approval: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(
            message, rule=rule, needs_human=needs_human, **({} if approval is None else {"approval": dict(approval)})
        )
        self.rule = rule
        self.needs_human = needs_human


class HoldRefused(AgentSessionsError):
    """The shop does not keep these pieces for the session (X1). ``available``: how many it could, None if unknown."""

    code = "hold_refused"
    status = 409

    def __init__(self, message: str, available: int | None = None) -> None:
        super().__init__(message, **({} if available is None else {"available": available}))
        self.available = available


class HoldNotFound(AgentSessionsError):
    """The session has no such hold, or has it no more: it was released, ordered, or has expired."""

    code = "hold_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("This session holds nothing by that id. List its holds to see what it has.")


class StaleCart(AgentSessionsError):
    """Something the cart depends on has changed in the shop and was not validated again (X2).

    ``parts`` are maps with ``kind``, ``ref``, ``what`` (what has changed) and ``since``.
    """

    code = "stale_cart"
    status = 409

    def __init__(self, parts: Sequence[Mapping[str, object]]) -> None:
        super().__init__(
            f"The shop has changed what this cart depends on ({len(parts)} {'part' if len(parts) == 1 else 'parts'}). "
            "Revalidate the session, tell the consumer what is different, and check out again.",
            parts=[dict(part) for part in parts],
        )
        self.parts = tuple(parts)


class FactUnavailable(AgentSessionsError):
    """What the customer did not say could not be looked up; nothing is guessed in its place (X3)."""

    code = "fact_unavailable"
    status = 503

    def __init__(self, name: str) -> None:
        super().__init__(f"The fact {name} could not be looked up. Ask the customer, or try again later.", fact=name)
        self.name = name


class NoStore(AgentSessionsError):
    """The site has no store adapter, or it could not be made."""

    code = "no_store"
    status = 503


class DocumentRefused(AgentSessionsError):
    """A state document cannot be taken over (C3). ``reason`` is for programs, ``path`` a JSON pointer into it.

    The message can be passed on to the customer; nothing was stored.
    """

    code = "document_refused"
    status = 422

    def __init__(self, reason: str, problem: str, path: str, problems: Sequence[Mapping[str, object]] = ()) -> None:
        told = {"problems": [dict(one) for one in problems]} if problems else {}
        super().__init__(problem, reason=reason, path=path, **told)
        self.reason = reason
        self.path = path


# Limits


class TooManySessions(AgentSessionsError):
    """The caller has as many live sessions as it may have (T7). ``retry_after``: seconds until the next one ends."""

    code = "too_many_sessions"
    status = 429

    def __init__(self, *, limit: int, retry_after: int) -> None:
        super().__init__(
            f"You have {limit} live sessions, which is the most. End one, or retry after {retry_after} seconds.",
            limit=limit,
            retry_after=retry_after,
        )
        self.retry_after = retry_after


class RateLimited(AgentSessionsError):
    """Too many requests in this minute. ``retry_after`` in seconds (contract items 43 and 44)."""

    code = "rate_limited"
    status = 429

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"Rate limit exceeded. Retry after {retry_after} seconds.", retry_after=retry_after)
        self.retry_after = retry_after


# Handing over to a human


class HandoffNotFound(AgentSessionsError):
    code = "handoff_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such checkout link. Ask your agent for a new one.")


class CheckoutElsewhere(AgentSessionsError):
    """The consumer, or another branch of the session, has a checkout in progress, or has ordered (C1, L3).

    ``session_id`` is the session of that checkout; ``expires_at`` (UTC) is when it is over by itself, None if it was
    ordered.
    """

    code = "checkout_elsewhere"
    status = 409

    def __init__(self, session_id: object, expires_at: datetime | None) -> None:
        told = (
            "Another branch of this session has been ordered. Open a new session to buy more."
            if expires_at is None
            else "There is another checkout in progress, of the consumer or of another branch. Pay there, give it up "
            "there, or wait until it is over."
        )
        facts = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        super().__init__(told, session=str(session_id), ordered=expires_at is None, **facts)
        self.session_id = session_id
        self.expires_at = expires_at


class DevicesUnconfirmed(AgentSessionsError):
    """The consumer has other active agents and has not confirmed this checkout for them (C2). Nothing was paid."""

    code = "devices_unconfirmed"
    status = 409

    def __init__(self, agents: Sequence[str]) -> None:
        super().__init__(
            "You have other agents at work here. Say on this page, or on each of them, that you want to go on with "
            "this cart.",
            devices=len(agents),
        )
        self.agents = tuple(agents)


class HandoffClosed(AgentSessionsError):
    """The handoff cannot be paid: ``handoff_status`` says why, ``order_ref`` names the order if there is one."""

    code = "handoff_closed"
    status = 409

    def __init__(self, status: str, order_ref: str = "") -> None:
        told = {
            "ordered": f"This cart has been ordered: {order_ref}.",
            "expired": "The time to pay for this cart has passed. Ask your agent for a new link.",
            "replaced": "Your agent has made a newer checkout link. Use that one.",
            "given_up": "This checkout was given up. Ask your agent for a new link.",
            "ended": "The agent's session has ended. Ask your agent to start again.",
        }
        super().__init__(told.get(status, "This cart can no longer be paid."), status=status, order_ref=order_ref)
        self.handoff_status = status
        self.order_ref = order_ref


# Asking a human


class ApprovalNotFound(AgentSessionsError):
    code = "approval_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such approval. The agent can ask for a new one.")


class ApprovalWaiting(AgentSessionsError):
    """A person was asked about this cart and has not answered yet, so it is not checked out (L5)."""

    code = "approval_waiting"
    status = 409

    def __init__(self, approval_id: object) -> None:
        super().__init__(
            "A person was asked about this cart and has not answered yet. Wait for the answer, or change the cart.",
            approval=str(approval_id),
        )


class ApprovalClosed(AgentSessionsError):
    """An approval that can be answered or used no more; ``approval_status`` says what has become of it (L5)."""

    code = "approval_closed"
    status = 409

    def __init__(self, approval_id: object, status: str) -> None:
        told = {
            "escalated": "The shop has been asked to decide this; its answer counts.",
            "granted": "This has been granted already.",
            "rejected": "A person has rejected this cart. Change it, or ask again.",
            "void": "The cart is not the one that was asked about any more. The agent has to ask again.",
            "used": "This approval has been used; it holds once.",
        }
        super().__init__(
            told.get(status, "This approval does not hold any more."), approval=str(approval_id), status=status
        )
        self.approval_id = approval_id
        self.approval_status = status


class ApprovalExpired(ApprovalClosed):
    """The window of an approval, or its session, lapsed before it was answered and used (L5)."""

    code = "approval_expired"

    def __init__(self, approval_id: object) -> None:
        super().__init__(approval_id, "expired")
        self.message = "Approval window expired. Consumer must re-authorize."
        self.args = (self.message,)


class AnswerRefused(AgentSessionsError):
    """An answer to an approval that did not fit: from somebody else than its consumer, or with another total.

    ``attempts_left`` is how many more there may be; at none the approval counts as rejected.
    """

    code = "answer_refused"
    status = 403

    def __init__(self, approval_id: object, attempts_left: int) -> None:
        super().__init__(
            f"The answer does not fit what was asked. Nothing was decided; {attempts_left} more can be tried.",
            approval=str(approval_id),
            attempts_left=attempts_left,
        )
        self.attempts_left = attempts_left


# The session it was about


class InvalidToken(AgentSessionsError):
    """Missing, forged, malformed, superseded, ended, expired or revoked: always this one answer (T3)."""

    code = "invalid_token"
    status = 401

    def __init__(self) -> None:
        super().__init__("Session token is missing, invalid, or expired.")


class InvalidAssertion(AgentSessionsError):
    """Nobody vouches for the consumer: the assertion is missing, forged, expired, revoked, or of somebody else (C1)."""

    code = "invalid_assertion"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "It is not known for whom you act. Ask the consumer for a new assertion from their account in this shop."
        )


class SignatureRefused(AgentSessionsError):
    """The site requires an HTTP message signature (RFC 9421) and the request has none that can be verified."""

    code = "signature_refused"
    status = 403


class SessionNotFound(AgentSessionsError):
    code = "session_not_found"
    status = 404

    def __init__(self, session_id: object) -> None:
        super().__init__(f"There is no session {session_id}.", session=str(session_id))


class VersionNotFound(AgentSessionsError):
    """The session has no such version, or had none at that time."""

    code = "version_not_found"
    status = 404


class SessionEnded(AgentSessionsError):
    """The session has ended and takes no more changes; its history stays readable."""

    code = "session_ended"
    status = 409

    def __init__(self, session_id: object, end_reason: str) -> None:
        super().__init__(
            f"Session {session_id} has ended ({end_reason}). Open a new session to go on.",
            session=str(session_id),
            end_reason=end_reason,
        )
        self.end_reason = end_reason


class SessionExpired(SessionEnded):
    """The session's deadline has passed; the deadline is hard, nothing extends it."""

    code = "session_expired"

    def __init__(self, session_id: object) -> None:
        super().__init__(session_id, "expired")


class SessionRevoked(SessionEnded):
    """The key that the session's token was made with was revoked."""

    code = "session_revoked"

    def __init__(self, session_id: object) -> None:
        super().__init__(session_id, "revoked")


class SessionPaused(AgentSessionsError):
    """The session is paused: it takes no changes until it is resumed (L3). By a person: the agent does not do that."""

    code = "session_paused"
    status = 409

    def __init__(self, session_id: object, *, by: str = "") -> None:
        told = f" by a person ({by}). Wait until it is resumed." if by else ". Resume it to go on."
        super().__init__(f"Session {session_id} is paused{told}", session=str(session_id), **({"by": by} if by else {}))


class NotPaused(AgentSessionsError):
    """What is to be resumed is not paused."""

    code = "not_paused"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(f"Session {session_id} is not paused; it takes changes as it is.", session=str(session_id))


class SessionHeld(AgentSessionsError):
    """A person has the session; the agent may read it and waits until it is given back (L4)."""

    code = "session_held"
    status = 409

    def __init__(self, session_id: object, held_by: str) -> None:
        kind = held_by.partition(":")[0]
        super().__init__(
            f"Session {session_id} is with a person ({kind}). Wait until it is handed back.",
            session=str(session_id),
            held_by=kind,
        )


class StepRefused(AgentSessionsError):
    """The step cannot be started now, or cannot take that outcome: finished, still running, to be asked about (R2)."""

    code = "step_refused"
    status = 409

    def __init__(self, step: str, problem: str) -> None:
        super().__init__(f"Step {step}: {problem}", step=step)
        self.step = step


class NothingCommitted(AgentSessionsError):
    """There is no committed version that the session could go back to (V6)."""

    code = "nothing_committed"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(
            f"Nothing of session {session_id} has been committed, so there is nothing to go back to. Commit first.",
            session=str(session_id),
        )


class NotHeld(AgentSessionsError):
    """What is to be taken back is with the agent already."""

    code = "not_held"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(f"No person has session {session_id}; the agent has it.", session=str(session_id))


class ActorRefused(AgentSessionsError):
    """Only a person may do that: the consumer, or somebody on the staff."""

    code = "actor_refused"
    status = 403

    def __init__(self) -> None:
        super().__init__("Only the consumer or the staff of the shop may do that. Ask the consumer.")


class NotRelated(AgentSessionsError):
    """The other session is not of this one's family, or there is no such session."""

    code = "not_related"
    status = 404

    def __init__(self) -> None:
        super().__init__("This session has no such relative. List its branches and what it came from first.")


class TransferRefused(AgentSessionsError):
    """A session was not taken over (T4): the one answer to a code that is unknown, used, replaced or past its time.

    And to one whose session has ended, is of another consumer, or is with a person who did not allow it.
    """

    code = "transfer_refused"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "This session cannot be taken over with this code: it is unknown, used or past its time, or it is not for "
            "you. Ask the consumer for a new one."
        )


class Change(Protocol):
    """One difference between two states, in shop terms (see ``agent_sessions.domain.differences``)."""

    @property
    def text(self) -> str: ...


class VersionConflict(AgentSessionsError):
    """The change was based on a version that is not the current one; nothing was written (V3).

    ``changes`` tells what has changed between ``expected`` and ``current``, as far as it can be read.
    """

    code = "version_conflict"
    status = 409

    def __init__(self, session_id: object, *, expected: int, current: int, changes: Sequence[Change] = ()) -> None:
        since = "; ".join(change.text for change in changes[:5]) or "no difference in content"
        super().__init__(
            f"Session {session_id} is at version {current}, not {expected}. Since then: {since}. "
            f"Read version {current}, decide again, and send the change with it as the expected version.",
            session=str(session_id),
            expected=expected,
            current=current,
            changes=[change.text for change in changes],
        )
        self.expected = expected
        self.current = current
        self.changes = tuple(changes)


class MergeConflict(VersionConflict):
    """The change was to be merged, but touches what others have changed to something else; nothing was written (V5).

    ``paths`` are JSON pointers of these places.
    """

    code = "merge_conflict"

    def __init__(self, session_id: object, *, expected: int, current: int, paths: Sequence[str]) -> None:
        super().__init__(session_id, expected=expected, current=current)
        self.message = (
            f"Version {current} of session {session_id} has other values than yours in {len(paths)} place(s) that you "
            f"changed since version {expected}. Read it, decide again, and send the change based on it."
        )
        self.args = (self.message,)
        self.paths = tuple(paths)
        self.details = {name: fact for name, fact in self.details.items() if name != "changes"} | {"paths": list(paths)}


class SessionBusy(AgentSessionsError):
    """So many writers were at the same session, or the database stayed locked so long, that no retry won."""

    code = "session_busy"
    status = 503

    def __init__(self, what: object) -> None:
        super().__init__(f"{what} is being written by many at once; nothing was written. Try again.", what=str(what))


# What is stored


class SessionDamaged(AgentSessionsError):
    """The stored history cannot be trusted (unreadable, altered, or incomplete)."""

    code = "session_damaged"
    status = 500

    def __init__(self, session_id: object, problem: str) -> None:
        super().__init__(
            f"Session {session_id} is damaged: {problem}. Run `manage.py verify_sessions --session {session_id}` "
            "for the full report.",
            session=str(session_id),
            problem=problem,
        )
        self.problem = problem


class SessionQuarantined(SessionDamaged):
    """The session was found damaged and is closed to readers and writers until someone has looked at it."""

    code = "session_quarantined"
    status = 409


class ContentErased(AgentSessionsError):
    """The session's data key is gone, and with it what its state, messages and private parts said."""

    code = "content_erased"
    status = 410

    def __init__(self, session_id: object, *, rule: str = "", at: datetime | None = None) -> None:
        facts = {} if at is None else {"rule": rule, "erased_at": at.isoformat()}
        why = "" if at is None else f" under rule {rule!r} on {at.date().isoformat()}"
        super().__init__(
            f"The content of session {session_id} was erased{why}; its events and artifact remain.",
            session=str(session_id),
            **facts,
        )


class SessionNotEnded(AgentSessionsError):
    """Only what an ended session says is erased; this one is live (A7)."""

    code = "session_not_ended"
    status = 409

    def __init__(self, session_id: object) -> None:
        super().__init__(
            f"Session {session_id} has not ended; nothing of it was erased. End it first, or wait for its deadline.",
            session=str(session_id),
        )


class LegallyHeld(AgentSessionsError):
    """A legal hold keeps the session from being erased, whatever its age and whoever asks (A6).

    ``holds`` are the ids of the holds in force.
    """

    code = "legally_held"
    status = 409

    def __init__(self, session_id: object, holds: Sequence[object]) -> None:
        names = [str(hold) for hold in holds]
        super().__init__(
            f"Session {session_id} is under legal hold ({', '.join(names)}); nothing of it was erased. "
            "It can be once each of them has been lifted.",
            session=str(session_id),
            holds=names,
        )
        self.session_id = session_id
        self.holds = tuple(holds)


class ErasedTooEarly(AgentSessionsError):
    """A retention rule keeps a session's data for longer, whoever asks (A5). ``possible_at`` is when it ends (UTC)."""

    code = "erased_too_early"
    status = 409

    def __init__(self, session_id: object, *, rule: str, possible_at: datetime) -> None:
        super().__init__(
            f"Rule {rule!r} keeps what session {session_id} holds until {possible_at:%Y-%m-%d %H:%M} UTC; nothing of "
            "it was erased. It can be from then on.",
            session=str(session_id),
            rule=rule,
            possible_at=possible_at.isoformat(),
        )
        self.rule = rule
        self.possible_at = possible_at


class HoldUnknown(AgentSessionsError):
    """There is no such legal hold, or it was lifted before (A6)."""

    code = "legal_hold_unknown"
    status = 404

    def __init__(self, hold_id: object) -> None:
        super().__init__(
            f"There is no legal hold {hold_id} in force. `manage.py legal_hold list --all` shows every one.",
            hold=str(hold_id),
        )


class ErasureUnknown(AgentSessionsError):
    """There is no such erasure of a consumer (A7)."""

    code = "erasure_unknown"
    status = 404

    def __init__(self, erasure_id: object) -> None:
        super().__init__(
            f"There is no erasure {erasure_id}. Its id stands in its receipt and in the site event erasure.requested.",
            erasure=str(erasure_id),
        )


class SealBroken(AgentSessionsError):
    """Sealed bytes do not open with this key at this place: altered, moved, or sealed with another key."""

    code = "seal_broken"

    def __init__(self, place: str) -> None:
        super().__init__(f"What is sealed at {place} does not open: it was altered or moved.", place=place)


class SchemaUnknown(AgentSessionsError):
    """The state was written by a version of this package that this one does not know."""

    code = "schema_unknown"

    def __init__(self, session_id: object, *, found: int, known: int) -> None:
        super().__init__(
            f"Session {session_id} has state schema {found}; this installation knows up to {known}. "
            "Upgrade agent_sessions on this machine.",
            session=str(session_id),
            found=found,
            known=known,
        )


# Keys


class KeyProblem(AgentSessionsError):
    """A key is missing, unsafe, unknown or out of reach; nothing was written or read."""

    code = "key_problem"
    status = 503


# Audit


class NotLogged(AgentSessionsError):
    """Nothing of a session is in a tree head that counts, or there is no such head or log (A4)."""

    code = "not_logged"
    status = 404

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem} The sequencer has to run, and the sinks to take its head.", problem=problem)


class LogDamaged(AgentSessionsError):
    """The stored Merkle log cannot be trusted: a node is missing or does not fit the others (A4)."""

    code = "log_damaged"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The audit log is damaged: {problem}. Nothing is signed over it; compare it with the exported tree heads.",
            problem=problem,
        )
        self.problem = problem


class NoteRefused(AgentSessionsError):
    """A signed note, tree head or proof is malformed, or is not signed by those whose signatures are needed (A4)."""

    code = "note_refused"
    status = 422

    def __init__(self, problem: str) -> None:
        super().__init__(f"Not a note to trust: {problem}. Get it again from where it was published.", problem=problem)
        self.problem = problem


class ArtifactNotReady(AgentSessionsError):
    """The session is still live; its artifact exists when it has ended (contract item 80)."""

    code = "artifact_not_ready"
    status = 425

    def __init__(self, session_id: object) -> None:
        super().__init__(
            f"Session {session_id} is still active; its artifact is sealed when it ends.", session=str(session_id)
        )
