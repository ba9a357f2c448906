"""Sessions that came from one another as rows of a tree, for people to look at: which of them, in which order and lane.

Whatever stands in the rows, every session is told once: nothing here trusts that what came from what is a tree.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_sessions.domain.lifecycle import Origin

MOST: Final = 16
"""Sessions of a family that are shown."""
_GOES_ON: Final = (Origin.RENEWAL.value, Origin.TRANSFER.value)
"""Origins of what takes the place of a session."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands among the rows.

    ``parent`` is the one above that it came from, None if that is not among the rows; ``lane`` counts the branches that
    lead to it. ``left_out`` are those that came from it and are not among the rows.
    """

    session: uuid.UUID
    parent: uuid.UUID | None
    lane: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Rail:
    """A line in a row. ``lane`` and ``to`` are where it comes from above and where it goes; equal for a straight one.

    ``part``: it passes ``through`` the row, ``ends`` at the row's session or ``begins`` there. ``session`` is the one
    that it leads to.
    """

    lane: int
    to: int
    part: str
    session: uuid.UUID


def nearest(parents: Mapping[uuid.UUID, uuid.UUID | None], present: uuid.UUID, most: int = MOST) -> set[uuid.UUID]:
    """Return up to ``most`` sessions, the fewest steps from ``present``: what it came from first, then the newest.

    ``parents`` has for each session what it came from; what is not a key of it, since it is gone, still joins those
    that came from it. Ids sort by time.
    """
    children = _children(parents)
    passed, waiting, found = {present}, deque([present]), {present}
    while waiting and len(found) < most:
        one = waiting.popleft()
        above = parents.get(one)
        for other in [*([] if above is None else [above]), *reversed(children.get(one, ()))]:
            if other not in passed and len(found) < most:
                passed.add(other)
                waiting.append(other)
                found |= {other} & parents.keys()
    return found


def arranged(
    parents: Mapping[uuid.UUID, uuid.UUID | None],
    origins: Mapping[uuid.UUID, str],
    shown: Collection[uuid.UUID],
) -> list[Place]:
    """Put the sessions of ``shown`` into rows, each below the one that it came from.

    What takes the place of a session, its renewal or transfer, goes on in its lane and comes last, below the branches.
    """
    children = _children(parents)
    rows: list[Place] = []
    left = sorted(shown)
    told: set[uuid.UUID] = set()

    def below(one: uuid.UUID) -> list[uuid.UUID]:
        kept = [other for other in children.get(one, ()) if other in shown]
        last = [other for other in kept if origins.get(other) in _GOES_ON][-1:]
        return [*(other for other in kept if other not in last), *last]

    def walk(first: uuid.UUID) -> None:
        stack: list[tuple[uuid.UUID, uuid.UUID | None, int]] = [(first, None, 0)]
        while stack:
            one, parent, lane = stack.pop()
            if one in told:
                continue
            told.add(one)
            under = below(one)
            hidden = sum(other not in shown for other in children.get(one, ()))
            rows.append(Place(one, parent, lane, hidden))
            for other in reversed(under):
                same = other == under[-1] and origins.get(other) in _GOES_ON
                stack.append((other, one, lane if same else lane + 1))

    # First those that begin a tree; what is left then is a ring, which only damaged rows can be.
    for one in [*(one for one in left if parents.get(one) not in shown), *left]:
        walk(one)
    return rows


def rails(rows: Sequence[Place]) -> list[list[Rail]]:
    """Return for each row the lines in it, that lead from what a session came from to it."""
    lines: list[list[Rail]] = [[] for _ in rows]
    at = {place.session: number for number, place in enumerate(rows)}
    for number, place in enumerate(rows):
        if place.parent is None:
            continue
        above = at[place.parent]
        lane = rows[above].lane
        lines[above].append(Rail(lane, lane, "begins", place.session))
        for between in range(above + 1, number):
            lines[between].append(Rail(lane, lane, "through", place.session))
        lines[number].append(Rail(lane, place.lane, "ends", place.session))
    return lines


def _children(parents: Mapping[uuid.UUID, uuid.UUID | None]) -> dict[uuid.UUID, list[uuid.UUID]]:
    """Return what came from each session, oldest first."""
    children: dict[uuid.UUID, list[uuid.UUID]] = {}
    pairs: Iterable[tuple[uuid.UUID, uuid.UUID | None]] = sorted(parents.items(), key=lambda pair: pair[0])
    for one, parent in pairs:
        if parent is not None:
            children.setdefault(parent, []).append(one)
    return children
