"""Parts of an evidence document, each made of rows and states that were read before: nothing here asks the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from agent_sessions.audit.events import format_time
from agent_sessions.domain.evidence import (
    Choice,
    DeviceEvidence,
    DiscountSeen,
    Document,
    ErasedPart,
    HoldSeen,
    OrderEvidence,
    PaymentEvidence,
    PolicyDecision,
    PriceSeen,
    QuoteSeen,
    Review,
    RuleNow,
    Seen,
    StaleSeen,
    StepEvidence,
    StockSeen,
)
from agent_sessions.domain.shown_cart import shown_cart
from agent_sessions.exceptions import NoStore
from agent_sessions.models import Approval, CheckoutHandoff, Checkpoint, DeviceConfirmation
from agent_sessions.selectors._evidence_history import Happened, Then, Told, Trail
from agent_sessions.selectors.erasures import ErasedNote
from agent_sessions.store.offer import offer
from agent_sessions.types import State

WITHHELD: Final = "withheld: what is personal was not asked for"

Personal = Callable[[Any], Any]
"""Gives back something personal, or what stands in its place for this reader."""


def seen(state: State, version: int, then: Then, told: Told, personal: Personal) -> Seen:
    """Tell what the agent had before it at a version, and since when."""
    shopping, inventory = _map(state.get("shopping")), _map(state.get("inventory"))

    def known(places: Mapping[Any, int], place: Any) -> dict[str, Any]:
        return told.made(places.get(place, 1))._asdict()

    lines = [
        PriceSeen(
            line=key, **_texts(line, "item", "title", "variant", "currency"), **known(then.priced, key),
            **{name: line[name] for name in ("quantity", "unit_price")},
        )
        for key, line in sorted(_map(shopping.get("lines")).items())
    ]  # fmt: skip
    discounts = [
        DiscountSeen(
            **_texts(one, "code", "label", "currency"), amount=one["amount"],
            **known(then.last, ("shopping", "discounts", key)),
        )
        for key, one in sorted(_map(shopping.get("discounts")).items())
    ]  # fmt: skip
    stock = [
        StockSeen(item=item, available=one["available"], **{**known(then.last, ("inventory", "stock", item)),
                  "at": _utc(one["at"])})
        for item, one in sorted(_map(inventory.get("stock")).items())
    ]  # fmt: skip
    holds = [
        HoldSeen(item=one["item"], quantity=one["quantity"], held_at=_utc(one["held_at"]),
                 until=_utc(one.get("until")), released_at=_utc(one.get("released_at")))
        for _, one in sorted(_map(inventory.get("holds")).items())
    ]  # fmt: skip
    stale = [
        StaleSeen(ref=key, what=str(one.get("what", "")), since=_utc(one["since"]))
        for key, one in sorted(_map(_map(state.get("stale")).get("parts")).items())
    ]
    return Seen(
        **told.made(version)._asdict(),
        lines=lines,
        discounts=discounts,
        quote=_quote(_map(shopping.get("quote")), known(then.last, ("shopping", "quote"))),
        delivery=personal(_map(shopping.get("delivery")) or None),
        stock=stock,
        holds=holds,
        stale=stale,
        choices=_choices(_map(state.get("decisions")), personal),
    )


def shown(state: State, personal: Personal) -> dict[str, Any]:
    """Return the cart that a person was shown, and apart from it the delivery, which is personal."""
    cart = shown_cart(state)
    return {"delivery": personal(cart.pop("delivery") or None), "cart": cart}


def payments(state: State, trail: Trail, told: Told, *, until: int) -> list[PaymentEvidence]:
    """Tell the attempts to pay that had begun by event ``until``, the first one first."""
    found = []
    for key, one in _map(_map(state.get("decisions")).get("payments")).items():
        first, last = told.made(trail.began.get(key, 1)), told.made(trail.moved.get(key, 1))
        if first.event > until:
            continue
        texts = _texts(one, "method", "outcome", "code", "currency", "provider_ref", "brand", "last4")
        found.append(
            PaymentEvidence(
                id=key,
                **texts,
                amount=one.get("amount"),
                attempted_at=_utc(one.get("attempted_at")),
                ended_at=_utc(one.get("ended_at")),
                first_event=first.event,
                first_version=first.version,
                last_event=last.event,
                last_version=last.version,
            )
        )
    return sorted(found, key=lambda payment: (payment.first_event, payment.id))


def policies(decided: Sequence[Happened], *, until: int, subject: Sequence[Happened]) -> list[PolicyDecision]:
    """Tell what rules have decided by event ``until``: denials, what a rule allowed by name, and the subject's."""
    events = {event.seq: event for event in (*decided, *(event for event in subject if event.rule))}
    marked = {event.seq for event in subject}
    return [
        PolicyDecision(
            event=event.seq,
            at=event.at,
            what=event.kind,
            actor=event.actor,
            capability=event.capability,
            result=event.result,
            rule=event.rule,
            status=event.status,
            code=event.code,
            version=event.version,
            of_subject=seq in marked,
        )
        for seq, event in sorted(events.items())
        if seq <= until
    ]


def rules_now(names: Collection[str]) -> list[RuleNow]:
    """Tell how the rules with these names are set now; those that are not there any more are left out."""
    try:
        found = offer().policies
    except NoStore:
        return []
    return [
        RuleNow(rule=one.name, kind=type(one).__name__, set_to=_settings_of(one)) for one in found if one.name in names
    ]


def steps(rows: Sequence[Checkpoint], told: Told, *, until: int) -> list[StepEvidence]:
    return [
        StepEvidence(
            step=row.step,
            method=row.method,
            attempt=row.attempt,
            outcome=row.outcome,
            code=row.code,
            started_at=format_time(row.started_at),
            ended_at=time_text(row.ended_at),
            version=row.version,
            ended_version=row.ended_version,
        )
        for row in rows
        if told.made_by(row.version, until)
    ]


def order(
    row: CheckoutHandoff,
    told: Told,
    approval: Approval | None,
    devices: Sequence[DeviceConfirmation],
    *,
    as_approved: bool | None,
) -> OrderEvidence:
    """Tell what became of a checkout; ``approval`` is the one that was used for it, if one was."""
    ended = told.naming("order", row.order_ref) if row.order_ref else []
    return OrderEvidence(
        order_ref=row.order_ref,
        handoff=str(row.pk),
        version=row.version,
        made_at=format_time(row.created_at),
        expires_at=format_time(row.expires_at),
        opened_at=time_text(row.opened_at),
        confirmed_at=time_text(row.confirmed_at),
        replaced_at=time_text(row.replaced_at),
        given_up_at=time_text(row.given_up_at),
        ordered_at=time_text(row.ordered_at),
        event=ended[-1].seq if ended else None,
        review=review(row.created_at, row.expires_at, row.opened_at, row.ordered_at),
        approval="" if approval is None else str(approval.pk),
        as_approved=as_approved,
        devices=[
            DeviceEvidence(
                session=str(one.device_id),
                asked_at=format_time(one.asked_at),
                answer=one.answer,
                answered_at=time_text(one.answered_at),
            )
            for one in devices
        ],
    )


def review(asked_at: datetime, until: datetime, opened_at: datetime | None, done_at: datetime | None) -> Review:
    """Tell how long a person had, from when they were asked, and how long they took, from when they opened it (A2)."""
    took = None if done_at is None else _milliseconds(opened_at or asked_at, done_at)
    return Review(
        had_ms=_milliseconds(asked_at, until), took_ms=took, counted_from="asked" if opened_at is None else "opened"
    )


def erased_part(note: ErasedNote) -> ErasedPart:
    return ErasedPart(
        data_class=note.data_class,
        rule=note.rule,
        basis=note.basis,
        at=time_text(note.at),
        unrecoverable_after=note.unrecoverable_after,
        text=note.text,
    )


def _quote(quote: Document, place: dict[str, Any]) -> QuoteSeen | None:
    if not quote:
        return None
    one: Any = quote
    extra = _map(one.get("extra"))
    sums: dict[str, Any] = {
        name: value if type(value := extra.get(name)) is int else None for name in ("subtotal", "shipping", "tax")
    }
    return QuoteSeen(
        total=one["total"], currency=one["currency"], valid_until=_utc(one.get("valid_until")), **sums, **place
    )


def _choices(decisions: Document, personal: Personal) -> list[Choice]:
    """Tell what the agent recommended and fell back on; its words are personal."""
    recommended = [
        Choice(kind="recommendation", what=one["item"], why=personal(str(one.get("reason", ""))), code="",
               confidence=one.get("confidence"), at=_utc(one.get("at")))
        for _, one in sorted(_map(decisions.get("recommendations")).items())
        if "item" in one
    ]  # fmt: skip
    tried = [
        Choice(kind="fallback", what=one["tried"], why=personal(str(one.get("outcome", ""))),
               code=str(one.get("code", "")), confidence=one.get("confidence"), at=_utc(one.get("at")))
        for _, one in sorted(_map(decisions.get("fallbacks")).items())
        if "tried" in one
    ]  # fmt: skip
    return recommended + tried


def _settings_of(rule: object) -> Document:
    if not dataclasses.is_dataclass(rule):
        return {}
    values = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule) if field.name != "name"}
    return {name: _plain(value) for name, value in values.items() if value not in (None, "", ())}


def _plain(value: object) -> Any:
    """Write a rule's setting as JSON has it; what it has no form for, as text."""
    if type(value) in (str, int, bool):
        return value
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else str(value)


def _milliseconds(since: datetime, until: datetime) -> int:
    return max(0, int((until - since).total_seconds() * 1000))


def time_text(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _utc(text: Any) -> Any:
    """Write a time of a state, which comes with any offset, as events write theirs."""
    return None if text is None else format_time(datetime.fromisoformat(text))


def _texts(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: str(entry.get(name, "")) for name in names}


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
