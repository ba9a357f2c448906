"""How single facts read on a page: times, names, and marks of where something stands."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy

from agent_sessions.admin.kinds import KIND_WORDS
from agent_sessions.domain.lifecycle import EndReason, Origin, Status, is_expired
from agent_sessions.domain.text import clipped
from agent_sessions.selectors.finding import EVENT, RULE
from agent_sessions.types import JSONValue

GOOD, PLAIN, WARNING, BAD = "good", "plain", "warning", "bad"
"""Tones of a mark; what it says is always written out too."""
_LONGEST = 4000
Entries = tuple[str, list[tuple[str, str]]]
"""Where in a document names and their texts stand, such as ``preferences``, and these."""

STATUSES = {
    Status.ACTIVE: gettext_lazy("active"),
    Status.PAUSED: gettext_lazy("paused"),
    Status.QUARANTINED: gettext_lazy("quarantined"),
    Status.ENDED: gettext_lazy("ended"),
}
END_REASONS = {
    EndReason.COMPLETED: gettext_lazy("checked out"),
    EndReason.DELETED: gettext_lazy("ended by the agent"),
    EndReason.EXPIRED: gettext_lazy("expired"),
    EndReason.REVOKED: gettext_lazy("ended by the shop"),
    EndReason.RENEWED: gettext_lazy("renewed"),
    EndReason.TRANSFERRED: gettext_lazy("taken over by another agent"),
}
CAME_FROM = {
    Origin.FORK.value: gettext_lazy("Branch of"),
    Origin.RENEWAL.value: gettext_lazy("Renewal of"),
    Origin.TRANSFER.value: gettext_lazy("Taken over from"),
}
_ACTORS = {
    "agent": gettext_lazy("Agent"),
    "consumer": gettext_lazy("Shopper"),
    "staff": gettext_lazy("Staff"),
    "system": gettext_lazy("System"),
}
_OUTCOMES = {
    "succeeded": gettext_lazy("succeeded"),
    "declined": gettext_lazy("declined"),
    "failed": gettext_lazy("failed"),
    "started": gettext_lazy("started"),
    "unknown": gettext_lazy("unknown"),
    "done": gettext_lazy("done"),
    "granted": gettext_lazy("granted"),
    "used": gettext_lazy("used"),
    "rejected": gettext_lazy("rejected"),
    "pending": gettext_lazy("pending"),
    "escalated": gettext_lazy("escalated"),
    "expired": gettext_lazy("expired"),
    "void": gettext_lazy("void"),
}


def moment(time: datetime) -> SafeString:
    """Show an aware time, with UTC beside it for whoever points at it; ``times.js`` puts it in the reader's zone."""
    return _moment(time, "j M Y, H:i:s")


def brief_moment(time: datetime) -> SafeString:
    """The same for lists: to the minute, and without a year that goes without saying."""
    this_year = timezone.localtime(time).year == timezone.localtime().year
    return _moment(time, "j M, H:i" if this_year else "j M Y, H:i")


def clock(time: datetime) -> SafeString:
    """The same without the day."""
    return _moment(time, "H:i:s")


def drawn_moment(time: datetime, *, dated: bool) -> SafeString:
    """The same for text in a drawing, where HTML has no place."""
    return _moment(time, "j M Y, H:i:s" if dated else "H:i:s", tag="tspan")


def _moment(time: datetime, pattern: str, tag: str = "time") -> SafeString:
    utc = time.astimezone(UTC)
    shown = formats.date_format(timezone.localtime(time), pattern)
    return format_html(
        '<{tag} datetime="{}" data-pattern="{}" title="{} UTC">{}</{tag}>',
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"),
        pattern,
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        shown,
        tag=tag,
    )


def mark(tone: str, text: str) -> SafeString:
    return format_html('<span class="ags-mark ags-{}">{}</span>', tone, text)


def span(length: timedelta) -> str:
    """Say a length of time in its largest unit, rounded down: ``12 min``."""
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"


def length(time: timedelta) -> str:
    """Say a length of time as exactly as people need it: ``340 ms``, ``12 s``, ``2 min 5 s``, ``3 h 4 min``."""
    seconds = max(time.total_seconds(), 0)
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    for unit, size, lower, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = int(seconds % size) // part
            return f"{int(seconds) // size} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{int(seconds)} s"


def status_mark(status: str, expires_at: datetime, end_reason: str) -> SafeString:
    """Say where a session stands, in one or two words."""
    if status == Status.QUARANTINED:
        return mark(BAD, str(STATUSES[Status.QUARANTINED]))
    if status == Status.ENDED:
        tone = {EndReason.COMPLETED.value: GOOD, EndReason.REVOKED.value: BAD}.get(end_reason, PLAIN)
        return mark(tone, gettext("completed") if end_reason == EndReason.COMPLETED else str(STATUSES[Status.ENDED]))
    if is_expired(timezone.now(), expires_at):
        return mark(WARNING, gettext("overdue"))
    if status == Status.PAUSED:
        return mark(PLAIN, str(STATUSES[Status.PAUSED]))
    return mark(GOOD, str(STATUSES[Status.ACTIVE]))


def end_reason_words(reason: str) -> str:
    return str(END_REASONS[EndReason(reason)]) if reason in {*EndReason} else clipped(reason)


def outcome_words(word: str) -> str:
    """Say an outcome or a standing that has a word of ours in the reader's language, and any other as it is."""
    return str(_OUTCOMES.get(word, word)) if word else gettext("unknown")


def agent_words(name: str, version: str) -> str:
    """Name an agent as it declares itself; hostile characters show by their code point."""
    return f"{clipped(name) or gettext('Unnamed agent')} {clipped(version)}".rstrip()


def actor_words(actor: str) -> str:
    """Say who acted: ``Staff 17``."""
    kind, _, reference = actor.partition(":")
    return f"{_ACTORS.get(kind, clipped(kind))} {clipped(reference)}".rstrip()


def speaker_words(role: str) -> str:
    """Say who spoke, by a role of a conversation: a user is the shopper."""
    return actor_words({"user": "consumer"}.get(role, role))


def kind_words(kind: str) -> str:
    """Say what happened: ``Item put in the cart`` for ``cart.item_added``."""
    known = KIND_WORDS.get(kind)
    return clipped(kind).replace(".", " ").replace("_", " ").capitalize() if known is None else str(known)


def failure_words(code: str) -> str:
    """Say what a failure code is of: ``card_declined``, ``refused by spend_cap``, ``Step failed``."""
    of, _colon, name = code.partition(":")
    if of == RULE:
        return gettext("refused by %(rule)s") % {"rule": clipped(name, 60)}
    return kind_words(name) if of == EVENT else clipped(name, 60)


def entries(value: Mapping[str, JSONValue], above: str = "") -> Iterator[Entries]:
    """Give what a document holds, but for what is empty; before what it holds deeper inside, where that is."""
    inside = [(clipped(name, 60), one) for name, one in sorted(value.items()) if one not in ([], {})]
    if own := [(name, _value(one)) for name, one in inside if not isinstance(one, dict)]:
        yield above, own
    for name, one in inside:
        if isinstance(one, dict):
            yield from entries(one, f"{above} › {name}" if above else name)


def at_least(count: int, *, cut: bool) -> str:
    """Write a count; one that was cut short as the least that it is: ``812+``."""
    return formats.number_format(count, force_grouping=True) + ("+" if cut else "")


def _value(value: JSONValue) -> str:
    if isinstance(value, str):
        return clipped(value, _LONGEST)
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        return clipped(", ".join(_value(one) for one in value), _LONGEST)
    return "–" if value is None else clipped(json.dumps(value, ensure_ascii=False, sort_keys=True), _LONGEST)


def short_id(session_id: uuid.UUID) -> str:
    """The beginning of an id: the millisecond in which it was made."""
    return str(session_id)[:13]
