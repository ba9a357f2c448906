"""The parts of evidence as rows of the page: policies, what was seen and shown, approvals, payments, orders, proof."""

from __future__ import annotations

from typing import Any, Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions.admin import wording
from agent_sessions.domain.evidence import (
    ApprovalEvidence,
    Disclosure,
    Missing,
    OrderEvidence,
    PaymentEvidence,
    PolicyDecision,
    Proof,
    Review,
    Seen,
)
from agent_sessions.domain.money import format_money
from agent_sessions.domain.shown_cart import in_words
from agent_sessions.domain.text import clipped

MOST: Final = 200
"""Rows of a list that a page shows; the download has all."""
_LONGEST_LINE: Final = 1000
_PAGES: Final = {
    "approval": gettext_lazy("Approval page"),
    "checkout": gettext_lazy("Checkout page"),
}

Row = dict[str, Any]


def policy_row(one: PolicyDecision) -> Row:
    denied = one.result != "allow"
    return {
        "event": one.event,
        "at": moment(one.at),
        "what": wording.kind_words(one.what),
        "who": wording.actor_words(one.actor),
        "capability": clipped(one.capability),
        "result": wording.mark(wording.BAD, _("refused")) if denied else wording.mark(wording.GOOD, _("allowed")),
        "rule": clipped(one.rule, 100),
        "status": f"{one.status} {clipped(one.code)}".rstrip(),
        "of_subject": one.of_subject,
    }


def seen_row(one: Seen) -> Row:
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
        "at": moment(one.at),
        "lines": [
            {
                "title": clipped(line.title or line.item, 120),
                "which": clipped(line.variant),
                "item": clipped(line.item),
                "quantity": line.quantity,
                "price": format_money(line.unit_price, clipped(line.currency)),
                "at": moment(line.at),
                "event": line.event,
            }
            for line in one.lines[:MOST]
        ],
        "discounts": [
            {
                "name": clipped(cut.code or cut.label),
                "amount": format_money(cut.amount, clipped(cut.currency)),
                "at": moment(cut.at),
                "event": cut.event,
            }
            for cut in one.discounts[:MOST]
        ],
        "sums": sums,
        "quoted": None if quote is None else moment(quote.at),
        "quoted_event": None if quote is None else quote.event,
        "valid_until": None if quote is None else moment(quote.valid_until),
        "stock": [
            {"item": clipped(stock.item), "available": stock.available, "at": moment(stock.at), "event": stock.event}
            for stock in one.stock[:MOST]
        ],
        "holds": [
            {
                "what": f"{hold.quantity} × {clipped(hold.item)}",
                "held": moment(hold.held_at),
                "until": moment(hold.until),
                "released": moment(hold.released_at),
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
                "why": said(choice.why),
                "sure": "" if choice.confidence is None else _("{number} % sure").format(number=choice.confidence),
            }
            for choice in one.choices[:MOST]
        ],
    }


def approval_row(one: ApprovalEvidence) -> Row:
    return {
        "id": one.id,
        "status": wording.outcome_words(clipped(one.status)),
        "amount": format_money(one.amount, clipped(one.currency)),
        "capability": clipped(one.capability),
        "rule": clipped(one.rule, 100),
        "version": one.version,
        "asked": moment(one.requested_at),
        "opened": moment(one.opened_at),
        "decided": moment(one.decided_at),
        "until": moment(one.expires_at),
        "used": moment(one.used_at),
        "by": wording.actor_words(one.decided_by) if one.decided_by else "",
        "review": _review(one.review),
        "reason": said(one.reason),
        "question": said(one.question),
        "answer": said(one.answer),
        "events": one.events,
    }


def disclosed_row(one: Disclosure) -> Row:
    missing = one.cart.missing if isinstance(one.cart, Missing) else ""
    delivery = one.delivery if isinstance(one.delivery, dict) else {}
    return {
        "page": str(_PAGES[one.page]),
        "version": one.version,
        "made": moment(one.made_at),
        "opened": moment(one.opened_at),
        "missing": missing,
        "cart": in_words({**one.cart, "delivery": delivery}) if isinstance(one.cart, dict) else None,
        "delivery_missing": one.delivery.missing if isinstance(one.delivery, Missing) and not missing else "",
    }


def payment_row(one: PaymentEvidence) -> Row:
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
        "began": moment(one.attempted_at),
        "ended": moment(one.ended_at),
        "first_event": one.first_event,
        "last_event": one.last_event,
    }


def order_row(one: OrderEvidence) -> Row:
    same = {True: _("this one, in all that was shown"), False: _("ANOTHER ONE"), None: ""}[one.as_approved]
    return {
        "ref": clipped(one.order_ref, 100),
        "version": one.version,
        "made": moment(one.made_at),
        "until": moment(one.expires_at),
        "opened": moment(one.opened_at),
        "confirmed": moment(one.confirmed_at),
        "replaced": moment(one.replaced_at),
        "given_up": moment(one.given_up_at),
        "ordered": moment(one.ordered_at),
        "event": one.event,
        "review": _review(one.review),
        "approval": one.approval,
        "same": same,
        "devices": [
            f"{device.session[:13]}: {clipped(device.answer) or _('no answer')}" for device in one.devices[:MOST]
        ],
    }


def proof_row(one: Proof) -> Row:
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


def _review(one: Review) -> Row:
    took = "" if one.took_ms is None else _length(one.took_ms)
    return {"had": _length(one.had_ms), "took": took, "opened": one.counted_from == "opened"}


def _length(milliseconds: int) -> str:
    """Say a length of time to the second: ``12 min 5 s``."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    told = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if value]
    return " ".join(told) or _("less than a second")


def said(value: str | Missing) -> SafeString:
    """Write someone's words, or what stands in their place."""
    if isinstance(value, Missing):
        return format_html('<span class="ags-missing">{}</span>', value.missing)
    lines = "\n".join(clipped(line, _LONGEST_LINE) for line in value.split("\n"))
    return format_html('<span class="ags-spoken">{}</span>', lines) if value else format_html("{}", "")


def moment(text: str | None) -> SafeString | None:
    """Write a time in UTC: a sheet is read where nobody knows the zone of who printed it."""
    return None if text is None else format_html('<time datetime="{}">{}</time>', text, text[:19].replace("T", " "))


def plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
