"""A session as it was at one of its versions, and what is different in another one (V2, O1).

All of it is read from the history; nothing is run again. The address holds the version and what it is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agent_sessions import selectors
from agent_sessions.admin import wording
from agent_sessions.admin.acting import roll_back_url
from agent_sessions.admin.asked import read_number
from agent_sessions.admin.content import Told, document_of, shown_of, told
from agent_sessions.admin.evidence import MAY_VIEW
from agent_sessions.admin.live import following
from agent_sessions.admin.moments import known_of, payment_of, standing_at
from agent_sessions.admin.timeline import drawn, place_of
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import ApprovalView, Turn, outline, timeline
from agent_sessions.selectors.timeline import Entry
from agent_sessions.types import State

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading

MOST_TOLD: Final = 200
NOW: Final = "now"
"""What a version can be compared with besides a number: the latest one, whichever that is."""
_ANY: Final = 999_999_999
"""A number that no session has a version of: the form for a number goes to the nearest."""
_SIGNS: Final = {
    "added": "+", "made": "+", "learned": "+", "held": "+", "started": "+", "chosen": "+", "given": "+", "seen": "+",
    "removed": "−", "released": "−", "cleared": "−", "withdrawn": "−",
    "declined": "!", "failed": "!", "denied": "!", "marked": "!", "unknown": "!",
}  # fmt: skip
"""What stands before a difference, by the last word of its kind: came, went, trouble; anything else has changed."""
_TONES: Final = {"+": "came", "−": "went", "!": "trouble", "→": "changed"}


def find_version(page: Reading, request: HttpRequest) -> HttpResponse:
    """Lead from the form to a version's address; a number that there is not goes to the nearest."""
    asked = read_number(request.GET.get("version", ""))
    number = page.head.version if asked is None else asked
    compare = request.GET.get("compare", "")
    place = _address(page, min(max(number, 1), page.head.version), compare if _is_comparison(compare) else "")
    return HttpResponseRedirect(place)


def travel_page(page: Reading, request: HttpRequest, number: int) -> HttpResponse:
    """Show a version: the state then, what was known then, and what is different from another version."""
    latest = page.head.version
    if not 1 <= number <= latest:
        raise Http404(f"Session {page.session.pk} has the versions 1 to {latest}, not {number}.")
    compare = request.GET.get("compare", "")
    other = _other(compare, number, latest)
    made = timeline.entry_at(page.head, number)
    state = page.read(lambda: selectors.state_at_version(page.head, number).state)
    before: State | None = {}
    if other:
        before = page.read(lambda: selectors.state_at_version(page.head, other).state)
    whole = outline.outline(page.head)
    kept = compare if _is_comparison(compare) else ""
    picture = drawn(
        page,
        whole,
        link=lambda _seq, version: _address(page, max(version, 1), kept),
        shown=None if made is None else (made.at, made.at),
    )
    groups = page.masks.shown
    document, left_out = ("", list[str]()) if state is None else document_of(state, groups)
    return page.shown(
        "at",
        crumb=_("Version {number}").format(number=number),
        number=number,
        latest=latest,
        made=None if made is None else _made(made),
        picture=picture,
        compare=kept,
        other=other,
        to_now=other > number,
        differences=_differences(state, before, groups, forwards=other < number),
        comparisons=_comparisons(page, number, other, latest),
        roll_back_url=roll_back_url(page, request, number) if number < latest else "",
        evidence_url=page.url("evidence") if request.user.has_perm(MAY_VIEW) else "",
        document=document,
        live=following(page, way="version", page_url=_latest(page, kept)) if number == latest else None,
        left_out=left_out,
        standing_then=None if state is None or made is None else standing_at(state, made.at, groups),
        known=_known(page, state, made),
        payment=_payment(page, state, made),
        **_steps(page, number, latest, kept),
        **shown_of(state, groups),
    )


def _other(compare: str, number: int, latest: int) -> int:
    """Return the version to compare with; 0 is before the first."""
    if compare == NOW:
        return latest
    asked = read_number(compare)
    return number - 1 if asked is None else min(max(asked, 0), latest)


def _is_comparison(compare: str) -> bool:
    return compare == NOW or read_number(compare) is not None


def _address(page: Reading, number: int, compare: str) -> str:
    place = page.url("version_at", number)
    return f"{place}?{urlencode({'compare': compare})}" if compare else place


def _latest(page: Reading, compare: str) -> str:
    """Return an address that leads to the latest version, whichever that is then."""
    return f"{page.url('at')}?{urlencode({'version': _ANY, 'compare': compare})}"


def _steps(page: Reading, number: int, latest: int, compare: str) -> dict[str, Any]:
    """Return where first, previous, next and last lead; empty where there is nothing further."""
    return {
        "first_url": _address(page, 1, compare) if number > 1 else "",
        "previous_url": _address(page, number - 1, compare) if number > 1 else "",
        "next_url": _address(page, number + 1, compare) if number < latest else "",
        "last_url": _address(page, latest, compare) if number < latest else "",
    }


def _comparisons(page: Reading, number: int, other: int, latest: int) -> list[dict[str, Any]]:
    """Return what the version can be compared with by one click."""
    choices = [(_("the version before"), "", number - 1)]
    if number < latest:
        choices.append((_("now"), NOW, latest))
    if page.head.committed_version and page.head.committed_version not in (number, number - 1, latest):
        committed = page.head.committed_version
        choices.append((_("the committed version {number}").format(number=committed), str(committed), committed))
    return [
        {"name": name, "url": f"{_address(page, number, value)}#differences", "here": version == other}
        for name, value, version in choices
    ]


def _made(entry: Entry) -> dict[str, Any]:
    return {
        "time": wording.moment(entry.at),
        "what": wording.kind_words(entry.kind),
        "who": wording.actor_words(entry.actor),
        "capability": clipped(entry.capability),
        "event": entry.seq,
        "place": place_of(entry.seq),
        "failed": entry.failed,
    }


def _differences(
    state: State | None, other: State | None, groups: Set[str], *, forwards: bool
) -> list[dict[str, Any]] | None:
    """Say what changed from the older of two states to the newer one; None if one of them cannot be read."""
    if state is None or other is None:
        return None
    old, new = (other, state) if forwards else (state, other)
    return [_difference(one) for one in told(old, new, groups)]


def _difference(one: Told) -> dict[str, Any]:
    sign = _SIGNS.get(one.kind.rpartition(".")[2], "→")
    return {"sign": sign, "tone": _TONES[sign], "text": one.text, "hidden": one.hidden}


def _known(page: Reading, state: State | None, made: Entry | None) -> dict[str, Any] | None:
    """What the agent had before it: facts, what was said, and what people had answered."""
    if state is None or made is None:
        return None
    turns: Sequence[Turn] = ()
    asked: Sequence[ApprovalView] = ()
    if page.masks.sees("words"):
        turns = page.read(lambda: timeline.turns_up_to(page.head, made.seq)) or ()
        asked = page.read(lambda: selectors.approvals_of(page.head)) or ()
    return known_of(state, made.at, turns, asked, page.masks.shown, erased=page.erased_words("personal"))


def _payment(page: Reading, state: State | None, made: Entry | None) -> dict[str, Any] | None:
    """What had led to the way of paying: attempts, fallbacks, and the last decisions about the calls for it."""
    if state is None or made is None:
        return None
    found = payment_of(state, page.masks.shown)
    calls = timeline.last_entries(page.head, up_to=made.seq, capabilities=found["capabilities"])
    return {**found, "calls": [_call(one) for one in calls]}


def _call(entry: Entry) -> dict[str, Any]:
    verdict: SafeString = (
        wording.mark(wording.BAD, _("refused")) if entry.denied else wording.mark(wording.GOOD, _("allowed"))
    )
    return {
        "place": place_of(entry.seq), "what": wording.kind_words(entry.kind), "verdict": verdict,
        "rule": clipped(entry.rule), "time": wording.moment(entry.at), "who": wording.actor_words(entry.actor),
        "version": entry.version,
    }  # fmt: skip
