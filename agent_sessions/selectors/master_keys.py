"""Master keys and what hangs on each: what a rotation has before it, what a destruction would take along, and until
when one has to be destroyed so that what was erased is erased in backups too (A7, A8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Min, Q
from django.utils import timezone

from agent_sessions.conf import settings
from agent_sessions.crypto.keys import ListsMasterKeys
from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.models import Session, SessionKey, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._master_keys import (
    DESTROYED,
    ROTATED,
    SETTLED,
    MasterKeyEvent,
    master_key_events,
    replaced_at,
)

_LEAD_MOST: Final = timedelta(days=7)
_LEAD_SHARE: Final = 4


@dataclass(frozen=True, slots=True)
class Dependents:
    """What one master key wraps: numbers of content keys and personal keys by the status of their session, of the
    site's keys by purpose, and of live sessions whose token was derived from it, or may have been.
    """

    content: Mapping[str, int]
    personal: Mapping[str, int]
    site_keys: Mapping[str, int]
    live_tokens: int

    @property
    def sessions(self) -> int:
        return sum(self.content.values())


@dataclass(frozen=True, slots=True)
class KeyEpoch:
    """A master key and its time. ``status`` is active, old, or missing (rows name it and the provider lacks it).

    ``since`` is when it began to wrap, as far as is known. Something was erased first at ``first_erasure`` (UTC); a
    backup could undo that as long as the key exists, so it has to be gone at ``destroy_by``, and another one active at
    ``rotate_by``. All three are None as long as nothing was erased.
    """

    master_id: str
    status: str
    since: datetime | None
    dependents: Dependents
    first_erasure: datetime | None
    rotate_by: datetime | None
    destroy_by: datetime | None

    def is_overdue(self, now: datetime) -> bool:
        return self.destroy_by is not None and now >= self.destroy_by


def wrapping_masters() -> list[str]:
    """Return the ids of the master keys that sessions' keys are wrapped with, in the order of text."""
    keys, found, last = SessionKey.objects.using(_alias()), list[str](), ""
    # From one to the next by the index: there are few of them and many rows.
    while True:
        following = keys.filter(master_key_id__gt=last).order_by("master_key_id")
        name = following.values_list("master_key_id", flat=True).first()
        if name is None:
            return found
        found.append(name)
        last = name


def old_masters(active: str) -> list[str]:
    """Return the ids of the other master keys that sessions' keys are wrapped with, but those that were destroyed."""
    gone = {event.master_id for event in master_key_events(DESTROYED)}
    return [name for name in wrapping_masters() if name != active and name not in gone]


def count_wrapped_by_others(active: str) -> int:
    """Count sessions and site keys that are to be wrapped anew with the active master key."""
    others = old_masters(active)
    sessions = SessionKey.objects.using(_alias()).filter(master_key_id__in=others).count() if others else 0
    return sessions + SiteKey.objects.using(_alias()).exclude(master_key_id__in=(active, "")).count()


def dependents_of(master_id: str) -> Dependents:
    """Count what would be lost with a master key."""
    alias = _alias()
    rows = (
        SessionKey.objects.using(alias)
        .filter(master_key_id=master_id)
        .values_list("session__status")
        .annotate(content=Count("pk"), personal=Count("personal"))
        .order_by("session__status")
    )
    site_keys = SiteKey.objects.using(alias).filter(master_key_id=master_id).values_list("purpose")
    by_status = list(rows)
    return Dependents(
        content={status: content for status, content, _ in by_status},
        personal={status: personal for status, _, personal in by_status if personal},
        site_keys=dict(site_keys.annotate(number=Count("pk")).order_by("purpose")),
        live_tokens=_live_tokens(master_id),
    )


def key_epochs(now: datetime | None = None) -> list[KeyEpoch]:
    """Return all master keys that were not destroyed, the active one first, then the oldest. Raises KeyProblem."""
    provider = settings.key_provider
    active = provider.active_id
    rotated, gone = master_key_events(ROTATED), {event.master_id for event in master_key_events(DESTROYED)}
    there = provider.master_ids() if isinstance(provider, ListsMasterKeys) else [active]
    site = SiteKey.objects.using(_alias()).exclude(master_key_id="").values_list("master_key_id", flat=True).distinct()
    named = {*wrapping_masters(), *site, *(event.master_id for event in rotated)}
    ids = [*there, *sorted(named - set(there) - gone)]
    epochs = [_epoch(name, active, name in there, rotated) for name in ids]
    return sorted(epochs, key=lambda epoch: (epoch.status != "active", epoch.since or (now or timezone.now())))


def _epoch(name: str, active: str, is_there: bool, rotated: list[MasterKeyEvent]) -> KeyEpoch:
    dependents = dependents_of(name)
    made_active = next((event for event in rotated if event.master_id == name), None)
    if made_active is not None and not made_active.first:
        since: datetime | None = made_active.at
    else:
        since = _beginning()
    first = None if since is None else _first_erasure(since)
    destroy_by = None if first is None else first + settings.erasure_horizon
    lead = min(_LEAD_MOST, settings.erasure_horizon / _LEAD_SHARE)
    status = "active" if name == active else "old" if is_there else "missing"
    return KeyEpoch(
        name, status, since, dependents, first, None if destroy_by is None else destroy_by - lead, destroy_by
    )


def _beginning() -> datetime | None:
    """Return when this site began to wrap keys."""
    found: datetime | None = SiteKey.objects.using(_alias()).aggregate(first=Min("created_at"))["first"]
    return found


def _first_erasure(since: datetime) -> datetime | None:
    erased = Session.objects.using(_alias()).aggregate(
        personal=Min("personal_erased_at", filter=Q(personal_erased_at__gte=since)),
        content=Min("content_erased_at", filter=Q(content_erased_at__gte=since)),
    )
    return min((moment for moment in erased.values() if moment is not None), default=None)


def _live_tokens(master_id: str) -> int:
    """Count live sessions whose token may hang on a master key: a token names its key, its session does not.

    Those are the sessions that it wraps, and all that were opened before every process had noticed that another key is
    active: rather too many.
    """
    sessions = Session.objects.using(_alias()).filter(status__in=[status.value for status in LIVE])
    mine = Q(pk__in=SessionKey.objects.filter(master_key_id=master_id).values("pk"))
    replaced = replaced_at(master_id)
    if replaced is not None:
        mine |= Q(created_at__lte=replaced + SETTLED)
    return sessions.filter(mine).count()


def _alias() -> str:
    return _rows.write_connection().alias
