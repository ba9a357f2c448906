"""A session's family, errand and devices as a graph beside a list: the list has it all in words, the lines show it.

This lays out and says; ``_family.html`` draws it. Every row has a drawing of its own, as high as its words are, so that
the lines meet whatever the width of the screen and the size of the text.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agent_sessions.admin import wording
from agent_sessions.domain.family_tree import Place, Rail, arranged, nearest, rails
from agent_sessions.domain.lifecycle import LIVE, Origin, Status, is_expired
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import SessionHead
from agent_sessions.selectors.relations import Relation, Relations, relations_of

_ERRAND: Final = uuid.UUID(int=0)
_DEVICES: Final = uuid.UUID(int=2**128 - 1)
"""Rows that are no session: what several of them have in common. Ids put the one first and the other last."""
_LANE: Final = 20
_MIDDLE: Final = 12
"""Pixels: between two lanes, and from the left and the top of a row to its first node."""
_WIDEST: Final = 120
"""Pixels that all lanes take at most; more of them stand nearer to one another."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a row: the path of an SVG, or from ``y`` at ``x`` to the bottom. ``kind`` is how the session came."""

    kind: str
    x: int
    y: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A row's piece of the drawing: where its node stands, how wide it is (as the others are), and its lines."""

    x: int
    width: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A row: a session, or what several have in common (``name`` without ``url`` or with that of the list)."""

    shape: str
    drawn: _Drawn
    name: SafeString | str
    url: str
    query: str
    mark: SafeString | None
    here: bool
    how: SafeString | str
    beside: Sequence[SafeString | str]
    left_out: int
    under: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Family:
    """``left_out`` are members that are not shown, ``at_least`` if there are more that were not even counted."""

    nodes: tuple[Node, ...]
    left_out: int
    at_least: bool
    query: str


def family_of(head: SessionHead) -> Family | None:
    """Return what the session has to do with others; None if it stands alone."""
    found = relations_of(head)
    if len(found.family) + len(found.errand) + len(found.devices) < 2:
        return None
    members = {one.session_id: one for one in found.family}
    parents = {pk: one.parent for pk, one in members.items()}
    kept = nearest(parents, head.session_id)
    told = {pk: members[pk] for pk in kept}
    # How it came is drawn where what it came from is shown; the other lines say what sessions have in common.
    origins = {pk: one.origin for pk, one in told.items() if one.parent in kept}
    shown = set(kept)
    for root, others in ((_ERRAND, found.errand), (_DEVICES, found.devices)):
        told |= {one.session_id: one for one in others}
        parents |= {one.session_id: root for one in others}
        shown |= {root, *(one.session_id for one in others)} if others else set()
    if found.errand:
        parents |= {pk: _ERRAND for pk in kept if pk not in origins}
    nodes = _forest(arranged(parents, origins, shown), told, origins, found, head)
    query = "?" + urlencode({"family": head.family})
    return Family(tuple(nodes), len(members) - len(kept), found.clipped, query)


def _forest(
    rows: Sequence[Place],
    told: Mapping[uuid.UUID, Relation],
    origins: Mapping[uuid.UUID, str],
    found: Relations,
    head: SessionHead,
) -> Iterator[Node]:
    """Yield the rows that begin a tree, each with those below it."""
    known = {one.session_id for one in found.family}
    lanes = max(place.lane for place in rows)
    step = min(_LANE, _WIDEST // max(lanes, 1))
    made: dict[uuid.UUID, Node] = {}
    for place, lines in zip(rows, rails(rows), strict=True):
        drawn = _Drawn(
            _MIDDLE + step * place.lane,
            2 * _MIDDLE + step * lanes,
            tuple(dict.fromkeys(_line(rail, origins, step) for rail in lines)),
        )
        if place.session in told:
            one = told[place.session]
            gone = place.session in known and one.parent not in known and not found.clipped
            node = _session(one, place, head, gone, drawn)
        else:
            node = _common(place.session, found, head, drawn)
        made[place.session] = node
        if place.parent is None:
            yield node
        else:
            made[place.parent].under.append(node)


def _session(one: Relation, place: Place, head: SessionHead, gone: bool, drawn: _Drawn) -> Node:
    here = one.session_id == head.session_id
    live = one.status in LIVE and not is_expired(timezone.now(), one.expires_at)
    shape = "closed" if one.status == Status.QUARANTINED else "live" if live else "ended"
    beside: list[SafeString | str] = [wording.brief_moment(one.created_at)]
    if one.agent_name and (one.agent_name != head.agent_name or here):
        beside.append(clipped(one.agent_name, 40))
    if one.merchant != head.merchant:
        beside.append(_("at %(merchant)s") % {"merchant": clipped(one.merchant, 40)})
    return Node(
        shape=shape,
        drawn=drawn,
        name=_code(one.session_id),
        url="" if here else f"../{one.session_id}/",
        query="",
        mark=wording.status_mark(one.status, one.expires_at, one.end_reason),
        here=here,
        how=_how(one, place, gone),
        beside=beside,
        left_out=place.left_out,
    )


def _common(root: uuid.UUID, found: Relations, head: SessionHead, drawn: _Drawn) -> Node:
    if root == _ERRAND:
        name, query = _("Parent request"), {"parent_request": head.parent_request}
        said, more = clipped(head.parent_request), found.more_errand
    else:
        name, query = _("The same shopper, now on other devices"), {"consumer": head.consumer}
        said, more = "", found.more_devices
    beside: list[SafeString | str] = [said] if said else []
    if more:
        beside.append(_("only the newest are shown"))
    return Node("common", drawn, name, "", "?" + urlencode(query), None, False, "", beside, 0)


def _how(one: Relation, place: Place, gone: bool) -> SafeString | str:
    """Say how the session came, from which version of what."""
    if one.parent is None:
        return ""
    words = {
        Origin.FORK.value: _("Branch"), Origin.RENEWAL.value: _("Renewal"), Origin.TRANSFER.value: _("Taken over"),
    }  # fmt: skip
    way = words.get(one.origin, clipped(one.origin))
    if gone:
        said = _("of a session that is no longer stored here, version %(version)s") % {"version": one.parent_version}
        return format_html("{} {}", way, said)
    version = _("from version %(version)s") % {"version": one.parent_version}
    at = format_html('<a href="../{}/at/{}/">{}</a>', one.parent, one.parent_version, version)
    if place.parent == one.parent:
        return format_html("{} {}", way, at)
    return format_html('{} {} <a href="../{}/">{}</a>', way, at, one.parent, _code(one.parent))


def _code(session_id: uuid.UUID) -> SafeString:
    return format_html('<code title="{}">{}</code>', session_id, wording.short_id(session_id))


def _line(rail: Rail, origins: Mapping[uuid.UUID, str], step: int) -> Line:
    """Draw a part of a line: from above around the corner to the node, or straight down."""
    origin = origins.get(rail.session, "")
    kind = origin if origin in {*Origin} else "common"
    x, to = (_MIDDLE + step * lane for lane in (rail.lane, rail.to))
    if rail.part != "ends":
        return Line(kind, x, y=_MIDDLE if rail.part == "begins" else 0)
    if rail.lane == rail.to:
        return Line(kind, x, path=f"M{x} 0V{_MIDDLE}")
    return Line(kind, x, path=f"M{x} 0V4Q{x} {_MIDDLE} {x + 8} {_MIDDLE}H{to}")
