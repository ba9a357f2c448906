"""A session's whole time as a picture: phases as bars, events as marks, long idle times folded.

This lays out and says; ``_picture.html`` draws it as SVG. Places are percentages of the width, so that one drawing fits
every screen without a script and its text keeps its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agent_sessions.admin import wording
from agent_sessions.audit.events import ENDED
from agent_sessions.domain.calls import (
    APPROVAL_EXPIRED,
    APPROVAL_GRANTED,
    APPROVAL_REJECTED,
    APPROVAL_REQUESTED,
    APPROVAL_VOIDED,
    HANDED_OVER,
    PAUSED,
    RESUMED,
    TAKEN_BACK,
)
from agent_sessions.domain.families import FAMILIES
from agent_sessions.selectors.outline import GIVEN_UP, HANDED_TO_PAY, Cell, Outline, Turning

FAMILY_NAMES: Final = {
    "conversation": gettext_lazy("Talk"),
    "shopping": gettext_lazy("Cart"),
    "stock": gettext_lazy("Stock, facts"),
    "decision": gettext_lazy("Decisions"),
    "checkout": gettext_lazy("Checkout"),
    "control": gettext_lazy("Control"),
    "session": gettext_lazy("Session"),
    "privacy": gettext_lazy("Privacy"),
    "other": gettext_lazy("Other"),
}
PHASES: Final = {
    "ended": gettext_lazy("Ended"),
    "held": gettext_lazy("With a person"),
    "paused": gettext_lazy("Paused"),
    "waiting": gettext_lazy("Waiting for approval"),
    "checkout": gettext_lazy("Checkout"),
    "shopping": gettext_lazy("Shopping"),
}
"""What a session can be in; where several hold at once, the first of them is drawn."""
_ENTERS: Final = {
    ENDED: "ended",
    HANDED_OVER: "held",
    PAUSED: "paused",
    APPROVAL_REQUESTED: "waiting",
    HANDED_TO_PAY: "checkout",
}
_LEAVES: Final = {
    TAKEN_BACK: "held",
    RESUMED: "paused",
    APPROVAL_GRANTED: "waiting",
    APPROVAL_REJECTED: "waiting",
    APPROVAL_EXPIRED: "waiting",
    APPROVAL_VOIDED: "waiting",
    GIVEN_UP: "checkout",
}
_FIRST, _LAST = 1.0, 99.0
_FOLDED: Final = 5.0
"""Width of an idle time that is folded."""
_IDLE: Final = 0.2
"""The part of the time that is drawn from which on an idle time is folded."""
_CLOSE: Final = 0.8
"""Marks of a lane that lie nearer than this are one."""
_ROOM: Final = 2.0
_LETTER: Final = 0.85
"""Of the width, what the name of a bar takes beside its letters, and what each of them takes, at most."""
_LANE: Final = 22
_TOP: Final = 34

_Phase = tuple[str, Turning | None, datetime, datetime]
Link = Callable[[int, int], str]
"""Where a mark leads, by the number of its first event and the version that held then (0 before the first)."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A phase. ``told`` says all of it in a sentence."""

    phase: str
    name: str
    x: str
    width: str
    roomy: bool
    href: str
    told: SafeString
    began: SafeString
    lasted: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Events of a family that lie together, drawn as a dot, or as a cross if one of them went wrong."""

    family: str
    failed: bool
    x: str
    y: int
    radius: float
    href: str
    told: SafeString


@dataclass(frozen=True, slots=True)
class Fold:
    """An idle time that is drawn shorter than it was."""

    x: str
    width: str
    middle: str
    name: str
    labelled: bool


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    label: str
    y: int
    count: int
    failed: int


@dataclass(frozen=True, slots=True)
class Picture:
    """``shown`` is where the marker stands: its place and width, None without one.

    ``legend`` has of each phase what it is, its name and how long the session was in it altogether.
    """

    height: int
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    folds: tuple[Fold, ...]
    legend: tuple[tuple[str, str, str], ...]
    shown: tuple[str, str] | None
    began: SafeString
    ended: SafeString
    told: str
    clipped: bool

    @property
    def bottom(self) -> int:
        return self.height - 20


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of the time and where it is drawn."""

    began: datetime
    ended: datetime
    idle: bool
    x: float = 0.0
    width: float = 0.0


def picture_of(
    outline: Outline, *, until: datetime | None, link: Link, shown: tuple[datetime, datetime] | None = None
) -> Picture:
    """Lay out a session's time; ``until`` is the present where it goes on, ``shown`` what the page shows of it."""
    end = max(outline.last_at, until or outline.last_at)
    stretches = _scaled(_stretches(outline, end))
    held = _versions_held(outline.cells)
    lanes = _lanes(outline.cells)
    places = {lane.name: lane.y for lane in lanes}
    phases = _phases(outline.turnings, outline.began_at, end)
    long = end - outline.began_at >= timedelta(hours=20)
    count = sum(cell.count for cell in outline.cells)
    wrong = sum(cell.count for cell in outline.cells if cell.failed)
    return Picture(
        height=_TOP + _LANE * len(lanes) + 24,
        lanes=lanes,
        bars=tuple(_bar(one, stretches, link) for one in phases),
        marks=tuple(_marks(outline.cells, stretches, places, held, link)),
        folds=tuple(_folds(stretches)),
        legend=_legend(phases),
        shown=None if shown is None else _shown(shown, stretches),
        began=wording.drawn_moment(outline.began_at, dated=long),
        ended=wording.drawn_moment(end, dated=long),
        told=_("{events} in {time}, {wrong}").format(
            events=_events(count),
            time=wording.length(end - outline.began_at),
            wrong=_wrong(wrong) if wrong else _("none refused or failed"),
        ),
        clipped=outline.clipped,
    )


def _stretches(outline: Outline, end: datetime) -> list[_Stretch]:
    """Cut the time into stretches, of which those are idle that would leave the others no room."""
    idle = [(gap.began_at, gap.ended_at) for gap in outline.gaps]
    if end > outline.last_at:
        idle.append((outline.last_at, end))
    left, folded = end - outline.began_at, []
    for began, ended in sorted(idle, key=lambda times: times[0] - times[1]):
        if ended - began < left * _IDLE or ended - began < timedelta(seconds=5) or ended - began == left:
            break
        folded.append((began, ended))
        left -= ended - began
    stretches, place = [], outline.began_at
    for began, ended in sorted(folded):
        stretches += [_Stretch(place, began, idle=False), _Stretch(began, ended, idle=True)]
        place = ended
    return [*stretches, _Stretch(place, end, idle=False)]


def _scaled(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """Give each stretch its place: an idle one a fixed width, the others by their length, none of them nothing."""
    busy = [one for one in stretches if not one.idle]
    whole = sum((one.ended - one.began for one in busy), timedelta()) or timedelta(seconds=1)
    weights = [max((one.ended - one.began) / whole, 0.04) for one in busy]
    room = _LAST - _FIRST - _FOLDED * (len(stretches) - len(busy))
    widths = iter([room * weight / sum(weights) for weight in weights])
    placed, x = [], _FIRST
    for one in stretches:
        width = _FOLDED if one.idle else next(widths)
        placed.append(replace(one, x=x, width=width))
        x += width
    return placed


def _place(time: datetime, stretches: Sequence[_Stretch]) -> float:
    for one in stretches:
        if time <= one.ended:
            part = (time - one.began) / (one.ended - one.began) if one.ended > one.began else 0.5
            return one.x + one.width * min(max(part, 0.0), 1.0)
    return _LAST


def _versions_held(cells: Sequence[Cell]) -> dict[int, int]:
    """Return by the first event of a cell the version that the session had come to with that cell."""
    held: dict[int, int] = {}
    last = 0
    for cell in cells:
        last = max(last, cell.version or 0)
        held[cell.first_seq] = last
    return held


def _lanes(cells: Sequence[Cell]) -> tuple[Lane, ...]:
    counts = {family: [0, 0] for family in FAMILIES}
    for cell in cells:
        counts[cell.family][0] += cell.count
        counts[cell.family][1] += cell.count if cell.failed else 0
    there = [family for family in FAMILIES if counts[family][0]]
    return tuple(
        Lane(family, str(FAMILY_NAMES[family]), _TOP + _LANE * number + _LANE // 2, *counts[family])
        for number, family in enumerate(there)
    )


def _marks(
    cells: Sequence[Cell], stretches: Sequence[_Stretch], places: dict[str, int], held: dict[int, int], link: Link
) -> list[Mark]:
    """Place the cells; those of a lane that would lie upon one another become one mark."""
    groups: dict[str, list[tuple[float, list[Cell]]]] = {}
    for cell in cells:
        x = _place(cell.first_at, stretches)
        lane = groups.setdefault(cell.family, [])
        if lane and x - lane[-1][0] < _CLOSE:
            lane[-1][1].append(cell)
        else:
            lane.append((x, [cell]))
    return [_mark(family, x, places[family], found, held, link) for family, lane in groups.items() for x, found in lane]


def _mark(family: str, x: float, y: int, cells: Sequence[Cell], held: dict[int, int], link: Link) -> Mark:
    count, wrong = sum(cell.count for cell in cells), sum(cell.count for cell in cells if cell.failed)
    leading = next((cell for cell in cells if cell.failed), cells[0])
    said = wording.kind_words(leading.kind) if count == 1 else f"{_events(count)}: {FAMILY_NAMES[family]}"
    return Mark(
        family,
        wrong > 0,
        _percent(x),
        y,
        min(4 + (count > 1) + count.bit_length() / 2 - 0.5, 9.0),
        link(leading.first_seq, held[leading.first_seq]),
        format_html("{}, {}{}", said, wording.clock(leading.first_at), f", {_wrong(wrong)}" if wrong else ""),
    )


def _bar(one: _Phase, stretches: Sequence[_Stretch], link: Link) -> Bar:
    phase, turning, began, ended = one
    x, to = _place(began, stretches), _place(ended, stretches)
    lasted = wording.length(ended - began)
    return Bar(
        phase,
        str(PHASES[phase]),
        _percent(x),
        _percent(max(to - x, 1.0)),
        to - x >= _ROOM + _LETTER * len(str(PHASES[phase])),
        link(1, 1) if turning is None else link(turning.seq, turning.version or 1),
        format_html(_("{}: from {}, {}"), PHASES[phase], wording.clock(began), lasted),
        wording.moment(began),
        lasted,
    )


def _legend(phases: Sequence[_Phase]) -> tuple[tuple[str, str, str], ...]:
    lengths: dict[str, timedelta] = {}
    for phase, _turning, began, ended in phases:
        lengths[phase] = lengths.get(phase, timedelta()) + (ended - began)
    return tuple(
        (phase, str(PHASES[phase]), wording.length(length) if length else "") for phase, length in lengths.items()
    )


def _phases(turnings: Sequence[Turning], began: datetime, end: datetime) -> list[_Phase]:
    """Return the phases in order: which, the event that began it (None: the first), from when and to when."""
    holding = {"shopping"}
    starts: list[tuple[str, Turning | None, datetime]] = [("shopping", None, began)]
    for turning in turnings:
        if turning.kind in _ENTERS:
            holding.add(_ENTERS[turning.kind])
        holding.discard(_LEAVES.get(turning.kind, ""))
        phase = next(one for one in PHASES if one in holding)
        if phase != starts[-1][0]:
            starts.append((phase, turning, turning.at))
    ends = [
        (phase, turning, start, after[2]) for (phase, turning, start), after in pairwise([*starts, ("", None, end)])
    ]
    return [one for one in ends if one[3] > one[2] or one[0] == "ended"]


def _folds(stretches: Sequence[_Stretch]) -> list[Fold]:
    folds: list[Fold] = []
    before = -100.0
    for one in stretches:
        if one.idle:
            middle = one.x + one.width / 2
            labelled = middle - before >= 11 and 12 <= middle <= 88
            before = middle if labelled else before
            name = wording.length(one.ended - one.began)
            folds.append(Fold(_percent(one.x), _percent(one.width), _percent(middle), name, labelled))
    return folds


def _shown(shown: tuple[datetime, datetime], stretches: Sequence[_Stretch]) -> tuple[str, str]:
    x, to = (_place(time, stretches) for time in shown)
    return _percent(x), _percent(to - x)


def _percent(value: float) -> str:
    """Write a percentage with a point, whatever the language of the page."""
    return f"{value:.2f}%"


def _events(count: int) -> str:
    return ngettext("{number} event", "{number} events", count).format(number=count)


def _wrong(count: int) -> str:
    return _("{number} refused or failed").format(number=count)
