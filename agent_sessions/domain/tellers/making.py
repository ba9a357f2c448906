"""What tellers are made of.

A teller is given what two states hold at one place and yields the differences between them: a sentence for an entry
that fits its shape, its leaves for one that does not (a damaged or older state).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from agent_sessions.domain.leaves import (
    Difference,
    Found,
    are_maps,
    change,
    changes,
    fields,
    is_text,
    leaves,
    parted,
    plain_differences,
    shown,
)
from agent_sessions.domain.money import format_amount, format_money
from agent_sessions.domain.slices.fields import Entry
from agent_sessions.domain.text import clipped
from agent_sessions.domain.values import escape_key

E = TypeVar("E", bound=Entry)
Teller: TypeAlias = Callable[[Found, Found, str], Iterator[Difference]]


@dataclass(frozen=True, slots=True)
class Change(Generic[E]):
    """An entry before and after, as it is stored and as the shape that it fits."""

    key: str
    path: str
    old: Found
    new: Found
    before: E | None
    after: E | None

    def told(self, kind: str, text: str) -> Difference:
        return Difference(kind, self.path, self.old, self.new, text)


Tell: TypeAlias = Callable[[Change[E]], Iterator[Difference]]
Say: TypeAlias = Callable[[str, E], tuple[str, str]]


def entry(shape: type[E], tell: Tell[E]) -> Teller:
    """Make the teller of a field that is one entry."""
    return lambda old, new, path: _told(shape, tell, "", old, new, path)


def entries(shape: type[E], tell: Tell[E]) -> Teller:
    """Make the teller of a map of entries, by the order of their keys."""

    def tell_entries(old: Found, new: Found, path: str) -> Iterator[Difference]:
        if not are_maps(old, new):
            yield from plain_differences(old, new, path)
            return
        one, other = fields(old), fields(new)
        for key in parted(one, other):
            yield from _told(shape, tell, key, one.get(key), other.get(key), f"{path}/{escape_key(key)}")

    return tell_entries


def saying(subject: str, say: Say[E], gone: Say[E] | None = None) -> Tell[E]:
    """Make what tells an entry that one sentence can say.

    ``say`` is given the key and the entry, and returns a verb, which makes the kind of the difference
    (``payment.declined``), and the sentence. ``gone`` does so for an entry that is no longer there.
    """

    def tell(change: Change[E]) -> Iterator[Difference]:
        before, after = change.before, change.after
        if after is None:
            if before is not None:
                verb, said = gone(change.key, before) if gone else ("removed", f"Removed: {say(change.key, before)[1]}")
                yield change.told(f"{subject}.{verb}", said)
            return
        verb, said = say(change.key, after)
        if before is not None:
            old_verb, was = say(change.key, before)
            if verb == old_verb:
                verb = "changed"
                said = f"{was} → {said}" if said != was else f"{said}: {changes(change.old, change.new)}"
        yield change.told(f"{subject}.{verb}", said)

    return tell


def text(kind: str, subject: str) -> Teller:
    """Make the teller of a field that is text."""

    def tell_text(old: Found, new: Found, path: str) -> Iterator[Difference]:
        if not is_text(old) or not is_text(new):
            yield from plain_differences(old, new, path)
        else:
            yield Difference(kind, path, old, new, change(subject, old, new))

    return tell_text


def texts(subject: str, *, added: str, changed: str, removed: str) -> Teller:
    """Make the teller of a map of texts, given the words for each kind: ``question.opened``."""

    def tell_texts(old: Found, new: Found, path: str) -> Iterator[Difference]:
        for place, one, other in leaves(old, new, path):
            if place == path or not is_text(one) or not is_text(other):
                yield from plain_differences(one, other, place)
                continue
            verb = added if one is None else removed if other is None else changed
            told = shown(other) if one is None else shown(one)
            if one is not None and other is not None:
                told += f" → {shown(other)}"
            yield Difference(f"{subject.lower()}.{verb}", place, one, other, f"{subject} {verb}: {told}")

    return tell_texts


def variables(subject: str) -> Teller:
    """Make the teller of a free map, leaf by leaf: ``Variable budget: 1 → 2``."""
    return lambda old, new, path: plain_differences(
        old, new, path, root=path, kind=f"{subject.lower()}.", subject=f"{subject} "
    )


def money_change(old: int, old_currency: str, new: int, new_currency: str) -> str:
    """Return an amount before and after: ``12.50 → 26.00 EUR``."""
    one = format_amount(old, old_currency) if old_currency == new_currency else format_money(old, old_currency)
    return f"{one} → {format_money(new, new_currency)}"


def optional_money(amount: int | UnsetType, currency: str | UnsetType) -> str:
    """Return an amount with a colon before it, or nothing where there is none: ``: 12.50 EUR``."""
    return "" if amount is UNSET or currency is UNSET else f": {format_money(amount, currency)}"


def in_brackets(*words: str) -> str:
    """Return what is filled in of ``words`` in brackets, with a space before: `` (insufficient_funds)``."""
    filled = ", ".join(clipped(word) for word in words if word)
    return f" ({filled})" if filled else ""


def moment(time: datetime, *, day_of: datetime | None = None) -> str:
    """Return ``2026-05-01 14:32 UTC``, or ``14:32 UTC`` for a time on the same day as ``day_of``."""
    try:
        there, day = time.astimezone(UTC), day_of and day_of.astimezone(UTC)
    except OverflowError:  # the first or the last day that there is
        return time.isoformat()
    if day and there.date() == day.date():
        return f"{there:%H:%M} UTC"
    return f"{there.isoformat(sep=' ', timespec='minutes')[:16]} UTC"


def optional_moment(word: str, time: datetime | UnsetType, *, day_of: datetime | None = None) -> str:
    """Return ``word`` and the time with a space before, or nothing where there is none: `` until 14:32 UTC``."""
    return "" if time is UNSET else f" {word} {moment(time, day_of=day_of)}"


def _told(shape: type[E], tell: Tell[E], key: str, old: Found, new: Found, path: str) -> Iterator[Difference]:
    """Tell how an entry changed, or its leaves if it does not fit its shape."""
    try:
        before = None if old is None else msgspec.convert(old, shape)
        after = None if new is None else msgspec.convert(new, shape)
    except (msgspec.ValidationError, ValueError):  # the latter for text that is no Unicode
        return plain_differences(old, new, path)
    return tell(Change(key, path, old, new, before, after))
