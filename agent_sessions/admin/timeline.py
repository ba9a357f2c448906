"""The timeline of a session: everything in one order, to be narrowed, with a picture of the whole time (O1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agent_sessions.admin import history, wording
from agent_sessions.admin.asked import read_number
from agent_sessions.admin.content import FAILED_PAYMENTS, Told
from agent_sessions.admin.live import following
from agent_sessions.admin.pictures import FAMILY_NAMES, Picture, picture_of
from agent_sessions.admin.reasons import Reason, code_of, reason_of
from agent_sessions.domain.calls import APPROVAL_GRANTED, APPROVAL_REJECTED, APPROVAL_REQUESTED
from agent_sessions.domain.families import FAMILIES
from agent_sessions.domain.identity import ACTOR_KINDS
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import audit, outline, timeline
from agent_sessions.selectors.timeline import Choice, Entry, TimelinePage

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading

SHOWN: Final = 50
"""Events on a page."""
_WIDEST: Final = 4 * SHOWN
"""Versions that a page reads to say what changed; a choice of few out of many does not say it."""
_PAUSE: Final = timedelta(seconds=5)
"""From then on the time between two entries is shown."""
_LONG_PAUSE: Final = timedelta(minutes=1)
_WRONG: Final = (*FAILED_PAYMENTS, "step.failed")
"""Changes that say that something failed which the event itself does not."""
_TOLD: Final = ("approval", "had_ms", "took_ms")
"""Parameters of events that are told in another way."""
_TOLD_OF_STEPS: Final = ("attempt", "method", "step")
"""The same of steps, where their attempt is told."""
_LONGEST: Final = 2000
_LONGEST_DOCUMENT: Final = 20_000
_SEALED: Final = {APPROVAL_REQUESTED: "agent"}
"""The group of what an event of a kind keeps sealed: why the agent asks is its reason. Of the others it is words."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A link that narrows the timeline, or takes the narrowing off again."""

    name: str
    query: str
    on: bool
    count: int | None = None
    family: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry in words. ``changes`` is None where it is not known what it changed.

    ``code`` says why it was refused or failed, if it was, and ``reason`` what that means, if it is known.
    """

    seq: int
    time: SafeString
    family: str
    family_name: str
    what: str
    kind: str
    who: str
    capability: str
    method: str
    params: SafeString | str
    refusal: SafeString | None
    failed: bool
    code: str
    reason: Reason | None
    took: str
    version: int | None
    changes: Sequence[Told] | None
    waited: str
    attempt: str
    said: str
    role: str
    private: Sequence[tuple[str, str]]
    damaged: bool
    status: int
    document: str
    hash: str
    hash_before: str

    @property
    def told(self) -> bool:
        """Whether there is something to say of changes: what they are, or that they cannot be shown."""
        return self.version is not None and (self.changes is None or bool(self.changes))

    @property
    def place(self) -> str:
        return place_of(self.seq)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one call, or one row. ``pause`` is the time before it, if it is worth showing."""

    rows: tuple[Row, ...]
    pause: str
    long_pause: bool

    @property
    def is_call(self) -> bool:
        return len(self.rows) > 1

    @property
    def failed(self) -> bool:
        return any(row.failed for row in self.rows)


def timeline_page(page: Reading, request: HttpRequest) -> HttpResponse:
    """Show a page of the timeline: the last entries, or those before or after an event."""
    choice, query = _choice(request.GET), request.GET
    found = page.read(
        lambda: timeline.timeline(
            page.head, choice=choice, before=read_number(query.get("before", "")),
            after=read_number(query.get("after", "")), limit=SHOWN, words=page.masks.sees("words"),
        )
    )  # fmt: skip
    found = found or TimelinePage((), None, None)
    whole = outline.outline(page.head)
    shown = (
        (found.entries[0].at, found.entries[-1].at)
        if found.entries and len(found.entries) < page.head.head_seq
        else None
    )
    return page.shown(
        "timeline",
        groups=_groups(page, found.entries),
        picture=drawn(page, whole, link=lambda seq, _version: place_of(seq), shown=shown),
        families=_families(whole, choice),
        actors=_actors(choice),
        failures=_failures(whole, choice),
        everything=not choice,
        live=None if found.later else following(page, way="story", page_url=page.url("timeline") + _query(choice)),
        **_neighbours(found, page.head.head_seq, choice),
    )


def place_of(seq: int) -> str:
    """Return the query of the page that holds an event, when one goes on from the first page to the last."""
    return f"?after={(seq - 1) // SHOWN * SHOWN}#e{seq}"


def drawn(page: Reading, whole: outline.Outline, **facts: Any) -> Picture:
    """Draw the session's time; up to now if it goes on."""
    now = timezone.now()
    return picture_of(whole, until=min(now, page.head.expires_at) if page.head.is_live(now) else None, **facts)


def _choice(query: QueryDict) -> Choice:
    """Read what is wanted; what there is not is left out."""
    families = tuple(family for family in FAMILIES if family in query.getlist("family"))
    actors = tuple(actor for actor in ACTOR_KINDS if actor in query.getlist("actor"))
    return Choice(families, actors, query.get("failed") == "1")


def _query(choice: Choice, **more: int) -> str:
    """Write a choice as it stands in an address."""
    pairs: list[tuple[str, object]] = [("family", family) for family in choice.families]
    pairs += [("actor", actor) for actor in choice.actors]
    pairs += [("failed", 1)] if choice.failed else []
    return "?" + urlencode([*pairs, *more.items()])


def _families(whole: outline.Outline, choice: Choice) -> list[Chip]:
    """Return a chip for each family of which there is something, or which is chosen."""
    counts = dict.fromkeys(FAMILIES, 0)
    for cell in whole.cells:
        counts[cell.family] += cell.count
    chips = []
    for family in FAMILIES:
        on = family in choice.families
        if counts[family] or on:
            kept = tuple(one for one in FAMILIES if (one in choice.families) is not (one == family))
            query = _query(Choice(kept, choice.actors, choice.failed))
            chips.append(Chip(str(FAMILY_NAMES[family]), query, on, counts[family], family))
    return chips


def _actors(choice: Choice) -> list[Chip]:
    chips = []
    for actor in ACTOR_KINDS:
        kept = tuple(one for one in ACTOR_KINDS if (one in choice.actors) is not (one == actor))
        query = _query(Choice(choice.families, kept, choice.failed))
        chips.append(Chip(wording.actor_words(actor), query, actor in choice.actors))
    return chips


def _failures(whole: outline.Outline, choice: Choice) -> Chip:
    count = sum(cell.count for cell in whole.cells if cell.failed)
    query = _query(Choice(choice.families, choice.actors, not choice.failed))
    return Chip(_("Refused or failed"), query, choice.failed, count)


def _neighbours(found: TimelinePage, length: int, choice: Choice) -> dict[str, Any]:
    entries = found.entries
    return {
        "first": entries[0].seq if entries else 0,
        "last": entries[-1].seq if entries else 0,
        "of": length,
        "first_query": _query(choice, after=0) if found.earlier else "",
        "earlier": _query(choice, before=found.earlier) if found.earlier else "",
        "later": _query(choice, after=found.later) if found.later else "",
        "last_query": _query(choice) if found.later else "",
    }


def _groups(page: Reading, entries: Sequence[Entry]) -> list[Group]:
    made = [entry.version for entry in entries if entry.version is not None]
    changes: Mapping[int, Sequence[Told]] = {}
    if made and max(made) - min(made) < _WIDEST:
        changes = page.changes(min(made), max(made))
    private: Mapping[int, Mapping[str, Any]] = {}
    shown = [entry.seq for entry in entries if page.masks.sees(_SEALED.get(entry.kind, "words"))]
    if shown and not page.erased and page.head.status is not Status.QUARANTINED:
        private = page.read(lambda: audit.sealed_parts(page.head, shown)) or {}
    groups = []
    for _key, members in groupby(entries, key=lambda entry: (entry.call is None, entry.call or entry.seq)):
        found = list(members)
        pause = found[0].gap or timedelta()
        rows = tuple(_row(page, entry, changes, private.get(entry.seq, {})) for entry in found)
        groups.append(Group(rows, wording.length(pause) if pause >= _PAUSE else "", pause >= _LONG_PAUSE))
    return groups


def _row(page: Reading, entry: Entry, changes: Mapping[int, Sequence[Told]], private: Mapping[str, Any]) -> Row:
    changed = None if entry.version is None else changes.get(entry.version)
    role = "" if entry.turn is None else wording.speaker_words(entry.turn.role)
    opened = {name.removeprefix("params.") for name in private}
    code = code_of(entry.params, denied=entry.denied) if entry.failed else ""
    known = reason_of(code, kind=entry.kind, rule=entry.rule) if entry.failed else None
    told = (*_TOLD, *opened, *(_TOLD_OF_STEPS if entry.attempt else ()), *(("code",) if code else ()))
    params = {name: value for name, value in entry.params.items() if name not in told}
    return Row(
        seq=entry.seq,
        time=wording.moment(entry.at),
        family=entry.family,
        family_name=str(FAMILY_NAMES[entry.family]),
        what=_("{person} wrote").format(person=role)
        if role
        else wording.kind_words(entry.kind) or _("Unreadable event"),
        kind=clipped(entry.kind),
        who=wording.actor_words(entry.actor),
        capability=clipped(entry.capability),
        method=clipped(entry.method),
        params=history.params_words(params, entry.kind),
        refusal=_refusal(entry),
        failed=entry.failed or any(one.kind in _WRONG for one in changed or ()),
        code=clipped(code),
        reason=known,
        took="" if entry.took is None else wording.length(entry.took),
        version=entry.version,
        changes=changed,
        waited=_waited(entry),
        attempt=_attempt(entry),
        said=_said(page, entry),
        role=role,
        private=[
            (clipped(name.removeprefix("params.")), history.spoken(value)[:_LONGEST]) for name, value in private.items()
        ],
        damaged=entry.damaged,
        status=entry.status,
        document=history.spoken(entry.document)[:_LONGEST_DOCUMENT] if entry.document else "",
        hash=entry.hash,
        hash_before=clipped(str(entry.document.get("prev_hash", ""))),
    )


def _refusal(entry: Entry) -> SafeString | None:
    if entry.denied:
        said = _("refused by {rule}").format(rule=clipped(entry.rule)) if entry.rule else _("refused")
        return wording.mark(wording.BAD, f"{said}, {entry.status}")
    if entry.status >= 400:
        tone = wording.BAD if entry.status >= 500 else wording.WARNING
        return wording.mark(tone, _("answered {status}").format(status=entry.status))
    return wording.mark(wording.BAD, _("failed")) if entry.failed else None


def _waited(entry: Entry) -> str:
    """Say how long a person was asked and how long they looked, where that began and where it ended."""
    times = entry.waited
    if times is None:
        return ""
    if times.decided_at is None:
        left = wording.length(times.expires_at - times.asked_at)
        told = _("Nobody has answered; there were {time} for it.").format(time=left)
        return told if entry.kind == APPROVAL_REQUESTED else ""
    asked = wording.length(times.decided_at - times.asked_at)
    if entry.kind == APPROVAL_REQUESTED:
        return _("A person answered after {time}.").format(time=asked)
    if entry.kind not in (APPROVAL_GRANTED, APPROVAL_REJECTED):
        return ""
    if times.opened_at is None:
        return _("Answered {time} after it was asked; the link was not opened.").format(time=asked)
    return _("Answered {time} after it was asked, {looked} after it was first seen.").format(
        time=asked, looked=wording.length(times.decided_at - times.opened_at)
    )


def _attempt(entry: Entry) -> str:
    one = entry.attempt
    if one is None:
        return ""
    what = _("Step {step} by {method}, attempt {number}") if one.method else _("Step {step}, attempt {number}")
    told = what.format(step=clipped(one.step), method=clipped(one.method), number=one.attempt)
    outcome = wording.outcome_words(one.outcome) + (f" ({clipped(one.code)})" if one.code else "")
    if one.took is None:
        return f"{told}: {outcome}."
    return _("{step}: {outcome} after {time}.").format(step=told, outcome=outcome, time=wording.length(one.took))


def _said(page: Reading, entry: Entry) -> str:
    if entry.turn is None or not page.masks.sees("words"):
        return ""
    return page.erased_words("personal") if entry.turn.erased else history.spoken(entry.turn.content)[:_LONGEST]
