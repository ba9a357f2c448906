"""What changed between two states, in the words of a shop (V2).

What people have a word for has a teller (``domain.tellers``). The rest, and whatever does not have the shape that it
should (a damaged or older state), is told leaf by leaf.
"""

from __future__ import annotations

from agent_sessions.domain.leaves import Difference, alike, are_maps, fields, parted, plain_differences
from agent_sessions.domain.tellers.customer import CONVERSATION, CUSTOMER
from agent_sessions.domain.tellers.decisions import CHECKOUT, DECISIONS
from agent_sessions.domain.tellers.making import Teller, variables
from agent_sessions.domain.tellers.outside import FACTS, INVENTORY, STALE
from agent_sessions.domain.tellers.recovery import RECOVERY
from agent_sessions.domain.tellers.shopping import SHOPPING
from agent_sessions.domain.values import escape_key
from agent_sessions.types import State

__all__ = ["Difference", "describe"]

_TELLERS: dict[str, dict[str, Teller]] = {
    "shopping": SHOPPING,
    "stale": STALE,
    "decisions": DECISIONS,
    "checkout": CHECKOUT,
    "inventory": INVENTORY,
    "recovery": RECOVERY,
    "facts": FACTS,
    "customer": CUSTOMER,
    "conversation": CONVERSATION,
    "agent": {},
}
"""The order in which slices and their fields are told, and by what."""

_tell_variables = variables("Variable")


def describe(before: State, after: State) -> tuple[Difference, ...]:
    """Return what differs between two states: in what has a teller, slice by slice, and then in the rest.

    The order is fixed. Empty exactly if the states hold the same. Every value that differs lies at or below
    the path of a difference.
    """
    told: list[Difference] = []
    rest: list[Difference] = []
    others = sorted((before.keys() | after.keys()) - _TELLERS.keys())
    for name in (*_TELLERS, *others):
        old, new, path = before.get(name), after.get(name), f"/{escape_key(name)}"
        tellers = _TELLERS.get(name, {})
        if alike(old, new):
            continue
        if name == "agent":
            told += _tell_variables(old, new, path)
        elif are_maps(old, new):
            one, other = fields(old), fields(new)
            names = parted(one, other)
            for field, tell in tellers.items():
                if field in names:
                    told += tell(one.get(field), other.get(field), f"{path}/{field}")
            for field in names:
                if field not in tellers:
                    rest += plain_differences(one.get(field), other.get(field), f"{path}/{escape_key(field)}")
        else:
            rest += plain_differences(old, new, path)
    return (*told, *rest)
