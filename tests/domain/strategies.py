"""Hypothesis strategies for what a session holds; other tests build on them too."""

from __future__ import annotations

from hypothesis import strategies as st

from agent_sessions.domain.patch import diff
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
            "item": texts().filter(bool),
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
    free = {"method": texts().filter(bool)}
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
        },
    )


def states() -> st.SearchStrategy[State]:
    """A state of the right shape, as ``check_whole`` accepts it."""
    return _with_optional({}, {"shopping": shopping(), "conversation": conversation(), "agent": json_maps()})


def changes() -> st.SearchStrategy[tuple[State, Patch]]:
    """A state of the right shape with a patch that leads to another one."""
    return st.tuples(states(), states()).map(lambda pair: (pair[0], diff(*pair)))
