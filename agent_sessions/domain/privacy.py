"""Which parts of a state say something of a person, so that they can be erased before the rest (A5, A7)."""

from __future__ import annotations

from typing import Final, TypeAlias

from agent_sessions.types import Patch, PatchValue

PERSONAL: Final = (
    "/customer",
    "/conversation",
    "/facts",
    "/agent",
    "/shopping/instructions",
    "/shopping/delivery",
    "/decisions/approvals/*/reason",
    "/decisions/fallbacks/*/outcome",
    "/decisions/recommendations/*/reason",
    "/recovery/interventions/*/reason",
)
"""JSON pointers of the personal class, ``*`` for any key: what the consumer said or is, what was looked up about them,
where the goods go, and what agents write as they like. All else is the content class: goods, prices, decisions,
times."""

GROUPS: Final = ("words", "customer", "agent")
"""What the staff has revealed to it on its own: what people and agents said (purpose, instructions, messages, questions
and answers, what was typed), what is known of the customer (their data, facts, delivery), what the agent kept and tried
(variables, reasons, steps)."""

_ANY: Final = "*"

_Tree: TypeAlias = "dict[str, _Tree | None]"


def _tree(pointers: tuple[str, ...]) -> _Tree:
    tree: _Tree = {}
    for pointer in pointers:
        *way, last = pointer.split("/")[1:]
        place = tree
        for name in way:
            inner = place.setdefault(name, {})
            assert inner is not None  # noqa: S101 - no pointer above lies inside another
            place = inner
        place[last] = None
    return tree


_PERSONAL: Final = _tree(PERSONAL)


def split(patch: Patch) -> tuple[Patch, Patch]:
    """Split a patch, or a state, into its content part and its personal part.

    Applying the one and then the other does what the whole does. A deletion of a whole slice is content, and deletes
    what is personal in it too.
    """
    if _PERSONAL.keys().isdisjoint(patch):
        return patch, {}
    return _split(patch, _PERSONAL)


def _split(patch: Patch, tree: _Tree) -> tuple[Patch, Patch]:
    content: Patch = {}
    personal: Patch = {}
    for key, change in patch.items():
        if key in tree:
            inner = tree[key]
        elif _ANY in tree:
            inner = tree[_ANY]
        else:
            content[key] = change
            continue
        if inner is None:
            personal[key] = change
        elif type(change) is dict:
            _put(key, change, inner, content, personal)
        else:
            content[key] = change
    return content, personal


def _put(key: str, change: dict[str, PatchValue], tree: _Tree, content: Patch, personal: Patch) -> None:
    one, other = _split(change, tree)
    if other:
        personal[key] = other
    if one or not other:  # an empty map stays one
        content[key] = one
