"""Evidence (A2): for a decision, a payment or an order of a session, all that it rested on, in one document.

It is put together from the session's history and rows and says nothing that they do not. What it is proved with, the
signed artifact, is added by ``services.get_evidence``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone

import agent_sessions
from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import APPROVAL_USED
from agent_sessions.domain.evidence import (
    ApprovalEvidence,
    Disclosure,
    Evidence,
    Limits,
    Missing,
    OrderEvidence,
    PaymentEvidence,
    Seen,
    SessionFacts,
    SubjectFacts,
    SubjectKind,
)
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import InvalidValue, SessionDamaged
from agent_sessions.models import Approval, CheckoutHandoff, Checkpoint, DeviceConfirmation, Session
from agent_sessions.selectors import _evidence_parts as parts
from agent_sessions.selectors import _rows
from agent_sessions.selectors._evidence_history import Happened, Trail, read_events, read_versions, some_events
from agent_sessions.selectors._heads import SessionHead, get_session, read_head, require_open
from agent_sessions.selectors._keys import DataClass
from agent_sessions.selectors._states import open_document
from agent_sessions.selectors.approvals import body_place, stored_approvals
from agent_sessions.selectors.audit import sealed_parts
from agent_sessions.selectors.erasures import ErasedNote, erased
from agent_sessions.store.cart import cart_fingerprint
from agent_sessions.store.policies import DEFAULT

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Subject:
    """What evidence is asked for: the whole session, an order by its reference, a payment by the id of the attempt, or
    a decision by the number of its event or the id of an approval.
    """

    kind: SubjectKind = "session"
    ref: str = ""


WHOLE: Final = Subject()
WITHHELD: Final = parts.WITHHELD


def evidence(
    session: SessionHead | uuid.UUID, subject: Subject = WHOLE, *, personal: bool = False, most: int | None = None
) -> Evidence:
    """Return what a subject of a session rested on, without its proof. ``personal``: with what is personal (A9).

    ``most`` is how many of a kind are told, the first ones; by default all. A fixed number of queries, however long the
    history. What was erased says so in its place. Raises SessionNotFound, InvalidValue if there is no such subject,
    SessionQuarantined, SessionDamaged, SchemaUnknown, KeyProblem.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    require_open(head)
    try:
        return _Assembly(head, subject, personal, most).document()
    except (LookupError, TypeError, ValueError, AttributeError) as misfit:
        raise SessionDamaged(head.session_id, "its state has a shape that this version does not know") from misfit


@dataclass(frozen=True, slots=True)
class _Target:
    """Where in the history a subject stands: up to which event it is told, and at which version the agent stood."""

    what: str
    at: str
    event: int | None
    version: int
    until: int
    events: tuple[Happened, ...] = ()


class _Assembly:
    """One document in the making: everything that is read for it, once."""

    def __init__(self, head: SessionHead, subject: Subject, personal: bool, most: int | None) -> None:
        self.head, self.subject, self.asked_personal, self.most = head, subject, personal, most
        self.row: Session = get_session(head.session_id)
        mine = {"session_id": head.session_id}
        known = {**mine, "version__lte": head.version}  # what came since is told by who asks again
        self.approvals: list[Approval] = list(stored_approvals().filter(**known).order_by("pk"))
        self.handoffs: list[CheckoutHandoff] = list(_of(CheckoutHandoff).filter(**known).order_by("version", "pk"))
        self.devices: list[DeviceConfirmation] = list(_of(DeviceConfirmation).filter(**mine).order_by("pk"))
        self.steps: list[Checkpoint] = list(_of(Checkpoint).filter(**mine).order_by("number")[:most])
        named = {("approval", str(row.pk)) for row in self.approvals}
        named |= {("order", row.order_ref) for row in self.handoffs if row.order_ref}
        self.told = read_events(head, named=named, most=most)
        uses = [event for name, ref in named if name == "approval" for event in self.told.naming(name, ref)]
        self.used = {event.version: event for event in sorted(uses, key=lambda event: event.seq)
                     if event.kind == APPROVAL_USED}  # fmt: skip
        self.gone = self._gone()
        target = None if subject.kind == "payment" else self._find()
        self.trail: Trail | None = None
        if "content" not in self.gone:
            shown = {row.version for _, row, _ in self._pages()} | {row.version for row in self.handoffs[:most]}
            keep = {head.version, *shown, *([] if target is None else [target.version])}
            payment = subject.ref if subject.kind == "payment" else ""
            self.trail = read_versions(head, keep=keep, at=0 if target is None else target.version, payment=payment)
        self.target = self._payment() if target is None else target

    def document(self) -> Evidence:
        target, until = self.target, self.target.until
        decided = parts.policies(self.told.decided, until=until, subject=target.events)
        scope = self.head.scope
        private = sealed_parts(self.head, {1, *(event.seq for event in target.events)}) if self._shows_personal else {}
        named = {one.rule for one in decided} - {"", DEFAULT}
        return Evidence(
            made_at=format_time(timezone.now()),
            package=agent_sessions.__version__,
            personal=self.asked_personal,
            subject=SubjectFacts(
                kind=self.subject.kind,
                ref=self.subject.ref,
                what=target.what,
                at=target.at,
                event=target.event,
                version=target.version,
                private=self._personal(private.get(target.event or 0)) if target.event else None,
            ),
            session=self._session(private.get(1, {})),
            limits=Limits(
                capabilities=list(scope.capabilities),
                spend_cap=scope.spend_cap,
                currency=scope.currency,
                authority_ends=parts.time_text(scope.expires_at),
                session_ends=format_time(self.head.expires_at),
                by_default=self.told.by_default(until),
                rules_now=parts.rules_now(named),
            ),
            policies=decided,
            seen=self._seen(),
            approvals=[self._approval(row) for row in self._first(self.approvals)],
            disclosed=self._disclosed(),
            payments=self._payments(),
            steps=parts.steps(self.steps, self.told, until=until),
            orders=[self._order(row) for row in self._first(self.handoffs)],
            erased=[parts.erased_part(note) for _, note in sorted(self.gone.items())],
        )

    def _gone(self) -> dict[DataClass, ErasedNote]:
        """Return what cannot be read any more: erased by an event, or with its master key."""
        keys, gone = self.head.data_keys(), erased(self.head)
        classes: tuple[DataClass, ...] = ("content", "personal")
        return {one: gone.get(one, ErasedNote(one)) for one in classes if one in gone or not keys.opens(one)}

    @property
    def _shows_personal(self) -> bool:
        return self.asked_personal and "personal" not in self.gone

    def _personal(self, value: Any) -> Any:
        """Return something personal, or what stands in its place."""
        if (note := self.gone.get("personal")) is not None:
            return Missing(missing=note.text)
        return value if self.asked_personal else Missing(missing=parts.WITHHELD)

    def _find(self) -> _Target:
        """Find the subject in events and rows. Raises InvalidValue."""
        kind, ref, last = self.subject.kind, self.subject.ref, self.told.last
        if kind == "session":
            return _Target("the whole session", last.at, None, self.head.version, last.seq)
        if kind == "order":
            return self._ordered(ref)
        if ref.isascii() and ref.isdigit() and len(ref) < 10:
            if not 1 <= int(ref) <= last.seq:
                raise self._unknown("decision", f"events 1 to {last.seq}")
            (event,) = some_events(self.head, int(ref))
            return _Target(event.kind, event.at, event.seq, self.told.version_by(event.seq), event.seq, (event,))
        found = next((row for row in self.approvals if str(row.pk) == ref.lower()), None)
        if found is None:
            known = ", ".join(str(row.pk) for row in self.approvals) or "none"
            raise self._unknown("decision", f"events 1 to {last.seq} and the approvals {known}")
        named = self.told.naming("approval", str(found.pk))
        event = named[-1]
        return _Target(event.kind, event.at, event.seq, found.version, event.seq, tuple(named))

    def _ordered(self, ref: str) -> _Target:
        found = next((row for row in self.handoffs if row.order_ref and row.order_ref == ref), None)
        if found is None:
            known = ", ".join(clipped(row.order_ref) for row in self.handoffs if row.order_ref) or "none"
            raise self._unknown("order", f"the orders {known}")
        named = self.told.naming("order", ref)
        (made,) = some_events(self.head, self.told.made(found.version).event)
        event = named[-1] if named else made
        return _Target(event.kind, event.at, event.seq, found.version, self.told.last.seq, (*named, made))

    def _payment(self) -> _Target:
        if self.trail is None:
            text = self.gone["content"].text
            raise InvalidValue(
                "/payment",
                f"The content of session {self.head.session_id} was {text}. Ask for the whole session or an order.",
            )
        ref, trail = self.subject.ref, self.trail
        if ref not in trail.began:
            raise self._unknown("payment", f"the payments {', '.join(map(clipped, trail.began)) or 'none'}")
        began, moved = self.told.made(trail.began[ref]), self.told.made(trail.moved[ref])
        events = some_events(self.head, began.event, moved.event)
        first = events[0]
        return _Target(first.kind, first.at, first.seq, began.version, moved.event, events)

    def _unknown(self, kind: str, known: str) -> InvalidValue:
        return InvalidValue(
            f"/{kind}", f"Session {self.head.session_id} has {known}, not {clipped(self.subject.ref)!r}."
        )

    def _made_by(self, version: int) -> bool:
        return self.told.made_by(version, self.target.until)

    def _first(self, rows: list[Any]) -> list[Any]:
        """Return those of the rows that had come by then, as many as are told."""
        return [row for row in rows if self._made_by(row.version)][: self.most]

    def _session(self, said: Mapping[str, Any]) -> SessionFacts:
        row, head = self.row, self.head
        agent: dict[str, Any] = {
            "name": head.agent_name, "version": head.agent_version, "operator": head.agent_operator,
            "key": head.agent_key,
        }  # fmt: skip
        return SessionFacts(
            id=str(head.session_id),
            site=str(self.told.header.get("site", "")),
            merchant=head.merchant,
            agent=agent,
            consumer=self._personal(head.consumer),
            purpose=self._personal(str(said.get("purpose", ""))),
            kind=head.kind,
            status=head.status.value,
            created_at=format_time(head.created_at),
            expires_at=format_time(head.expires_at),
            ended_at=parts.time_text(head.ended_at),
            end_reason=head.end_reason,
            parent_request=head.parent_request,
            family=str(head.family),
            origin=row.origin,
            versions=head.version,
            events=head.head_seq,
        )

    def _seen(self) -> Seen | Missing:
        if self.trail is None:
            return Missing(missing=self.gone["content"].text)
        version = self.target.version
        return parts.seen(self.trail.states[version], version, self.trail.then, self.told, self._personal)

    def _payments(self) -> list[PaymentEvidence] | Missing:
        if self.trail is None:
            return Missing(missing=self.gone["content"].text)
        latest = self.trail.states[self.head.version]
        return parts.payments(latest, self.trail, self.told, until=self.target.until)

    def _approval(self, row: Approval) -> ApprovalEvidence:
        words: Mapping[str, str] = {}
        if self._shows_personal and row.body is not None:
            words = open_document(self.head.data_keys(), row.session_id, body_place(row.pk), 0, row.body)
        return ApprovalEvidence(
            id=str(row.pk),
            status=row.status,
            capability=row.capability,
            rule=row.rule,
            version=row.version,
            amount=row.amount,
            currency=row.currency,
            requested_at=format_time(row.requested_at),
            expires_at=format_time(row.expires_at),
            opened_at=parts.time_text(row.opened_at),
            decided_at=parts.time_text(row.decided_at),
            used_at=parts.time_text(row.used_at),
            decided_by=row.decided_by,
            review=parts.review(row.requested_at, row.expires_at, row.opened_at, row.decided_at),
            reason=self._personal(words.get("reason", "")),
            question=self._personal(words.get("question", "")),
            answer=self._personal(words.get("answer", "")),
            events=[event.seq for event in self.told.naming("approval", str(row.pk))],
        )

    def _disclosed(self) -> list[Disclosure]:
        """Tell which carts were put before the consumer, in the order in which that was done."""
        found = []
        for page, row, made_at in self._pages():
            if not self._made_by(row.version):
                continue
            cart: dict[str, Any] = {"cart": None, "delivery": None}
            if self.trail is None:
                cart = dict.fromkeys(cart, Missing(missing=self.gone["content"].text))
            else:
                cart = parts.shown(self.trail.states[row.version], self._personal)
            found.append(
                Disclosure(
                    page=page,  # type: ignore[arg-type]
                    of=str(row.pk),
                    version=row.version,
                    made_at=format_time(made_at),
                    opened_at=parts.time_text(row.opened_at),
                    expires_at=format_time(row.expires_at),
                    agent=self.head.agent_name,
                    **cart,
                )
            )
        return found

    def _pages(self) -> list[tuple[str, Any, Any]]:
        rows: list[tuple[str, Any, Any]] = [("approval", row, row.requested_at) for row in self.approvals]
        rows += [("checkout", row, row.created_at) for row in self.handoffs]
        return sorted(rows, key=lambda one: (one[2], one[0]))[: self.most]

    def _order(self, row: CheckoutHandoff) -> OrderEvidence:
        used = self.used.get(row.version)
        wanted = "" if used is None else str(used.params["approval"])
        approval = next((one for one in self.approvals if str(one.pk) == wanted), None)
        as_approved = None
        if approval is not None and self.trail is not None and "personal" not in self.gone:
            as_approved = cart_fingerprint(self.trail.states[row.version]) == approval.fingerprint
        return parts.order(row, self.told, approval, self.devices, as_approved=as_approved)


def _of(model: type[M]) -> QuerySet[M]:
    return model._default_manager.using(_rows.write_connection().alias)
