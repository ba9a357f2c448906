"""Hypothesis strategies for what a session holds; other tests build on them too."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from hypothesis import strategies as st

from agent_sessions.domain.patch import diff
from agent_sessions.domain.slices.decisions import ApprovalStatus, PaymentOutcome, PolicyResult
from agent_sessions.domain.slices.recovery import StepOutcome
from agent_sessions.domain.values import MAX_INTEGER
from agent_sessions.types import JSONValue, Patch, State

CURRENCIES = ("EUR", "USD", "JPY", "KWD")


def texts(max_size: int = 12) -> st.SearchStrategy[str]:
    """Text that a session can hold: anything but NUL and lone surrogates."""
    return st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=max_size
    ) | st.sampled_from(["", "Blue mug", "größe", "a/b~c", '"', "\u202eevil", "line\nbreak", "🫖"])


def keys() -> st.SearchStrategy[str]:
    """Keys of a map; mostly few, so that states and patches meet."""
    return st.sampled_from(["a", "b", "c"]) | texts(6).filter(bool)


def scalars() -> st.SearchStrategy[JSONValue]:
    return st.booleans() | st.integers(0, 2) | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts()


def json_values(max_leaves: int = 12) -> st.SearchStrategy[JSONValue]:
    """Any value that a session can hold."""
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys(), inner, max_size=4),
        max_leaves=max_leaves,
    )


def json_maps(max_leaves: int = 12) -> st.SearchStrategy[State]:
    """Any map of such values: a state as far as patches care, whatever its shape."""
    return st.dictionaries(keys(), json_values(max_leaves), max_size=4)


def patches(max_leaves: int = 12) -> st.SearchStrategy[Patch]:
    """Any merge patch: nulls at any depth of its maps, none in lists."""
    values = st.recursive(
        st.none() | scalars() | st.lists(json_values(3), max_size=3),
        lambda inner: st.dictionaries(keys(), inner, max_size=4),
        max_leaves=max_leaves,
    )
    return st.dictionaries(keys(), values, max_size=4)


def _names() -> st.SearchStrategy[str]:
    return texts().filter(bool)


def _with_optional(required: dict, optional: dict) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries(required, optional=optional)


def _times() -> st.SearchStrategy[str]:
    return st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")


def _amounts() -> st.SearchStrategy[int]:
    return st.integers(0, 10_000) | st.integers(0, MAX_INTEGER)


def _ids() -> st.SearchStrategy[str]:
    return st.sampled_from(["1", "2", "3", "a/b"]) | keys()


def lines() -> st.SearchStrategy[dict]:
    return _with_optional(
        {
            "item": _names(),
            "quantity": st.integers(1, 5),
            "unit_price": _amounts(),
            "currency": st.sampled_from(CURRENCIES),
        },
        {
            "title": texts(),
            "variant": texts(),
            "options": st.dictionaries(keys(), texts(), max_size=2),
            "extra": json_maps(4),
        },
    )


def _discounts() -> st.SearchStrategy[dict]:
    return _with_optional(
        {"amount": st.integers(-10_000, 10_000), "currency": st.sampled_from(CURRENCIES)},
        {"code": texts(), "label": texts(), "applies_to": _ids(), "extra": json_maps(3)},
    )


def _vouchers() -> st.SearchStrategy[dict]:
    return _with_optional({}, {"label": texts(), "extra": json_maps(3)})


def _deliveries() -> st.SearchStrategy[dict]:
    optional = {
        "label": texts(),
        "address_ref": texts(),
        "earliest": _times(),
        "latest": _times(),
        "extra": json_maps(3),
    }
    free = {"method": _names()}
    priced = {**free, "amount": _amounts(), "currency": st.sampled_from(CURRENCIES)}
    return _with_optional(free, optional) | _with_optional(priced, optional)


def _quotes() -> st.SearchStrategy[dict]:
    return _with_optional(
        {"total": _amounts(), "currency": st.sampled_from(CURRENCIES)},
        {"fingerprint": texts(), "valid_until": _times(), "extra": json_maps(3)},
    )


def shopping() -> st.SearchStrategy[dict]:
    """A slice ``shopping`` of the right shape."""
    return _with_optional(
        {},
        {
            "lines": st.dictionaries(_ids(), lines(), max_size=4),
            "discounts": st.dictionaries(_ids(), _discounts(), max_size=2),
            "vouchers": st.dictionaries(_ids(), _vouchers(), max_size=2),
            "delivery": _deliveries(),
            "quote": _quotes(),
            "instructions": texts(),
        },
    )


def conversation() -> st.SearchStrategy[dict]:
    """A slice ``conversation`` of the right shape."""
    return _with_optional(
        {},
        {
            "summary": texts(),
            "window_start": st.integers(0, 50),
            "products": st.dictionaries(_ids(), texts(), max_size=3),
            "questions": st.dictionaries(_ids(), texts(), max_size=3),
            "files": st.dictionaries(_ids(), texts(), max_size=2),
        },
    )


def _maps_of(entries: st.SearchStrategy[JSONValue]) -> st.SearchStrategy[dict]:
    return st.dictionaries(_ids(), entries, max_size=2)


def _maybe_priced(required: dict, optional: dict) -> st.SearchStrategy[dict]:
    price = {"amount": _amounts(), "currency": st.sampled_from(CURRENCIES)}
    return _with_optional(required, optional) | _with_optional({**required, **price}, optional)


def customer() -> st.SearchStrategy[dict]:
    """A slice ``customer`` of the right shape."""
    address = {"label": texts(), "address_ref": texts(), "country": st.sampled_from(["DE", "FR"])}
    return _with_optional(
        {},
        {
            "preferences": json_maps(4),
            "loyalty": json_maps(3),
            "addresses": _maps_of(_with_optional({}, address)),
            "extra": json_maps(3),
        },
    )


def _payments() -> st.SearchStrategy[dict]:
    return _maybe_priced(
        {"method": _names(), "outcome": st.sampled_from(get_args(PaymentOutcome))},
        {
            "code": texts(),
            "attempted_at": _times(),
            "ended_at": _times(),
            "provider_ref": texts(),
            "brand": texts(),
            "last4": st.sampled_from(["4242", "0000"]),
        },
    )


def _approvals() -> st.SearchStrategy[dict]:
    return _maybe_priced(
        {"status": st.sampled_from(get_args(ApprovalStatus))},
        {
            "rule": texts(),
            "reason": texts(),
            "version": st.integers(1, 9),
            "requested_at": _times(),
            "expires_at": _times(),
            "decided_at": _times(),
        },
    )


def decisions() -> st.SearchStrategy[dict]:
    """A slice ``decisions`` of the right shape."""
    sure = {"confidence": st.integers(0, 100), "at": _times()}
    policy = _with_optional(
        {"result": st.sampled_from(get_args(PolicyResult))}, {"capability": texts(), "at": _times()}
    )
    fallback = _with_optional({"tried": _names()}, {"outcome": texts(), "code": texts(), **sure})
    return _with_optional(
        {},
        {
            "payments": _maps_of(_payments()),
            "approvals": _maps_of(_approvals()),
            "policies": _maps_of(policy),
            "fallbacks": _maps_of(fallback),
            "recommendations": _maps_of(_with_optional({"item": _names()}, {"reason": texts(), **sure})),
        },
    )


def checkout() -> st.SearchStrategy[dict]:
    """A slice ``checkout`` of the right shape."""
    return _with_optional({}, {"approval": texts(), "handoff": texts(), "method": texts(), "extra": json_maps(3)})


def inventory() -> st.SearchStrategy[dict]:
    """A slice ``inventory`` of the right shape."""
    held = _with_optional(
        {"item": _names(), "quantity": st.integers(1, 3), "held_at": _times()},
        {"until": _times(), "released_at": _times()},
    )
    seen = st.fixed_dictionaries({"available": st.integers(0, 3), "at": _times()})
    return _with_optional({}, {"holds": _maps_of(held), "stock": _maps_of(seen)})


def recovery() -> st.SearchStrategy[dict]:
    """A slice ``recovery`` of the right shape."""
    step = _with_optional(
        {"outcome": st.sampled_from(get_args(StepOutcome))},
        {
            "attempt": st.integers(1, 3),
            "started_at": _times(),
            "ended_at": _times(),
            "code": texts(),
            "method": texts(),
            "tried": st.dictionaries(keys(), texts(), max_size=2),
        },
    )
    retry = {"step": texts(), "attempts_left": st.integers(0, 3), "not_before": _times()}
    endpoint = _with_optional({"failures": st.integers(1, 3)}, {"code": texts(), "last_at": _times()})
    intervention = _with_optional({"kind": _names(), "since": _times()}, {"reason": texts()})
    return _with_optional(
        {},
        {
            "steps": _maps_of(step),
            "next": texts(),
            "retry": _with_optional({"rule": _names()}, retry),
            "endpoints": _maps_of(endpoint),
            "interventions": _maps_of(intervention),
        },
    )


def facts() -> st.SearchStrategy[dict]:
    """A slice ``facts`` of the right shape."""
    fact = _with_optional(
        {"value": json_values(4), "source": _names(), "fetched_at": _times()}, {"expires_at": _times()}
    )
    return _with_optional({}, {"known": _maps_of(fact)})


def stale() -> st.SearchStrategy[dict]:
    """A slice ``stale`` of the right shape."""
    part = _with_optional({"kind": _names(), "ref": _names(), "since": _times()}, {"what": texts()})
    return _with_optional({}, {"parts": _maps_of(part)})


def states() -> st.SearchStrategy[State]:
    """A state of the right shape, as ``check_whole`` accepts it, every slice in it or not."""
    return _with_optional({}, {name: slice_of() for name, slice_of in SLICES.items()})


def changes() -> st.SearchStrategy[tuple[State, Patch]]:
    """A state of the right shape with a patch that leads to another one."""
    return st.tuples(states(), states()).map(lambda pair: (pair[0], diff(*pair)))


SLICES: dict[str, Callable[[], st.SearchStrategy[dict]]] = {
    "shopping": shopping,
    "customer": customer,
    "conversation": conversation,
    "decisions": decisions,
    "checkout": checkout,
    "inventory": inventory,
    "recovery": recovery,
    "facts": facts,
    "agent": json_maps,
    "stale": stale,
}
"""What makes each slice; ``test_state`` sees to it that none is forgotten."""


def _piles() -> st.SearchStrategy[dict]:
    """Lines that are keyed by their item, as a cart's are."""
    return st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), max_size=4).map(
        lambda piles: {
            key: {"item": key, "quantity": quantity, "unit_price": 100, "currency": "EUR"}
            for key, quantity in piles.items()
        }
    )


@st.composite
def races(draw: st.DrawFn, sides: int) -> tuple[State, list[Patch]]:
    """A priced basket, and what several who see it at once do to it: small changes, so that many can be merged."""
    lines = draw(_piles())
    state: State = {
        "shopping": {"lines": lines, "quote": {"total": 100, "currency": "EUR"}, "instructions": "Ring twice"},
        "agent": {"plan": {"step": 1}},
    }
    quantities = st.builds(lambda quantity: {"quantity": quantity}, st.integers(1, 9))
    patches: list[Patch] = []
    for _ in range(sides):
        known = draw(st.dictionaries(st.sampled_from(sorted(lines)), st.none() | quantities) if lines else st.just({}))
        added = {key: line for key, line in draw(_piles()).items() if key not in lines}
        rest = draw(
            _with_optional(
                {},
                {
                    "vouchers": st.dictionaries(st.sampled_from("VW"), st.just({}), max_size=2),
                    "instructions": st.sampled_from(["Ring twice", "Leave it"]),
                },
            )
        )
        agent = draw(st.dictionaries(keys(), scalars(), max_size=1))
        patches.append({"shopping": {"lines": {**known, **added}, **rest}, "agent": {"plan": agent}})
    return state, patches
