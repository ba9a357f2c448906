"""The story of one session: its events in order, with what the rows beside the chain say of them (O1).

A page of it costs the same number of queries however long the session is, and the rows of one page.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db.models import BinaryField, F, Func, Q, QuerySet, Value

from agent_sessions.audit.events import event_hash, parse_time
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.domain.families import BY_KIND, BY_WORD, family_of, is_failure
from agent_sessions.domain.identity import ACTOR_KINDS
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import Approval, AuditEvent, Checkpoint, Message
from agent_sessions.models.history import FAILED
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors.history import Turn, opened_turn

COLUMNS: Final = ("seq", "created_at", "kind", "capability", "policy_result", "response_status", "version", "canonical")
_AFTER_A_CALL: Final = timedelta(seconds=1)
"""How long after the event that tells a call other events of that call are written, at most."""


class Choice(msgspec.Struct, frozen=True):
    """What of the story is wanted: events of these families, of these kinds of actors, only what went wrong."""

    families: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    failed: bool = False

    def __bool__(self) -> bool:
        return bool(self.families or self.actors or self.failed)


class Waited(msgspec.Struct, frozen=True):
    """What the row of an approval says: when a person was asked, first looked and answered. Times are UTC."""

    approval_id: uuid.UUID
    asked_at: datetime
    opened_at: datetime | None
    decided_at: datetime | None
    expires_at: datetime


class Attempt(msgspec.Struct, frozen=True):
    """What the row of a checkpoint says: which step, which attempt at it, and how long it has taken (None: runs)."""

    step: str
    method: str
    attempt: int
    outcome: str
    code: str
    took: timedelta | None


class Entry(msgspec.Struct, frozen=True):
    """One event of the story. Times are UTC.

    ``gap`` is the time since the entry before it on the page, ``took`` how long the call took that it tells.
    ``call`` is the number of the event that tells the call in which this one was written, its own if it is that event,
    None outside of calls: events carry no number of their call, so that is told by actor, capability and time.
    ``document`` is the event as it is hashed, ``hash`` its hash.
    ``damaged``: its bytes cannot be read, and this is what the columns beside them say.
    """

    seq: int
    at: datetime
    kind: str
    family: str
    actor: str
    capability: str
    method: str
    params: Mapping[str, Any]
    denied: bool
    rule: str
    status: int
    failed: bool
    version: int | None
    took: timedelta | None
    document: Mapping[str, Any]
    hash: str
    gap: timedelta | None = None
    call: int | None = None
    turn: Turn | None = None
    waited: Waited | None = None
    attempt: Attempt | None = None
    damaged: bool = False


class TimelinePage(msgspec.Struct, frozen=True):
    """Entries in order. ``earlier`` and ``later``: give it as ``before`` or ``after`` for the page there, if any."""

    entries: tuple[Entry, ...]
    earlier: int | None
    later: int | None


def timeline(
    head: SessionHead,
    *,
    choice: Choice = Choice(),  # noqa: B008 - immutable
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
    words: bool = False,
) -> TimelinePage:
    """Return the last entries below event ``before``, the first above ``after``, or with neither the last of all.

    ``words``: with what was said, as far as it was not erased. At most four queries. Raises InvalidValue for a limit
    below 0; with ``words`` SessionDamaged and KeyProblem.
    """
    rows, beyond = _window(chosen(head.session_id, choice), before, after, _rows.checked_limit(limit))
    entries = _together(_joined(head, [entry_of(row) for row in rows], words=words))
    if not entries:
        return TimelinePage((), None, None)
    first, last = entries[0].seq, entries[-1].seq
    if after is not None:
        return TimelinePage(tuple(entries), first if first > 1 else None, last if beyond else None)
    return TimelinePage(
        tuple(entries), first if beyond else None, last if before is not None and last < head.head_seq else None
    )


def last_entries(head: SessionHead, *, up_to: int, capabilities: Collection[str], limit: int = 5) -> list[Entry]:
    """Return the last calls of these capabilities up to event ``up_to``, the latest first; one query."""
    rows = _events(head.session_id).filter(seq__lte=up_to, capability__in=sorted(capabilities)).order_by("-seq")
    return [entry_of(row) for row in rows.values_list(*COLUMNS)[:limit]]


def entry_at(head: SessionHead, version: int) -> Entry | None:
    """Return the event that made a version, or None if it is missing; one query."""
    row = _events(head.session_id).filter(version=version).values_list(*COLUMNS).first()
    return None if row is None else entry_of(row)


def turns_up_to(head: SessionHead, seq: int, *, limit: int = 20) -> list[Turn]:
    """Return the last turns of the conversation up to event ``seq``, in order. Raises SessionDamaged, KeyProblem."""
    rows = Message.objects.using(_alias()).filter(session_id=head.session_id, event_seq__lte=seq).order_by("-number")
    found = list(rows.values_list("number", "role", "body", "created_at")[:limit])
    keys = head.data_keys()
    return [opened_turn(head, keys, row) for row in reversed(found)]


def chosen(session_id: uuid.UUID, choice: Choice) -> QuerySet[AuditEvent]:
    """Return the session's events that a choice lets through, in no order."""
    rows = _events(session_id)
    if choice.families:
        rows = rows.filter(_of_families(choice.families))
    if choice.actors:
        rows = _by_actors(rows, choice.actors)
    return rows.filter(failures()) if choice.failed else rows


def failures() -> Q:
    """Narrow events to refusals and failures, as ``is_failure`` tells them."""
    return FAILED


def entry_of(row: Sequence[Any]) -> Entry:
    """Make an entry of the columns of an event (``COLUMNS``)."""
    seq, at, kind, capability, result, status, version, canonical = row
    event, damaged = _read(bytes(canonical), seq)
    took, params = event.get("duration_ms"), event.get("params")
    return Entry(
        seq=seq,
        at=at,
        kind=kind,
        family=family_of(kind),
        actor=str(event.get("actor", "")),
        capability=capability,
        method=str(event.get("method", "")),
        params=params if isinstance(params, dict) else {},
        denied=result == "deny",
        rule=str(event.get("policy_rule", "")),
        status=status,
        failed=is_failure(kind, result, status),
        version=version,
        took=timedelta(milliseconds=took) if type(took) is int else None,
        document=event,
        hash=event_hash(bytes(canonical)),
        damaged=damaged,
    )


def _events(session_id: uuid.UUID) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.using(_alias()).filter(session_id=session_id)


def _alias() -> str:
    return _rows.write_connection().alias


def _window(
    rows: QuerySet[AuditEvent], before: int | None, after: int | None, limit: int
) -> tuple[list[Sequence[Any]], bool]:
    """Return the rows of a page in order, and whether there are more in the direction that it was asked for in."""
    if after is not None:
        found = list(rows.filter(seq__gt=after).order_by("seq").values_list(*COLUMNS)[: limit + 1])
        return found[:limit], len(found) > limit
    if before is not None:
        rows = rows.filter(seq__lt=before)
    found = list(rows.order_by("-seq").values_list(*COLUMNS)[: limit + 1])
    return found[:limit][::-1], len(found) > limit


def _of_families(families: Collection[str]) -> Q:
    exact = {kind for kind, family in BY_KIND.items() if family in families}
    words = [word for word, family in BY_WORD.items() if family in families]
    wanted = Q(kind__in=sorted(exact))
    for word in words:
        wanted |= Q(kind__startswith=f"{word}.") & ~Q(kind__in=sorted(BY_KIND.keys() - exact))
    if "other" in families:
        told = Q(kind__in=sorted(BY_KIND))
        for word in BY_WORD:
            told |= Q(kind__startswith=f"{word}.")
        wanted |= ~told
    return wanted


def _by_actors(rows: QuerySet[AuditEvent], actors: Collection[str]) -> QuerySet[AuditEvent]:
    """Narrow events to those of some kinds of actors, by how their bytes begin: canonical JSON sorts by name."""
    wanted = Q(pk__in=[])
    for number, actor in enumerate(sorted(set(actors) & set(ACTOR_KINDS))):
        beginning = f'{{"actor":"{actor}'.encode()
        name = f"beginning_{number}"
        cut = Func(
            F("canonical"), Value(1), Value(len(beginning)), function="SUBSTRING", output_field=BinaryField()
        )  # fmt: skip
        rows = rows.annotate(**{name: cut})
        wanted |= Q(**{name: beginning})
    return rows.filter(wanted)


def _read(canonical: bytes, seq: int) -> tuple[Mapping[str, Any], bool]:
    """Return an event, and whether it is damaged: no JSON, or another event than its number says."""
    try:
        event = parse_strict(canonical)
        if isinstance(event, dict) and event.get("seq") == seq and parse_time(str(event.get("timestamp"))):
            return event, False
    except InvalidValue:
        pass
    return {}, True


def _joined(head: SessionHead, entries: list[Entry], *, words: bool) -> list[Entry]:
    """Add what the rows of messages, approvals and checkpoints say; a query for each that the entries speak of."""
    turns = _turns(head, [one.seq for one in entries if one.kind == "conversation.message_added"], words=words)
    waits = _waits(head, entries)
    attempts = _attempts(head, [one.version for one in entries if one.kind.startswith("step.") and one.version])
    return [
        msgspec.structs.replace(
            one,
            turn=turns.get(one.seq),
            waited=waits.get(str(one.params.get("approval", ""))),
            attempt=attempts.get(one.version) if one.version is not None else None,
        )
        for one in entries
    ]


def _turns(head: SessionHead, seqs: Collection[int], *, words: bool) -> dict[int, Turn]:
    if not seqs:
        return {}
    rows = Message.objects.using(_alias()).filter(session_id=head.session_id, event_seq__in=seqs)
    keys = head.data_keys()
    turns = {}
    for seq, number, role, body, at in rows.values_list("event_seq", "number", "role", "body", "created_at"):
        turns[seq] = opened_turn(head, keys, (number, role, body, at)) if words else Turn(number, role, None, at)
    return turns


def _waits(head: SessionHead, entries: Sequence[Entry]) -> dict[str, Waited]:
    named = {str(one.params["approval"]) for one in entries if "approval" in one.params}
    ids = [found for text in sorted(named) if (found := _uuid(text)) is not None]
    if not ids:
        return {}
    rows = Approval.objects.using(_alias()).filter(session_id=head.session_id, pk__in=ids)
    columns = ("pk", "requested_at", "opened_at", "decided_at", "expires_at")
    return {str(row[0]): Waited(*row) for row in rows.values_list(*columns)}


def _attempts(head: SessionHead, versions: Collection[int]) -> dict[int, Attempt]:
    if not versions:
        return {}
    rows = Checkpoint.objects.using(_alias()).filter(
        Q(version__in=versions) | Q(ended_version__in=versions), session_id=head.session_id
    )
    found: dict[int, Attempt] = {}
    columns = ("version", "ended_version", "step", "method", "attempt", "outcome", "code", "started_at", "ended_at")
    for version, ended, step, method, attempt, outcome, code, started_at, ended_at in rows.values_list(*columns):
        took = None if ended_at is None else ended_at - started_at
        found.setdefault(version, Attempt(step, method, attempt, outcome, code, took))
        if ended is not None:
            found[ended] = Attempt(step, method, attempt, outcome, code, took)
    return found


def _together(entries: Sequence[Entry]) -> list[Entry]:
    """Say of each entry how long after the one before it came, and in which call it was written."""
    calls = [one for one in entries if one.method]
    told: list[Entry] = []
    for one in entries:
        gap = max(one.at - told[-1].at, timedelta()) if told else None
        call = one.seq if one.method else next((other.seq for other in calls if _belongs(one, other)), None)
        told.append(msgspec.structs.replace(one, gap=gap, call=call))
    return told


def _belongs(entry: Entry, call: Entry) -> bool:
    """Tell whether an event that tells no call of its own was written in this one."""
    began = call.at - (call.took or timedelta())
    near = began <= entry.at <= call.at + _AFTER_A_CALL and abs(entry.seq - call.seq) <= 20
    return near and entry.actor in (call.actor, "system") and entry.capability in (call.capability, "")


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
