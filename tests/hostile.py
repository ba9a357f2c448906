"""A session in which everything that a stranger can write is an attack on whoever looks at it."""

from __future__ import annotations

from typing import Any

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent
from agent_sessions.services import OpenedSession
from tests.store.calling import call, head

MARK = "zqx"
"""In every name that the attacks would bring into a page; nothing of ours is called so."""
MARKUP = (
    f"""'"><{MARK}-tag {MARK}=1 onclick={MARK}()>&lt;<script>alert("{MARK}")</script></time></title>"""
    f"javascript:{MARK} \U0001f469\u200d\U0001f469\u200d\U0001f467 {{{{ {MARK} }}}} %3Cb%3E"
)
"""For names, where characters that nobody can see are refused."""
ATTACK = MARKUP + " \u202e\u2066\u200b\ufeff\x07"
UNSEEN = ("\u202e", "\u2066", "\u200b", "\ufeff", "\x07")
"""Characters of the attack that turn the text's direction or cannot be seen."""
LONG = ATTACK + "W" * 100_000
TIME = "2026-03-02T10:00:00Z"


def hostile_session(opened: Any, item: str) -> OpenedSession:
    """A cart with one good item of the store, an approval of it, and then all that takes text, up to 100 kB each."""
    one: OpenedSession = opened(
        agent=Agent(MARKUP, MARKUP, MARKUP),
        purpose=ATTACK,
        merchant=ATTACK,
        parent_request=MARKUP[:64],
        kind="standard",
    )
    call("cart.add", one, item_id=item)
    asked = services.request_approval(one.session_id, reason=ATTACK)
    services.escalate_approval(asked.approval_id, reason=ATTACK)
    patches: list[Any] = [{"shopping": _shopping(ATTACK, LONG), "decisions": _decisions(), "agent": {ATTACK: LONG}}]
    patches.append(
        {**_rest(), "shopping": _shopping(LONG, ATTACK), "checkout": {"method": ATTACK, "extra": {"a": LONG}}}
    )
    for patch in patches:
        made = Call(
            ATTACK[:64],
            ATTACK[:16],
            params={ATTACK: ATTACK},
            private={"email": ATTACK},
            policy_rule=ATTACK,
            policy_result="deny",
        )
        services.change_session(
            one.session_id, expected_version=head(one).version, patch=patch, note=ATTACK, call=made, kind="zq.x_y"
        )
    for role in ("user", "agent"):
        services.add_message(one.session_id, role=role, content=LONG[:30_000])
    refused = Call("checkout", "POST", policy_result="deny", policy_rule=ATTACK, response_status=403)
    services.record_event(one.session_id, kind="capability.refused", call=refused)
    return one


def _shopping(title: str, words: str) -> dict[str, Any]:
    line = {"item": ATTACK, "quantity": 1, "unit_price": 100, "currency": "EUR", "title": title, "variant": ATTACK}
    return {
        "lines": {ATTACK: {**line, "options": {ATTACK: ATTACK}, "extra": {ATTACK: {"url": ATTACK}}}},
        "discounts": {ATTACK: {"amount": -1, "currency": "EUR", "code": ATTACK, "label": words}},
        "vouchers": {ATTACK: {"label": ATTACK, "extra": {"terms": ATTACK}}},
        "delivery": {"method": ATTACK, "label": ATTACK, "amount": 1, "currency": "EUR", "address_ref": ATTACK},
        "quote": {"total": 100, "currency": "EUR", "fingerprint": ATTACK, "extra": {"subtotal": 100, ATTACK: ATTACK}},
        "instructions": ATTACK,
    }


def _decisions() -> dict[str, Any]:
    paid = {"method": ATTACK, "outcome": "declined", "code": ATTACK, "provider_ref": ATTACK, "brand": ATTACK}
    return {
        "payments": {ATTACK: paid},
        "policies": {ATTACK: {"result": "deny", "capability": ATTACK, "at": TIME}},
        "recommendations": {ATTACK: {"item": ATTACK, "reason": LONG}},
        "fallbacks": {ATTACK: {"tried": ATTACK, "outcome": ATTACK, "code": ATTACK}},
    }


def _rest() -> dict[str, Any]:
    return {
        "inventory": {
            "holds": {ATTACK: {"item": ATTACK, "quantity": 1, "held_at": TIME}},
            "stock": {ATTACK: {"available": 1, "at": TIME}},
        },
        "facts": {"known": {ATTACK: {"value": LONG, "source": ATTACK, "fetched_at": TIME}}},
        "stale": {"parts": {ATTACK: {"kind": ATTACK, "ref": ATTACK, "what": ATTACK, "since": TIME}}},
        "recovery": {
            "steps": {ATTACK: {"outcome": "failed", "code": ATTACK, "method": ATTACK, "tried": {ATTACK: ATTACK}}},
            "next": ATTACK,
            "retry": {"rule": ATTACK, "step": ATTACK},
            "endpoints": {ATTACK: {"failures": 1, "code": ATTACK}},
            "interventions": {ATTACK: {"kind": ATTACK, "since": TIME, "reason": LONG}},
        },
        "customer": {"preferences": {ATTACK: LONG}, "addresses": {ATTACK: {"label": ATTACK, "address_ref": ATTACK}}},
        "conversation": {"summary": LONG, "products": {ATTACK: ATTACK}, "questions": {ATTACK: ATTACK}},
    }
