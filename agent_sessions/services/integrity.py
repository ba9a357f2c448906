"""Looking after stored history: quarantine what is damaged, repair what is derived, release what is sound."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import Case, Max, Sum, Value, When
from django.db.models.functions import Coalesce, Length

from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import Session, SessionVersion
from agent_sessions.selectors import _cache, _rows
from agent_sessions.selectors._heads import get_session, read_head
from agent_sessions.selectors.verification import DERIVED, SessionReport, verify_session
from agent_sessions.services._quarantine import quarantine

_SIZE = Length("patch") + Coalesce(Length("personal_patch"), 0)


def quarantine_damaged(report: SessionReport) -> bool:
    """Close the session of a report with problems that cannot be repaired; return whether it was open (R5)."""
    if report.ok or report.repairable:
        return False
    first = report.problems[0]
    return quarantine(report.session_id, f"{first.where} {first.message}")


def repair_session(session_id: uuid.UUID) -> SessionReport:
    """Make again what is derived from history: drop wrong snapshots and cached states, correct the counters (R4).

    Then check everything and, if nothing is wrong any more, release the session from quarantine. History itself is
    never touched. Return the report of the check after the repair.

    Raises SessionNotFound; SessionDamaged, with nothing changed, if history itself is damaged.
    """
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
    if after.ok:
        release_session(session_id)
    return after


def release_session(session_id: uuid.UUID) -> bool:
    """Open a quarantined session again, if a check finds nothing wrong with it; return whether it was closed.

    Raises SessionDamaged if something is wrong.
    """
    if get_session(session_id).status != Status.QUARANTINED.value:
        return False
    report = verify_session(session_id)
    if not report.ok:
        first = report.problems[0]
        raise SessionDamaged(session_id, f"{first.where} {first.message}")
    alias = _rows.write_connection().alias
    closed = Session.objects.using(alias).filter(pk=session_id, status=Status.QUARANTINED.value)
    status = Case(
        When(ended_at__isnull=False, then=Value(Status.ENDED.value)),
        When(paused_at__isnull=False, then=Value(Status.PAUSED.value)),
        default=Value(Status.ACTIVE.value),
    )
    return bool(closed.update(status=status, quarantined_at=None))
