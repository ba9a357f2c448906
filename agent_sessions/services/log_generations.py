"""Generations of the log: the first, and a new one when the database is not the one that the sinks know (A4).

A database that was restored from a backup has lost leaves whose heads are kept elsewhere. It must not go on as if
nothing had happened: that would be a second history under one name. So the log begins again under the next number. Its
first leaf names the last head that a sink has kept of the one before, and all sessions are put into it once more.
"""

from __future__ import annotations

import logging

from django.db import IntegrityError
from django.utils import timezone

from agent_sessions.audit.leaf import generation_leaf
from agent_sessions.audit.notes import parse_checkpoint, parse_note
from agent_sessions.audit.submissions import Submission
from agent_sessions.conf import settings
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import LogGeneration, LogLeaf, TreeHead
from agent_sessions.selectors import _rows
from agent_sessions.services._log_sinks import newest_kept
from agent_sessions.services._log_tree import NewLeaf, append_leaves, lock_open_generation
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services.site_events import record
from agent_sessions.sinks import configured_sinks

logger = logging.getLogger("agent_sessions")

KIND = "log.generation_began"


def begin_log_generation(*, reason: str, actor: Actor = SYSTEM) -> LogGeneration:
    """Close the open generation of the log and begin the next, as after a planned restore from a backup.

    ``reason``, 1 to 200 characters, stands in the log in the clear for good: nothing personal. The next run of the
    sequencer puts every session into the new generation.

    Raises InvalidValue, PaymentDataRefused, SinkFailed if no sink says which heads it keeps, SessionBusy.
    """
    check_text("/reason", reason, 200)
    require_no_payment_data({"reason": reason})
    if not reason.strip():
        raise InvalidValue("/reason", "Say in 1 to 200 characters why the log begins again.")
    current = open_generation()
    return begin_after(current.number if current else None, reason=reason, actor=actor)


def open_generation() -> LogGeneration | None:
    """Return the generation that leaves are appended to, None before the first."""
    return LogGeneration.objects.using(_rows.write_connection().alias).filter(closed_at__isnull=True).first()


def begin_after(number: int | None, *, reason: str, actor: Actor = SYSTEM) -> LogGeneration:
    """Begin a generation after the one of this number (None: there is none); if somebody else has, return theirs.

    Raises SinkFailed, SessionBusy.
    """
    known, kept = newest_kept(settings.log_origin, configured_sinks())
    alias = _rows.write_connection().alias

    def begin() -> LogGeneration:
        current = lock_open_generation()
        if (current.number if current else None) != number and current is not None:
            return current
        now = timezone.now()
        if current is not None:
            LogGeneration.objects.using(alias).filter(pk=current.pk).update(closed_at=now)
        last = LogGeneration.objects.using(alias).order_by("-number").first()
        former = kept.note if kept is not None else None
        # Of a sink that cannot be read, or not now, there is what the database remembers of its own exported heads.
        exported = _last_exported(last) if last is not None and last.number >= known else None
        if last is not None and exported is not None and (kept is None or _is_before(kept, last, exported)):
            former = exported.note
        following = max(known, last.number if last else 0) + 1
        generation = LogGeneration.objects.using(alias).create(
            number=following, origin=f"{settings.log_origin}/{following}", reason=reason, created_at=now
        )
        written = generation_leaf(log=generation.origin, former=former, reason=reason)
        append_leaves(generation, [NewLeaf(LogLeaf.Kind.GENERATION, written)])
        after = parse_checkpoint(parse_note(former).text) if former else None
        facts = {"log": generation.origin, "reason": reason}
        if after is not None:
            record(KIND, actor, {**facts, "after": after.origin, "after_size": after.size}, now=now)
        else:
            record(KIND, actor, facts, now=now)
        logger.log(
            logging.WARNING if following > 1 else logging.INFO, "The log: %s begins: %s", generation.origin, reason
        )
        return generation

    try:
        return _rows.in_transaction("The log", begin)
    except IntegrityError:  # somebody else has just begun it
        current = open_generation()
        if current is None:
            raise
        return current


def _is_before(kept: Submission, last: LogGeneration, exported: TreeHead) -> bool:
    """Tell whether a head that a sink keeps is of a log before the last one, or a smaller one of it."""
    return kept.head.origin != last.origin or kept.head.size < exported.size


def _last_exported(generation: LogGeneration) -> TreeHead | None:
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(generation=generation)
    return heads.filter(exported_at__isnull=False).order_by("-size").first()
