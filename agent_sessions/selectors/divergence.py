"""What stored things do not agree: what the last recorded checks have found, and which sessions are in quarantine.

Who checks everything writes down in the site's own chain how far that went and what was found (``CHECKED`` and
``LOG_CHECKED``). So it costs a page a few rows to tell, and no finding can be taken back unseen.
"""

from __future__ import annotations

import uuid
from collections.abc import Container
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
from django.db.models import Max, Q

from agent_sessions.domain.lifecycle import Status
from agent_sessions.models import AuditEvent, Session, SiteEvent
from agent_sessions.selectors import _rows
from agent_sessions.selectors.verification import DERIVED

CHECKED: Final = "sessions.checked"
"""Every session was compared with its history (``verify_sessions``)."""
LOG_CHECKED: Final = "log.checked"
"""The log was compared with the heads kept outside and with every history (``audit_fsck``)."""
REPAIRED: Final = "session.repaired"
MOST_KEPT: Final = 50
"""Things that a check is on record to have found wrong, and sessions in quarantine that are told."""
MOST_COUNTED: Final = 1_000
"""Sessions in quarantine that are counted."""


class Found(msgspec.Struct):
    """What a check found wrong with one thing: a session, or by its name a log.

    ``since`` is when a recorded check found it first (UTC), ``events`` how many the session had then.
    """

    about: str
    codes: list[str]
    since: datetime
    session: uuid.UUID | None = None
    events: int = 0


class CheckRun(msgspec.Struct):
    """A check of everything: what it read and what it found.

    ``unread`` are sessions that it could not open. Of ``findings``, those ``unlisted`` are about other things than the
    ``MOST_KEPT`` that are kept in ``found``. Only a check of the log counts ``leaves``, and ``heads`` from outside.
    """

    began_at: datetime
    sessions: int = 0
    events: int = 0
    unread: int = 0
    leaves: int = 0
    heads: int = 0
    findings: int = 0
    unlisted: int = 0
    found: list[Found] = msgspec.field(default_factory=list)

    def add(self, about: str, code: str, *, session: uuid.UUID | None = None, events: int = 0) -> None:
        """Count a finding, and keep it if there is room."""
        self.findings += 1
        one = next((one for one in self.found if one.about == about), None)
        if one is None and len(self.found) == MOST_KEPT:
            self.unlisted += 1
        elif one is None:
            self.found.append(Found(about, [code], self.began_at, session, events))
        elif code not in one.codes:
            one.codes.append(code)


class Check(msgspec.Struct, frozen=True):
    """The last check of a kind that was recorded, and when it came to its end (UTC)."""

    ended_at: datetime
    run: CheckRun


class Divergence(msgspec.Struct, frozen=True):
    """A thing that does not agree with what is stored beside it, since when that is known (UTC).

    ``session`` is None where there is no row of one. ``found_by`` are kinds of checks; without any, a reader or writer
    came across it. Without ``codes`` nobody has said yet what it is.
    """

    about: str
    session: uuid.UUID | None
    codes: tuple[str, ...]
    since: datetime
    found_by: tuple[str, ...]
    quarantined: bool


class Agreement(msgspec.Struct, frozen=True):
    """How far what is stored agrees, as far as anybody knows.

    ``divergences`` are in order, the newest first; of the sessions in quarantine (``quarantined``, up to
    ``MOST_COUNTED``) the newest and those that a check has found are among them.
    """

    checks: dict[str, Check | None]
    divergences: tuple[Divergence, ...]
    quarantined: int


class _Event(msgspec.Struct):
    params: CheckRun


_decode: Final = msgspec.json.Decoder(_Event).decode


def agreement() -> Agreement:
    """Tell what is known not to agree, in at most four queries.

    What ``verify_sessions`` found is told until the session is repaired or released, or another run does not find it;
    what ``audit_fsck`` found, until another run does not.
    """
    checks = _last_checks()
    listed = {one.session for check in checks.values() if check is not None for one in check.run.found if one.session}
    sessions = Session.objects.using(_alias())
    rows = dict(sessions.filter(pk__in=listed).values_list("pk", "quarantined_at")) if listed else {}
    closed = sessions.filter(status=Status.QUARANTINED.value).order_by("-quarantined_at")
    newest = list(closed.values_list("pk", "quarantined_at")[:MOST_COUNTED])
    closed_at = {one: at for one, at in {**rows, **dict(newest[:MOST_KEPT])}.items() if at is not None}
    told = {str(one): Divergence(str(one), one, (), at, (), quarantined=True) for one, at in closed_at.items()}
    for kind, check in checks.items():
        for one in [] if check is None else _still(kind, check, closed_at):
            before = told.get(one.about)
            told[one.about] = Divergence(
                one.about,
                one.session if one.session in rows else None,
                (*one.codes,) if before is None else (*dict.fromkeys([*before.codes, *one.codes]),),
                one.since if before is None else min(one.since, before.since),
                (kind,) if before is None else (*before.found_by, kind),
                quarantined=before is not None and before.quarantined,
            )
    found = sorted(told.values(), key=lambda one: (one.since, one.about), reverse=True)
    return Agreement(checks, tuple(found), len(newest))


def known_since(kind: str) -> dict[str, datetime]:
    """Tell of what does not agree by the last check of a kind since when (UTC)."""
    return {one.about: one.since for one in agreement().divergences if kind in one.found_by}


def _last_checks() -> dict[str, Check | None]:
    """Return the last check of each kind. One that cannot be read was altered, and shows nothing."""
    checks: dict[str, Check | None] = {CHECKED: None, LOG_CHECKED: None}
    events = SiteEvent.objects.using(_alias())
    last = events.filter(kind__in=checks).values("kind").annotate(last=Max("seq")).values("last")
    for kind, ended_at, canonical in events.filter(seq__in=last).values_list("kind", "created_at", "canonical"):
        with suppress(msgspec.DecodeError):
            checks[kind] = Check(ended_at, _decode(bytes(canonical)).params)
    return checks


def _still(kind: str, check: Check, closed: Container[uuid.UUID | None]) -> list[Found]:
    """Leave out what was repaired or released since: damage has closed a session, the rest is an event after these."""
    found = check.run.found
    if kind == LOG_CHECKED:
        return found
    open_still, after = [], Q()
    for one in found:
        if one.session in closed:
            open_still.append(one)
        elif DERIVED.issuperset(one.codes):
            open_still.append(one)
            after |= Q(session_id=one.session, seq__gt=one.events)
    if not after:
        return open_still
    events = AuditEvent.objects.using(_alias()).filter(after, kind=REPAIRED)
    repaired = set(events.values_list("session_id", flat=True))
    return [one for one in open_still if one.session not in repaired]


def _alias() -> str:
    return _rows.write_connection().alias
