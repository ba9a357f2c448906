"""What sinks are asked for and told of: whether they know more than the database, and which of them fail (A4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from agent_sessions.audit.notes import open_checkpoint
from agent_sessions.audit.submissions import Submission
from agent_sessions.audit.vkeys import SIGNS, NoteKey
from agent_sessions.exceptions import NoteRefused
from agent_sessions.models import LogGeneration, SiteKey, TreeHead
from agent_sessions.selectors import _rows
from agent_sessions.sinks import Sink, SinkBehind, SinkFailed

logger = logging.getLogger("agent_sessions")

_failing: set[str] = set()
"""Sinks that failed when this process last asked them: a failure is told once, and so is its end."""


def note_failure(failure: SinkFailed) -> None:
    """Raise the alarm when a sink begins to fail."""
    if failure.sink not in _failing:
        _failing.add(failure.sink)
        logger.error("The log: %s", failure.message)


def note_success(sink: Sink) -> None:
    """Say when a sink works again."""
    if sink.name in _failing:
        _failing.discard(sink.name)
        logger.warning("The log: the sink %r works again.", sink.name)


def check_none_knows_more(generation: LogGeneration, sinks: Sequence[Sink]) -> None:
    """Ask the sinks that can be read whether they keep a head of this log that the database does not have, or a log
    that began after it.

    Raises SinkBehind if one does, and SinkFailed if none of them answers: without an answer nothing may be signed.
    """
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(generation=generation)
    readable = [sink for sink in sinks if sink.readable]
    failure: SinkFailed | None = None
    answers = 0
    for sink in readable:
        try:
            newest = sink.newest(generation.origin)
            if newest is None and _was_given(generation, sink):
                raise SinkFailed(sink.name, "it keeps no head of this log, though it was given some; is it mounted?")
            if newest is not None and not _is_signed(newest, generation):
                problem = (
                    "its newest head is not signed by a key of this log, so it shows nothing; see who can write it"
                )
                raise SinkFailed(sink.name, problem)
            later = [origin for origin in sink.origins() if number_of(origin, generation.origin) > generation.number]
        except SinkFailed as failed:
            note_failure(failed)
            failure = failed
            continue
        answers += 1
        if later:
            raise SinkBehind(sink.name, later[0], size=0, known=1)
        # The database is read after the sink: heads are only added to it, so it cannot miss one that was written since.
        if newest is not None and not heads.filter(size=newest.head.size, root=newest.head.root).exists():
            size = heads.order_by("-size").values_list("size", flat=True).first() or 0
            raise SinkBehind(sink.name, generation.origin, size=size, known=newest.head.size)
    if failure is not None and not answers:
        raise failure


def _is_signed(kept: Submission, generation: LogGeneration) -> bool:
    """Tell whether a key of the log has signed a head; a database from before its first key cannot tell."""
    keys = SiteKey.objects.using(_rows.write_connection().alias).filter(purpose=SiteKey.Purpose.LOG)
    known = [NoteKey(generation.origin, SIGNS, bytes(public)) for public in keys.values_list("public", flat=True)]
    with suppress(NoteRefused):
        return not known or open_checkpoint(kept.note, known).checkpoint.origin == generation.origin
    return False


def _was_given(generation: LogGeneration, sink: Sink) -> bool:
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(generation=generation)
    last = heads.filter(exported_at__isnull=False).order_by("-size").first()
    return last is not None and sink.name in last.exported_to


def newest_kept(base: str, sinks: Sequence[Sink]) -> tuple[int, Submission | None]:
    """Return the highest number of a generation that a sink knows, 0 for none, and the newest head of the last one
    that has any. Raises SinkFailed if none of the sinks that can be read answers.
    """
    kept: list[tuple[int, int, Submission]] = []
    failures = []
    readable = [sink for sink in sinks if sink.readable]
    for sink in readable:
        try:
            logs = [(number, origin) for origin in sink.origins() if (number := number_of(origin, f"{base}/0"))]
            for number, origin in sorted(logs)[-1:]:
                newest = sink.newest(origin)
                if newest is not None:
                    kept.append((number, newest.head.size, newest))
        except (SinkFailed, NoteRefused) as failed:
            failure = failed if isinstance(failed, SinkFailed) else SinkFailed(sink.name, failed.problem)
            note_failure(failure)
            failures.append(failure)
    if readable and len(failures) == len(readable):
        raise failures[0]
    if not kept:
        return 0, None
    number, _, newest = max(kept, key=lambda one: one[:2])
    return number, newest


def number_of(origin: str, like: str) -> int:
    """Return the number of the generation that an origin names, 0 if it is not of the same site as ``like``."""
    base, _, number = origin.rpartition("/")
    known = base == like.rpartition("/")[0] and number.isascii() and number.isdigit() and len(number) < 10
    return int(number) if known else 0
