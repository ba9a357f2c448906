"""Does evidence say what its proof shows? Who the agent was, its limits, decisions, approvals and orders are compared
with the events; prices, payments and the carts that people were shown with what is opened of the versions. What the
proof does not open (personal parts, where they were withheld) cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from agent_sessions.audit.checks import DEPTH
from agent_sessions.audit.events import ENDED
from agent_sessions.audit.shapes import Problem
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.domain.calls import APPROVAL_GRANTED, APPROVAL_REJECTED
from agent_sessions.domain.evidence import EVIDENCE_TYPE
from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.shown_cart import shown_cart
from agent_sessions.exceptions import InvalidValue
from agent_sessions.types import State

_DEPTH: Final = DEPTH + 2
_OF_EVENT: Final = {
    "at": "timestamp",
    "what": "kind",
    "actor": "actor",
    "capability": "capability",
    "result": "policy_result",
    "status": "response_status",
}
_OF_HEADER: Final = {
    "site": "site",
    "merchant": "merchant",
    "kind": "session_kind",
    "created_at": "created_at",
    "expires_at": "expires_at",
}
_ANSWERED: Final = ("granted", "rejected", "used", "escalated")
_PRICE: Final = ("item", "quantity", "unit_price", "currency")
_PAYMENT: Final = ("method", "outcome", "code", "amount", "currency", "provider_ref", "brand", "last4")


def evidence_problems(raw: bytes, proof: Mapping[str, Any], proof_bytes: bytes, where: str) -> Iterator[Problem]:
    """Compare an evidence document with its proof, which was checked before. Never raises."""
    try:
        document: Any = parse_strict(raw, max_depth=_DEPTH)
        if canonical_bytes(document, max_depth=_DEPTH) != raw:
            yield Problem("not_canonical", where, "is not canonical (RFC 8785)")
        found = list(_compared(document, proof, sha256(proof_bytes).hexdigest()))
    except InvalidValue as error:
        yield Problem("not_json", where, error.problem)
        return
    except (LookupError, TypeError, AttributeError, ValueError):
        yield Problem("wrong_value", where, "does not have the shape of evidence")
        return
    for place, message in found:
        yield Problem("contradiction", f"{where} {place}", message)


def _compared(document: Any, proof: Mapping[str, Any], digest: str) -> Iterator[tuple[str, str]]:
    if document["type"] != EVIDENCE_TYPE or document["session"]["id"] != proof["run_id"]:
        yield "session", "is of another session"
    if document["proof"]["sha256"] != digest:
        yield "proof.sha256", "is not that of the proof beside it"
    events = [*proof["events"], *proof.get("after", ())]
    yield from _facts(document["session"], document["limits"], events)
    for number, decided in enumerate(document["policies"]):
        event = events[decided["event"] - 1]
        if any(decided[name] != event[other] for name, other in _OF_EVENT.items()) or decided["rule"] != event.get(
            "policy_rule", ""
        ):
            yield f"policies[{number}]", f"is not what event {decided['event']} says"
    for number, approval in enumerate(document["approvals"]):
        if not _is_told(approval, [events[seq - 1] for seq in approval["events"]]):
            yield f"approvals[{number}]", "is not what its events say"
    for number, order in enumerate(document["orders"]):
        if order["event"] is not None and events[order["event"] - 1]["params"].get("order") != order["order_ref"]:
            yield f"orders[{number}]", f"is not the order of event {order['event']}"
    states = _states(proof, events)
    if "missing" not in document["seen"] and document["seen"]["version"] in states:
        yield from _seen(document["seen"], states[document["seen"]["version"]])
    for number, shown in enumerate(document["disclosed"]):
        if "missing" not in shown["cart"] and shown["version"] in states:
            cart = shown_cart(states[shown["version"]])
            if shown["cart"] != {name: value for name, value in cart.items() if name != "delivery"}:
                yield f"disclosed[{number}]", f"is not the cart of version {shown['version']} as it is opened"
    if type(document["payments"]) is list and states:
        known = _at(states[max(states)], "decisions", "payments")
        for number, payment in enumerate(document["payments"]):
            entry = known.get(payment["id"], {})
            if any((payment[name] or "") != (entry.get(name) or "") for name in _PAYMENT):
                yield f"payments[{number}]", "is not what the opened versions say"


def _facts(session: Any, limits: Any, events: list[Any]) -> Iterator[tuple[str, str]]:
    """Compare what is known since the session was opened, and how it ended."""
    header, params = events[0]["header"], events[0]["params"]
    told = {name: header[other] for name, other in _OF_HEADER.items()}
    told |= {
        "agent": {**header["agent"], "key": params.get("agent_key", "")},
        "parent_request": params.get("parent_request", ""),
        "origin": params.get("origin", ""),
    }
    ended: Mapping[str, Any] = next((event["params"] for event in events if event["kind"] == ENDED), {})
    told |= {"ended_at": ended.get("ended_at"), "end_reason": ended.get("end_reason", "")}
    for name, value in told.items():
        if session[name] != value:
            yield f"session.{name}", "is not what its first event and its end say"
    scope = header["scope"]
    told = {"spend_cap": scope.get("spend_cap"), "currency": scope.get("currency", "")}
    told |= {"capabilities": header["capabilities"], "session_ends": header["expires_at"]}
    for name, value in told.items():
        if limits[name] != value:
            yield f"limits.{name}", "is not what the first event says"


def _is_told(approval: Any, events: list[Any]) -> bool:
    """Tell whether the events of an approval say what it is about, who decided it and when, and what became of it."""
    facts = {"approval": approval["id"], "had_ms": approval["review"]["had_ms"]}
    facts |= {name: approval[name] for name in ("amount", "currency", "version", "rule")}
    if any(event["params"].get(name, facts[name]) != facts[name] for event in events for name in facts):
        return False
    decided = [event for event in events if event["kind"] in (APPROVAL_GRANTED, APPROVAL_REJECTED)]
    kinds = {event["kind"].removeprefix("approval.") for event in events}
    return (
        bool(events)
        and (approval["status"] not in _ANSWERED or approval["status"] in kinds)
        and [event["actor"] for event in decided] == ([approval["decided_by"]] if approval["decided_by"] else [])
    )


def _seen(seen: Any, state: State) -> Iterator[tuple[str, str]]:
    lines = _at(state, "shopping", "lines")
    told = {one["line"]: [one[name] for name in _PRICE] for one in seen["lines"]}
    if told != {key: [line.get(name) for name in _PRICE] for key, line in lines.items()}:
        yield "seen.lines", f"are not those of version {seen['version']} as it is opened"
    quote = _at(state, "shopping", "quote")
    if (seen["quote"] or {}).get("total") != quote.get("total"):
        yield "seen.quote", f"is not that of version {seen['version']} as it is opened"
    stock = {item: one.get("available") for item, one in _at(state, "inventory", "stock").items()}
    if {one["item"]: one["available"] for one in seen["stock"]} != stock:
        yield "seen.stock", f"is not that of version {seen['version']} as it is opened"


def _states(proof: Mapping[str, Any], events: list[Any]) -> dict[int, State]:
    """Return by version the states that the opened patches lead to; none if one that was committed to is not opened."""
    opened = {opening["seq"]: opening["value"] for opening in proof["openings"] if opening["path"] == "patch"}
    states: dict[int, State] = {}
    state: State = {}
    for event in events:
        if "version" not in event:
            continue
        if "patch" in event.get("private", {}):
            if event["seq"] not in opened:
                return {}
            state = apply_patch(state, opened[event["seq"]])
        states[event["version"]] = state
    return states


def _at(state: Any, *way: str) -> dict[str, Any]:
    for name in way:
        state = state.get(name) if isinstance(state, dict) else None
    return state if isinstance(state, dict) else {}
