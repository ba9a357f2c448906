"""Looking after stored history: quarantine what is damaged, repair what is derived, release what is sound."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Final

import msgspec
from django.db import transaction
from django.db.models import Case, Max, Sum, Value, When
from django.db.models.functions import Coalesce, Length

from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import Session, SessionVersion
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import get_session, read_head
from agent_sessions.selectors.divergence import REPAIRED, CheckRun, known_since
from agent_sessions.selectors.verification import DERIVED, SessionReport, verify_session
from agent_sessions.services._commit import commit, in_any_standing
from agent_sessions.services._entries import Draft
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._quarantine import quarantine
from agent_sessions.services._texts import sealed_note
from agent_sessions.services.site_events import record
from agent_sessions.types import JSONValue

RELEASED: Final = "session.released"
_SIZE = Length("patch") + Coalesce(Length("personal_patch"), 0)


def quarantine_damaged(report: SessionReport) -> bool:
    """Close the session of a report with problems that cannot be repaired; return whether it was open (R5)."""
    if report.ok or report.repairable:
        return False
    first = report.problems[0]
    return quarantine(report.session_id, f"{first.where} {first.message}")


def record_check(kind: str, run: CheckRun, *, actor: Actor = SYSTEM) -> None:
    """Put into the site's own chain that everything was checked, how far, and what was found.

    ``kind`` is one of ``selectors.divergence``. What the check before found already keeps its time. Raises SessionBusy.
    """
    known = known_since(kind)
    for one in run.found:
        one.since = min(one.since, known.get(one.about, one.since))
    record(kind, actor, msgspec.to_builtins(run))


def repair_session(session_id: uuid.UUID, *, actor: Actor = SYSTEM, note: str = "") -> SessionReport:
    """Make again what is derived from history: drop wrong snapshots and cached states, correct the counters (R4).

    Then check everything and, if nothing is wrong any more, release the session from quarantine; what was repaired, or
    that it was opened again, is an event of its own. What was there of history is never touched. ``note`` says why, in
    at most 1000 characters, sealed. Return the report of the check after the repair.

    Raises SessionNotFound, InvalidValue, PaymentDataRefused; SessionDamaged, with nothing changed, if history itself is
    damaged.
    """
    said = sealed_note(note)
    require_no_payment_data(said)
    before = verify_session(session_id)
    if not before.ok and not before.repairable:
        first = next(problem for problem in before.problems if problem.code not in DERIVED)
        raise SessionDamaged(session_id, f"{first.where} {first.message}, and history cannot be made again")
    wrong = [int(problem.where.split()[1]) for problem in before.problems if problem.code == "snapshot"]
    alias = _rows.write_connection().alias
    with transaction.atomic(using=alias):
        # First, so that no change can come between counting and writing down what was counted.
        Session.objects.using(alias).filter(pk=session_id).update(snapshot_version=0)
        rows = SessionVersion.objects.using(alias).filter(session_id=session_id)
        rows.filter(number__in=wrong).update(snapshot=None, personal_snapshot=None)
        last = rows.filter(snapshot__isnull=False).aggregate(last=Max("number"))["last"] or 0
        weight = rows.filter(number__gt=last).aggregate(weight=Sum(_SIZE))["weight"] or 0
        Session.objects.using(alias).filter(pk=session_id).update(snapshot_version=last, patch_bytes=weight)
    _cache.forget(read_head(session_id))
    after = verify_session(session_id)
    if after.ok and before.ok:
        _open_again(session_id, RELEASED, {}, actor, said)
    elif after.ok:
        parts = sorted({problem.code for problem in before.problems})
        _open_again(session_id, REPAIRED, {"parts": [*parts]}, actor, said)
    return after


def release_session(session_id: uuid.UUID, *, actor: Actor = SYSTEM, note: str = "") -> bool:
    """Open a quarantined session again, if a check finds nothing wrong with it; return whether it was closed.

    ``note`` is as in ``repair_session``. Raises SessionDamaged if something is wrong, InvalidValue, PaymentDataRefused.
    """
    said = sealed_note(note)
    require_no_payment_data(said)
    if get_session(session_id).status != Status.QUARANTINED.value:
        return False
    report = verify_session(session_id)
    if not report.ok:
        first = report.problems[0]
        raise SessionDamaged(session_id, f"{first.where} {first.message}")
    return _open_again(session_id, RELEASED, {}, actor, said)


def _open_again(
    session_id: uuid.UUID, kind: str, told: Mapping[str, JSONValue], actor: Actor, said: Mapping[str, JSONValue]
) -> bool:
    """Open a session that is sound, if it was closed, and say what was done; words only where they can be sealed."""
    alias = _rows.write_connection().alias
    closed = Session.objects.using(alias).filter(pk=session_id, status=Status.QUARANTINED.value)
    status = Case(
        When(ended_at__isnull=False, then=Value(Status.ENDED.value)),
        When(paused_at__isnull=False, then=Value(Status.PAUSED.value)),
        default=Value(Status.ACTIVE.value),
    )

    def act() -> bool:
        opened = bool(closed.update(status=status, quarantined_at=None))
        if opened or kind == REPAIRED:
            kept = said if read_head(session_id).data_keys().has_personal else {}
            commit(session_id, Draft(kind, actor, private=kept), row=lambda head, _now: in_any_standing(head, told))
        return opened

    return _rows.in_transaction(f"Session {session_id}", act)
