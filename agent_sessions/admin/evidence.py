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

from agent_sessions.admin import evidence_rows as rows
from agent_sessions.admin import wording
from agent_sessions.domain.evidence import Evidence, Missing, Seen, SubjectKind
from agent_sessions.domain.money import format_money
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import Subject

MAY_VIEW: Final = "agent_sessions.view_session_evidence"
MAY_EXPORT: Final = "agent_sessions.export_session_evidence"
_TITLES: Final = {
    "session": gettext_lazy("The whole session"),
    "order": gettext_lazy("Order {ref}"),
    "payment": gettext_lazy("Payment {ref}"),
    "decision": gettext_lazy("Decision {ref}"),
}
_KINDS: Final[tuple[SubjectKind, ...]] = ("order", "payment", "decision")


def subject_of(request: HttpRequest) -> Subject:
    """Return what the address asks for: ``?order=A-1``, the whole session if nothing."""
    for kind in _KINDS:
        if ref := request.GET.get(kind, ""):
            return Subject(kind, ref)
    return Subject()


def query_of(subject: Subject) -> str:
    return "" if subject.kind == "session" else urlencode([(subject.kind, subject.ref)])


def shown_evidence(found: Evidence) -> rows.Row:
    """Return all that the page shows of a document."""
    seen = found.seen
    payments = found.payments if isinstance(found.payments, list) else []
    return {
        "title": _title(found),
        "made": rows.moment(found.made_at),
        "package": found.package,
        "personal": found.personal,
        "subject": found.subject,
        "happened": rows.moment(found.subject.at),
        "what": wording.kind_words(found.subject.what),
        "private": _private(found),
        "facts": _facts(found),
        "limits": _limits(found),
        "policies": [rows.policy_row(one) for one in found.policies[: rows.MOST]],
        "more": any(
            len(some) > rows.MOST
            for some in (found.policies, found.approvals, found.disclosed, payments, found.orders, found.steps)
        ),
        "most": rows.MOST,
        "by_default": found.limits.by_default,
        "seen": rows.seen_row(seen) if isinstance(seen, Seen) else None,
        "seen_missing": seen.missing if isinstance(seen, Missing) else "",
        "approvals": [rows.approval_row(one) for one in found.approvals[: rows.MOST]],
        "disclosed": [rows.disclosed_row(one) for one in found.disclosed[: rows.MOST]],
        "payments": [rows.payment_row(one) for one in payments[: rows.MOST]],
        "payments_missing": found.payments.missing if isinstance(found.payments, Missing) else "",
        "orders": [rows.order_row(one) for one in found.orders[: rows.MOST]],
        "steps": found.steps[: rows.MOST],
        "erased": found.erased,
        "proof": None if found.proof is None else rows.proof_row(found.proof),
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
        (_("Consumer"), rows.said(one.consumer)),
        (_("Purpose"), rows.said(one.purpose)),
        (_("Opened"), rows.moment(one.created_at)),
        (_("Ended"), format_html("{} ({})", rows.moment(one.ended_at), wording.end_reason_words(one.end_reason)))
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
        (_("Session until"), rows.moment(one.session_ends)),
    ]
    if one.authority_ends:
        limits.append((_("Authority until"), rows.moment(one.authority_ends)))
    for rule in one.rules_now:
        told = ", ".join(f"{name} {rows.plain(value)}" for name, value in rule.set_to.items() if name != "message")
        limits.append((_("Rule {name}").format(name=clipped(rule.rule, 60)), clipped(f"{rule.kind}: {told}", 300)))
    return limits


def _private(found: Evidence) -> Sequence[tuple[str, SafeString]]:
    private = found.subject.private
    if isinstance(private, Missing):
        return [(_("What was said with it"), rows.said(private))]
    return [(clipped(name), rows.said(rows.plain(value))) for name, value in (private or {}).items()]
