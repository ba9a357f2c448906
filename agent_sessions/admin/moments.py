"""What stood at one moment of a session, in words: payments, approvals, holds, what was known and why one paid so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agent_sessions.admin import history, wording
from agent_sessions.admin.reasons import reason_of
from agent_sessions.domain.money import format_money
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import ApprovalView, Turn
from agent_sessions.types import JSONValue, State

MOST: Final = 30
"""Entries of a kind that are shown; the whole document has the others."""
_PAYMENT_TONES: Final = {"succeeded": wording.GOOD, "declined": wording.BAD, "failed": wording.BAD}
_FAILED: Final = ("declined", "failed", "unknown")
_APPROVAL_TONES: Final = {
    "granted": wording.GOOD, "used": wording.GOOD, "rejected": wording.BAD, "pending": wording.WARNING,
    "escalated": wording.WARNING,
}  # fmt: skip
_CHECKOUT: Final = "checkout"


def standing_at(state: State, moment: datetime, groups: Set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the payments, approvals, holds and stale parts of a state, as they stood at ``moment``.

    With the group ``agent`` its steps too.
    """
    decisions, inventory = _map(state.get("decisions")), _map(state.get("inventory"))
    steps = _entries(_map(state.get("recovery")), "steps") if "agent" in groups else []
    return {
        "payments": [_payment(one) for _key, one in _payments(decisions)],
        "approvals": [_approval(one, moment) for _key, one in _entries(decisions, "approvals")],
        "holds": [_hold(one, moment) for _key, one in _entries(inventory, "holds")],
        "stale": [_stale(one) for _key, one in _entries(_map(state.get("stale")), "parts")],
        "steps": [_step(name, one) for name, one in steps],
    }  # fmt: skip


def known_of(
    state: State,
    moment: datetime,
    turns: Sequence[Turn],
    asked: Sequence[ApprovalView],
    groups: Set[str],
    *,
    erased: str,
) -> dict[str, Any]:
    """Return what the agent knew at ``moment``, and what it had made of it, as far as ``groups`` let one see it.

    That is what the shopper had told it, facts, stock, the conversation, what people had answered, and its advice.
    """
    shopping, decisions = _map(state.get("shopping")), _map(state.get("decisions"))
    recommended = _entries(decisions, "recommendations") if "agent" in groups else []
    facts = _entries(_map(state.get("facts")), "known") if "customer" in groups else []
    return {
        "instructions": clipped(str(shopping.get("instructions", "")), 2000) if "words" in groups else "",
        "recommendations": [_recommendation(one) for _key, one in recommended],
        "facts": [_fact(name, one, moment) for name, one in facts],
        "stock": [_stock(item, one, moment) for item, one in _entries(_map(state.get("inventory")), "stock")],
        "turns": [
            {
                "number": turn.number,
                "who": wording.speaker_words(turn.role),
                "text": erased if turn.erased else history.spoken(turn.content),
                "erased": turn.erased,
                "time": wording.moment(turn.created_at),
            }
            for turn in turns
        ],
        "answers": [
            {"text": clipped(one.answer, 1000), "who": wording.actor_words(one.decided_by),
             "time": wording.moment(one.decided_at)}
            for one in reversed(asked)
            if one.answer and one.decided_at is not None and one.decided_at <= moment
        ],
    }  # fmt: skip


def payment_of(state: State, groups: Set[str]) -> dict[str, Any]:
    """Return what a state says of why one pays as one does, and the ``capabilities`` whose calls were decided on.

    With the group ``agent`` also what the agent tried instead, and how sure it was.
    """
    tells = "agent" in groups
    decisions, checkout = _map(state.get("decisions")), _map(state.get("checkout"))
    payments = _payments(decisions)
    policies = _entries(decisions, "policies")
    named = {_text(one, "capability", 64) for _key, one in policies}
    fallbacks = [_fallback(one) for _key, one in _entries(decisions, "fallbacks")] if tells else []
    steps = [
        {"step": clipped(name), "tried": [(clipped(way), clipped(str(what))) for way, what in sorted(tried.items())]}
        for name, one in _entries(_map(state.get("recovery")), "steps")
        if tells and (tried := _map(one.get("tried")))
    ]
    return {
        "method": _text(checkout, "method") if tells else "",
        "attempts": [{**_payment(one), "id": key} for key, one in payments],
        "policies": [
            {
                "rule": clipped(rule), "capability": _text(one, "capability") or _("the call"),
                "verdict": wording.mark(wording.GOOD, _("allowed")) if one.get("result") == "allow"
                else wording.mark(wording.BAD, _("denied")),
                "time": _moment(one.get("at")),
            }
            for rule, one in policies
        ],
        "fallbacks": fallbacks,
        "tried": steps,
        "capabilities": {_CHECKOUT, *named} - {""},
    }  # fmt: skip


def _payments(decisions: Mapping[str, JSONValue]) -> list[tuple[str, dict[str, JSONValue]]]:
    """The attempts in their order; one without a time comes first."""
    return sorted(_entries(decisions, "payments"), key=lambda entry: _text(entry[1], "attempted_at"))


def _payment(one: Mapping[str, JSONValue]) -> dict[str, Any]:
    outcome = _text(one, "outcome")
    began, ended = _time(one.get("attempted_at")), _time(one.get("ended_at"))
    return {
        "method": _text(one, "method"),
        "outcome": wording.mark(_PAYMENT_TONES.get(outcome, wording.PLAIN), wording.outcome_words(outcome)),
        "code": _text(one, "code"),
        "reason": reason_of(_text(one, "code")) if outcome in _FAILED else None,
        "amount": _money(one),
        "time": _moment(one.get("attempted_at")),
        "took": wording.length(ended - began) if began is not None and ended is not None else "",
    }


def _approval(one: Mapping[str, JSONValue], moment: datetime) -> dict[str, Any]:
    status, asked = _text(one, "status"), _time(one.get("requested_at"))
    until, decided = _time(one.get("expires_at")), _time(one.get("decided_at"))
    waits = status in ("pending", "escalated")
    waited = (moment if waits else decided or moment) - asked if asked is not None else None
    return {
        "status": wording.mark(_APPROVAL_TONES.get(status, wording.PLAIN), wording.outcome_words(status)),
        "amount": _money(one),
        "rule": _text(one, "rule", 200),
        "version": one.get("version") if type(one.get("version")) is int else None,
        "waited": "" if waited is None else wording.length(waited),
        "waits": waits,
        "answered": status in ("granted", "used", "rejected"),
        "left": wording.length(until - moment) if waits and until is not None and until > moment else "",
    }


def _hold(one: Mapping[str, JSONValue], moment: datetime) -> dict[str, Any]:
    """Say how a hold stood: released, run out (whether or not a job had come by), or held for so long more."""
    until, released = _time(one.get("until")), _time(one.get("released_at"))
    left = None if until is None else until - moment
    if released is not None:
        standing = wording.mark(wording.PLAIN, _("released"))
    elif left is not None and left <= timedelta():
        standing = wording.mark(wording.WARNING, _("run out"))
    else:
        standing = wording.mark(wording.GOOD, _("held"))
    is_held = released is None and left is not None and left > timedelta()
    return {
        "item": _text(one, "item"),
        "quantity": one.get("quantity") if type(one.get("quantity")) is int else "",
        "standing": standing,
        "left": wording.length(left) if is_held and left is not None else "",
    }


def _stale(one: Mapping[str, JSONValue]) -> dict[str, Any]:
    return {
        "what": f"{_text(one, 'kind')} {_text(one, 'ref')}",
        "why": _text(one, "what"),
        "time": _moment(one.get("since")),
    }


def _step(name: str, one: Mapping[str, JSONValue]) -> dict[str, Any]:
    outcome = _text(one, "outcome")
    tone = {"done": wording.GOOD, "failed": wording.BAD, "started": wording.WARNING}.get(outcome, wording.PLAIN)
    return {
        "step": clipped(name),
        "outcome": wording.mark(tone, wording.outcome_words(outcome)),
        "method": _text(one, "method"),
        "attempt": one.get("attempt", 1),
    }


def _fact(name: str, one: Mapping[str, JSONValue], moment: datetime) -> dict[str, Any]:
    until = _time(one.get("expires_at"))
    value = one.get("value")
    return {
        "name": clipped(name),
        "value": clipped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 400),
        "source": _text(one, "source"),
        "time": _moment(one.get("fetched_at")),
        "ran_out": until is not None and until <= moment,
    }


def _stock(item: str, one: Mapping[str, JSONValue], moment: datetime) -> dict[str, Any]:
    seen = _time(one.get("at"))
    return {
        "item": clipped(item),
        "available": one.get("available") if type(one.get("available")) is int else "",
        "age": "" if seen is None else wording.length(max(moment - seen, timedelta())),
    }


def _fallback(one: Mapping[str, JSONValue]) -> dict[str, Any]:
    sure = one.get("confidence")
    return {
        "tried": _text(one, "tried"), "outcome": _text(one, "outcome"), "code": _text(one, "code"),
        "confidence": f"{sure}%" if type(sure) is int else "",
    }  # fmt: skip


def _recommendation(one: Mapping[str, JSONValue]) -> dict[str, Any]:
    sure = one.get("confidence")
    return {
        "item": _text(one, "item"),
        "reason": _text(one, "reason", 400),
        "confidence": f"{sure}%" if type(sure) is int else "",
    }


def _entries(slice_: Mapping[str, JSONValue], field: str) -> list[tuple[str, dict[str, JSONValue]]]:
    found = sorted((key, one) for key, one in _map(slice_.get(field)).items() if isinstance(one, dict))
    return found[:MOST]


def _map(value: JSONValue | None) -> dict[str, JSONValue]:
    return value if isinstance(value, dict) else {}


def _text(one: Mapping[str, JSONValue], name: str, length: int = 80) -> str:
    value = one.get(name)
    return clipped(value, length) if isinstance(value, str) else ""


def _money(one: Mapping[str, JSONValue]) -> str:
    amount, currency = one.get("amount"), one.get("currency")
    return format_money(amount, clipped(currency)) if type(amount) is int and isinstance(currency, str) else ""


def _time(value: JSONValue | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.utcoffset() is not None else None


def _moment(value: JSONValue | None) -> SafeString | str:
    found = _time(value)
    return "" if found is None else wording.moment(found)
