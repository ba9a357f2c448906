"""Evidence as a page to read and to print: every part of the document in words, nothing that is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions.admin import wording
from agent_sessions.domain.evidence import (
    ApprovalEvidence,
    Disclosure,
    Evidence,
    Missing,
    OrderEvidence,
    PaymentEvidence,
    PolicyDecision,
    Proof,
    Review,
    Seen,
    SubjectKind,
)
from agent_sessions.domain.money import format_money
from agent_sessions.domain.shown_cart import in_words
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import Subject

MAY_VIEW: Final = "agent_sessions.view_session_evidence"
MAY_EXPORT: Final = "agent_sessions.export_session_evidence"
MOST: Final = 200
"""Rows of a list that a page shows; the download has all."""
_TITLES: Final = {
    "session": gettext_lazy("The whole session"),
    "order": gettext_lazy("Order {ref}"),
    "payment": gettext_lazy("Payment {ref}"),
    "decision": gettext_lazy("Decision {ref}"),
}
_KINDS: Final[tuple[SubjectKind, ...]] = ("order", "payment", "decision")
_LONGEST_LINE: Final = 1000
_PAGES: Final = {
    "approval": gettext_lazy("Approval page"),
    "checkout": gettext_lazy("Checkout page"),
}

Row = dict[str, Any]


def subject_of(request: HttpRequest) -> Subject:
    """Return what the address asks for: ``?order=A-1``, the whole session if nothing."""
    for kind in _KINDS:
        if ref := request.GET.get(kind, ""):
            return Subject(kind, ref)
    return Subject()


def query_of(subject: Subject) -> str:
    return "" if subject.kind == "session" else urlencode([(subject.kind, subject.ref)])


def shown_evidence(found: Evidence) -> Row:
    """Return all that the page shows of a document."""
    seen = found.seen
    payments = found.payments if isinstance(found.payments, list) else []
    return {
        "title": _title(found),
        "made": _moment(found.made_at),
        "package": found.package,
        "personal": found.personal,
        "subject": found.subject,
        "happened": _moment(found.subject.at),
        "what": wording.kind_words(found.subject.what),
        "private": _private(found),
        "facts": _facts(found),
        "limits": _limits(found),
        "policies": [_policy(one) for one in found.policies[:MOST]],
        "more": any(
            len(some) > MOST
            for some in (found.policies, found.approvals, found.disclosed, payments, found.orders, found.steps)
        ),
        "most": MOST,
        "by_default": found.limits.by_default,
        "seen": _seen(seen) if isinstance(seen, Seen) else None,
        "seen_missing": seen.missing if isinstance(seen, Missing) else "",
        "approvals": [_approval(one) for one in found.approvals[:MOST]],
        "disclosed": [_disclosed(one) for one in found.disclosed[:MOST]],
        "payments": [_payment(one) for one in payments[:MOST]],
        "payments_missing": found.payments.missing if isinstance(found.payments, Missing) else "",
        "orders": [_order(one) for one in found.orders[:MOST]],
        "steps": found.steps[:MOST],
        "erased": found.erased,
        "proof": None if found.proof is None else _proof(found.proof),
    }


def choices(found: Evidence) -> list[tuple[str, str]]:
    """Return what else of the session there is evidence of: a label and a query each."""
    payments = found.payments if isinstance(found.payments, list) else []
    orders = [one for one in found.orders if one.order_ref]
    labelled = [
        (_("Order {ref}").format(ref=clipped(one.order_ref, 30)), Subject("order", one.order_ref))
        for one in orders[:20]
    ]
    labelled += [
        (
            _("Payment {number}, {outcome}").format(number=number, outcome=wording.outcome_words(clipped(one.outcome))),
            Subject("payment", one.id),
        )
        for number, one in enumerate(payments[:20], 1)
    ]
    labelled += [
        (_("Approval, {status}").format(status=wording.outcome_words(clipped(one.status))), Subject("decision", one.id))
        for one in found.approvals[:20]
    ]
    return [(_("Whole session"), ""), *((label, query_of(subject)) for label, subject in labelled)]


def _title(found: Evidence) -> str:
    subject = found.subject
    return str(_TITLES[subject.kind]).format(ref=clipped(subject.ref, 60))


def _facts(found: Evidence) -> list[tuple[str, SafeString | str | None]]:
    one = found.session
    agent: Any = one.agent
    facts: list[tuple[str, SafeString | str | None]] = [
        (_("Session"), format_html("<code>{}</code>", one.id)),
        (_("Site"), clipped(one.site, 200)),
        (_("Merchant"), clipped(one.merchant, 200)),
        (_("Agent"), wording.agent_words(agent["name"], agent["version"])),
        (_("Operator"), clipped(agent["operator"], 200)),
        (_("Agent’s key"), clipped(agent["key"], 200) or _("none: it is as it calls itself")),
        (_("Consumer"), _said(one.consumer)),
        (_("Purpose"), _said(one.purpose)),
        (_("Opened"), _moment(one.created_at)),
        (_("Ended"), format_html("{} ({})", _moment(one.ended_at), wording.end_reason_words(one.end_reason)))
        if one.ended_at
        else (_("Status"), _("{status}, not ended").format(status=one.status)),
        (_("Parent request"), clipped(one.parent_request)),
        (_("Length"), _("{versions} versions, {events} events").format(versions=one.versions, events=one.events)),
    ]
    return [(name, value) for name, value in facts if value]


def _limits(found: Evidence) -> list[tuple[str, SafeString | str | None]]:
    one = found.limits
    cap = (
        _("no limit was set")
        if one.spend_cap is None
        else _("{amount} at most").format(amount=format_money(one.spend_cap, one.currency))
    )
    limits: list[tuple[str, SafeString | str | None]] = [
        (_("May spend"), cap),
        (_("May use"), ", ".join(clipped(name) for name in one.capabilities) or _("everything that the site offers")),
        (_("Session until"), _moment(one.session_ends)),
    ]
    if one.authority_ends:
        limits.append((_("Authority until"), _moment(one.authority_ends)))
    for rule in one.rules_now:
        told = ", ".join(f"{name} {_plain(value)}" for name, value in rule.set_to.items() if name != "message")
        limits.append((_("Rule {name}").format(name=clipped(rule.rule, 60)), clipped(f"{rule.kind}: {told}", 300)))
    return limits


def _policy(one: PolicyDecision) -> Row:
    denied = one.result != "allow"
    return {
        "event": one.event,
        "at": _moment(one.at),
        "what": wording.kind_words(one.what),
        "who": wording.actor_words(one.actor),
        "capability": clipped(one.capability),
        "result": wording.mark(wording.BAD, _("refused")) if denied else wording.mark(wording.GOOD, _("allowed")),
        "rule": clipped(one.rule, 100),
        "status": f"{one.status} {clipped(one.code)}".rstrip(),
        "of_subject": one.of_subject,
    }


def _seen(one: Seen) -> Row:
    quote = one.quote
    sums = []
    if quote is not None:
        named = (
            (_("Subtotal"), quote.subtotal),
            (_("Delivery"), quote.shipping),
            (_("Tax"), quote.tax),
            (_("Total"), quote.total),
        )
        sums = [(name, format_money(value, clipped(quote.currency))) for name, value in named if value is not None]
    return {
        "version": one.version,
        "at": _moment(one.at),
        "lines": [
            {
                "title": clipped(line.title or line.item, 120),
                "which": clipped(line.variant),
                "item": clipped(line.item),
                "quantity": line.quantity,
                "price": format_money(line.unit_price, clipped(line.currency)),
                "at": _moment(line.at),
                "event": line.event,
            }
            for line in one.lines[:MOST]
        ],
        "discounts": [
            {
                "name": clipped(cut.code or cut.label),
                "amount": format_money(cut.amount, clipped(cut.currency)),
                "at": _moment(cut.at),
                "event": cut.event,
            }
            for cut in one.discounts[:MOST]
        ],
        "sums": sums,
        "quoted": None if quote is None else _moment(quote.at),
        "quoted_event": None if quote is None else quote.event,
        "valid_until": None if quote is None else _moment(quote.valid_until),
        "stock": [
            {"item": clipped(stock.item), "available": stock.available, "at": _moment(stock.at), "event": stock.event}
            for stock in one.stock[:MOST]
        ],
        "holds": [
            {
                "what": f"{hold.quantity} × {clipped(hold.item)}",
                "held": _moment(hold.held_at),
                "until": _moment(hold.until),
                "released": _moment(hold.released_at),
            }
            for hold in one.holds[:MOST]
        ],
        "stale": [
            _("{part} ({what}) since {time} UTC").format(
                part=clipped(part.ref), what=clipped(part.what), time=part.since[:16].replace("T", " ")
            )
            for part in one.stale[:MOST]
        ],
        "choices": [
            {
                "kind": _("Recommended") if choice.kind == "recommendation" else _("Fell back on"),
                "what": clipped(choice.what),
                "why": _said(choice.why),
                "sure": "" if choice.confidence is None else _("{number} % sure").format(number=choice.confidence),
            }
            for choice in one.choices[:MOST]
        ],
    }


def _approval(one: ApprovalEvidence) -> Row:
    return {
        "id": one.id,
        "status": wording.outcome_words(clipped(one.status)),
        "amount": format_money(one.amount, clipped(one.currency)),
        "capability": clipped(one.capability),
        "rule": clipped(one.rule, 100),
        "version": one.version,
        "asked": _moment(one.requested_at),
        "opened": _moment(one.opened_at),
        "decided": _moment(one.decided_at),
        "until": _moment(one.expires_at),
        "used": _moment(one.used_at),
        "by": wording.actor_words(one.decided_by) if one.decided_by else "",
        "review": _review(one.review),
        "reason": _said(one.reason),
        "question": _said(one.question),
        "answer": _said(one.answer),
        "events": one.events,
    }


def _disclosed(one: Disclosure) -> Row:
    missing = one.cart.missing if isinstance(one.cart, Missing) else ""
    delivery = one.delivery if isinstance(one.delivery, dict) else {}
    return {
        "page": str(_PAGES[one.page]),
        "version": one.version,
        "made": _moment(one.made_at),
        "opened": _moment(one.opened_at),
        "missing": missing,
        "cart": in_words({**one.cart, "delivery": delivery}) if isinstance(one.cart, dict) else None,
        "delivery_missing": one.delivery.missing if isinstance(one.delivery, Missing) and not missing else "",
    }


def _payment(one: PaymentEvidence) -> Row:
    tone = {"succeeded": wording.GOOD, "started": wording.PLAIN, "unknown": wording.WARNING}
    card = f"{clipped(one.brand, 30)} •••• {clipped(one.last4, 4)}".strip() if one.last4 else clipped(one.brand, 30)
    return {
        "id": clipped(one.id, 60),
        "method": clipped(one.method),
        "card": card,
        "token": clipped(one.provider_ref, 60),
        "amount": "" if one.amount is None else format_money(one.amount, clipped(one.currency)),
        "outcome": wording.mark(tone.get(one.outcome, wording.BAD), wording.outcome_words(clipped(one.outcome))),
        "code": clipped(one.code),
        "began": _moment(one.attempted_at),
        "ended": _moment(one.ended_at),
        "first_event": one.first_event,
        "last_event": one.last_event,
    }


def _order(one: OrderEvidence) -> Row:
    same = {True: _("this one, in all that was shown"), False: _("ANOTHER ONE"), None: ""}[one.as_approved]
    return {
        "ref": clipped(one.order_ref, 100),
        "version": one.version,
        "made": _moment(one.made_at),
        "until": _moment(one.expires_at),
        "opened": _moment(one.opened_at),
        "confirmed": _moment(one.confirmed_at),
        "replaced": _moment(one.replaced_at),
        "given_up": _moment(one.given_up_at),
        "ordered": _moment(one.ordered_at),
        "event": one.event,
        "review": _review(one.review),
        "approval": one.approval,
        "same": same,
        "devices": [
            f"{device.session[:13]}: {clipped(device.answer) or _('no answer')}" for device in one.devices[:MOST]
        ],
    }


def _proof(one: Proof) -> Row:
    told: Any = one.verification
    good = wording.mark(wording.GOOD, _("verified")) if one.ok else wording.mark(wording.BAD, _("not good"))
    logged = told.get("logged")
    return {
        "sealed": one.sealed,
        "note": one.note,
        "mark": good,
        "sha256": one.sha256,
        "events": told.get("event_count"),
        "key": told.get("key_id", ""),
        "problems": [f"{problem['where']} {problem['message']}" for problem in told.get("problems", [])[:10]],
        "logged": _("{log}, leaf {index} of {size}").format(
            log=clipped(logged["log"]), index=logged["leaf_index"], size=logged["tree_size"]
        )
        if logged
        else "",
    }


def _private(found: Evidence) -> Sequence[tuple[str, SafeString]]:
    private = found.subject.private
    if isinstance(private, Missing):
        return [(_("What was said with it"), _said(private))]
    return [(clipped(name), _said(_plain(value))) for name, value in (private or {}).items()]


def _review(one: Review) -> Row:
    took = "" if one.took_ms is None else _length(one.took_ms)
    return {"had": _length(one.had_ms), "took": took, "opened": one.counted_from == "opened"}


def _length(milliseconds: int) -> str:
    """Say a length of time to the second: ``12 min 5 s``."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    told = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if value]
    return " ".join(told) or _("less than a second")


def _said(value: str | Missing) -> SafeString:
    """Write someone's words, or what stands in their place."""
    if isinstance(value, Missing):
        return format_html('<span class="ags-missing">{}</span>', value.missing)
    lines = "\n".join(clipped(line, _LONGEST_LINE) for line in value.split("\n"))
    return format_html('<span class="ags-spoken">{}</span>', lines) if value else format_html("{}", "")


def _moment(text: str | None) -> SafeString | None:
    """Write a time in UTC: a sheet is read where nobody knows the zone of who printed it."""
    return None if text is None else format_html('<time datetime="{}">{}</time>', text, text[:19].replace("T", " "))


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
