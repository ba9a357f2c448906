"""Columns over time, laid out for SVG: places across are percentages, heights are pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils import formats

HEIGHT: Final = 160
"""Pixels that the highest column can take."""
_TOP: Final = 8
_GAP: Final = 0.2
"""The part of a column's room that stays empty."""


@dataclass(frozen=True, slots=True)
class Series:
    """What is told apart in columns: in words, how many there are, and where they are listed; ``colour`` is a class."""

    name: str
    label: str
    total: int
    href: str
    colour: str


@dataclass(frozen=True, slots=True)
class Segment:
    colour: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One part of the time; ``told`` says all of it, ``numbers`` in the order of the series, with their links.

    ``spare``: a label that a narrow screen has no room for.
    """

    label: str
    x: str
    width: str
    middle: str
    labelled: bool
    spare: bool
    href: str
    told: str
    segments: tuple[Segment, ...]
    numbers: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """``ticks`` are lines across: their place from above and what they stand for."""

    title: str
    series: tuple[Series, ...]
    columns: tuple[Column, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def height(self) -> int:
        return _TOP + HEIGHT + 20

    @property
    def bottom(self) -> int:
        return _TOP + HEIGHT


def columns_chart(
    title: str,
    series: Sequence[Series],
    parts: Sequence[tuple[str, str, Mapping[str, tuple[int, str]]]],
) -> Chart:
    """Lay out stacked columns; each part is its label, its link, and of each series the number and a link."""
    sums = [sum(number for number, _ in counts.values()) for _, _, counts in parts]
    step = nice_step(max(sums, default=0))
    top = max(-(-max(sums, default=0) // step), 1) * step
    width, every = 100 / max(len(parts), 1), -(-len(parts) // 8)
    columns = []
    for number, (label, href, counts) in enumerate(parts):
        y, segments = float(_TOP + HEIGHT), []
        for one in series:
            height = counts[one.name][0] / top * HEIGHT
            y -= height
            if height:
                segments.append(Segment(one.colour, round(y, 2), round(height, 2)))
        said = ", ".join(f"{one.label} {_number(counts[one.name][0])}" for one in series if counts[one.name][0])
        columns.append(
            Column(
                label,
                _percent(width * (number + _GAP / 2)),
                _percent(width * (1 - _GAP)),
                _percent(width * (number + 0.5)),
                number % every == 0,
                number % (2 * every) > 0,
                href,
                f"{label}: {_number(sums[number])}" + (f" ({said})" if said else ""),
                tuple(segments),
                tuple(counts[one.name] for one in series),
            )
        )
    ticks = [(_TOP + HEIGHT * (1 - value / top), _number(value)) for value in range(0, top + 1, step)]
    return Chart(title, tuple(series), tuple(columns), tuple(ticks))


def nice_step(largest: int) -> int:
    """Return a round distance between lines, so that there are at most five above nothing."""
    step = 1
    while True:
        for times in (1, 2, 5):
            if largest <= step * times * 5:
                return step * times
        step *= 10


def _percent(value: float) -> str:
    return f"{value:.3f}%"


def _number(value: int) -> str:
    return str(formats.number_format(value, force_grouping=True))
