"""Reads of a session's state, now and then, and of what changed between."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agent_sessions.audit.events import parse_time
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.domain.calls import COMMITTED, STEP_DONE
from agent_sessions.domain.differences import Difference, describe
from agent_sessions.domain.migrations import migrate
from agent_sessions.domain.patch import copy_state
from agent_sessions.domain.state import LOCAL
from agent_sessions.exceptions import InvalidValue, SessionDamaged, VersionNotFound
from agent_sessions.models import AuditEvent, Message, SessionVersion
from agent_sessions.selectors import _rows, _states
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors._keys import DataClass, DataKeys
from agent_sessions.selectors.erasures import ErasedNote, erased, require_content
from agent_sessions.types import JSONValue, State

_FEW: Final = 20


@dataclass(frozen=True, slots=True)
class StateView:
    """The state at one version. It is the reader's own copy.

    ``schema`` is the schema it was stored with; ``state`` is always in the current one. ``erased`` says of each class
    that was erased by which rule and when: once ``personal`` is, the state is without what it said of people.
    """

    session_id: uuid.UUID
    version: int
    schema: int
    state: State
    erased: Mapping[DataClass, ErasedNote] = field(default_factory=dict)

    def seen_by(self, name: str) -> State:
        """Return the state as the agent sees it whose own scope is ``name``: without the scopes of others (C4)."""
        variables = self.state.get("agent")
        scopes = variables.get(LOCAL) if isinstance(variables, dict) else None
        if not isinstance(variables, dict) or not isinstance(scopes, dict) or not scopes.keys() - {name}:
            return self.state
        own = {LOCAL: {name: scopes[name]}} if name in scopes else {}
        shared = {key: value for key, value in variables.items() if key != LOCAL}
        return {**self.state, "agent": {**shared, **own}}


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One line of the history: which change made the version, who made it and when (UTC)."""

    number: int
    version_id: uuid.UUID
    kind: str
    actor: str
    created_at: datetime
    event_seq: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation; ``content`` is None once that was ``erased``."""

    number: int
    role: str
    content: JSONValue | None
    created_at: datetime
    erased: bool = False


def was_committed(head: SessionHead, number: int) -> bool:
    """Tell whether a step, or the agent, has committed this version, be it the last that was or an earlier one."""
    if number < 1 or number == head.committed_version:
        return number > 0
    alias = _rows.write_connection().alias
    rows = SessionVersion.objects.using(alias).filter(session_id=head.session_id, number__in=(number, number + 1))
    made = dict(rows.values_list("number", "event_seq"))
    if number not in made:
        return False
    # While the version was the latest one, beginning with the event that made it.
    until = made.get(number + 1, head.head_seq + 1)
    events = AuditEvent.objects.using(alias).filter(
        session_id=head.session_id, seq__gte=made[number], seq__lt=until, kind__in=(COMMITTED, STEP_DONE)
    )
    for canonical in events.order_by("seq").values_list("canonical", flat=True)[:_FEW]:
        event: Any = parse_strict(bytes(canonical))
        if event["params"].get("committed_version") == number:
            return True
    return False


def local_name(head: SessionHead) -> str:
    """Return the name of the scope that the session's agent keeps for itself: its verified key or else its name."""
    return head.agent_key or head.agent_name or "agent"


def current_state(session: SessionHead | uuid.UUID) -> StateView:
    """Return the state that the session has now.

    Raises SessionNotFound, SessionQuarantined, SessionDamaged, ContentErased, SchemaUnknown, KeyProblem.
    """
    head = _readable(session)
    require_content(head)
    known = _states.current(head, head.data_keys())
    return _view(head, head.version, known.state, head.schema)


def state_at_version(session: SessionHead | uuid.UUID, version: int) -> StateView:
    """Return the state as it was at a version (V2). Raises VersionNotFound and what ``current_state`` raises."""
    head = _readable(session)
    _require_version(head, version)
    if version == head.version:
        return current_state(head)
    require_content(head)
    state, schema = _states.replay(head.session_id, version, head.data_keys())
    return _view(head, version, state, schema)


def state_at_time(session: SessionHead | uuid.UUID, moment: datetime) -> StateView:
    """Return the state as it was at a time (aware), "5 minutes ago" (V2). Raises what ``state_at_version`` raises."""
    head = _readable(session)
    if moment.utcoffset() is None:
        raise InvalidValue("/moment", "Send a time with its offset from UTC.")
    alias = _rows.write_connection().alias
    # Times of a session never run backwards, so the last event before is the first one found from the end.
    rows = AuditEvent.objects.using(alias).filter(session_id=head.session_id, created_at__lte=moment)
    number = rows.filter(version__isnull=False).order_by("-seq").values_list("version", flat=True).first()
    if number is None:
        raise VersionNotFound(
            f"Session {head.session_id} had no version at {moment.isoformat()}; it began at "
            f"{head.created_at.isoformat()}."
        )
    return state_at_version(head, number)


def compare(
    session: SessionHead | uuid.UUID, before: int, after: int | None = None, *, as_agent: bool = False
) -> tuple[Difference, ...]:
    """Return what changed between two versions, in shop terms; ``after`` defaults to the current version (V2).

    ``as_agent``: as the session's agent may see it, without the scopes of others (C4). Raises what
    ``state_at_version`` raises.
    """
    head = _readable(session)
    views = state_at_version(head, before), state_at_version(head, head.version if after is None else after)
    return describe(*(view.seen_by(local_name(head)) if as_agent else view.state for view in views))


def versions(session_id: uuid.UUID, *, after: int = 0, limit: int = 100) -> list[VersionInfo]:
    """Return up to ``limit`` versions with a number above ``after``, in order.

    Raises InvalidValue for a limit below 0, SessionDamaged if the event of one of them is missing or unreadable.
    """
    alias = _rows.write_connection().alias
    rows = SessionVersion.objects.using(alias).filter(session_id=session_id, number__gt=after).order_by("number")
    numbers = list(rows.values_list("number", "event_seq")[: _rows.checked_limit(limit)])
    if not numbers:
        return []
    made = AuditEvent.objects.using(alias).filter(
        session_id=session_id, seq__gte=numbers[0][1], seq__lte=numbers[-1][1], version__isnull=False
    )
    events = dict(made.values_list("seq", "canonical"))
    return [_version_info(session_id, number, seq, bytes(events.get(seq, b""))) for number, seq in numbers]


def messages(session: SessionHead | uuid.UUID, *, after: int = 0, limit: int = 50) -> list[Turn]:
    """Return up to ``limit`` turns of the conversation with a number above ``after``, in order.

    Of turns whose text was erased there is who spoke and when. Raises what ``current_state`` raises, but ContentErased;
    InvalidValue for a limit below 0.
    """
    limit = _rows.checked_limit(limit)
    head = _readable(session)
    keys = head.data_keys()
    alias = _rows.write_connection().alias
    rows = Message.objects.using(alias).filter(session_id=head.session_id, number__gt=after).order_by("number")
    turns = []
    for number, role, sealed, created_at in rows.values_list("number", "role", "body", "created_at")[:limit]:
        turns.append(opened_turn(head, keys, (number, role, sealed, created_at)))
    return turns


def opened_turn(head: SessionHead, keys: DataKeys, row: tuple[int, str, bytes | memoryview | None, datetime]) -> Turn:
    """Open one turn (number, role, sealed body, time), unless that was erased. Raises SessionDamaged, KeyProblem."""
    number, role, sealed, created_at = row
    if not keys.has_personal:
        return Turn(number, role, None, created_at, erased=True)
    body = _states.open_document(keys, head.session_id, _states.MESSAGE, number, sealed)
    return Turn(number, role, body["content"], created_at)


def _version_info(session_id: uuid.UUID, number: int, seq: int, canonical: bytes) -> VersionInfo:
    """Read what the event says of the version it made."""
    try:
        event: Any = parse_strict(canonical)
        return VersionInfo(
            number, uuid.UUID(event["event_id"]), event["kind"], event["actor"], parse_time(event["timestamp"]), seq
        )
    except (InvalidValue, LookupError, TypeError, ValueError, AttributeError):
        raise SessionDamaged(session_id, f"event {seq}, which made version {number}, is missing or altered") from None


def _readable(session: SessionHead | uuid.UUID) -> SessionHead:
    head = session if isinstance(session, SessionHead) else read_head(session)
    require_open(head)
    return head


def _require_version(head: SessionHead, version: int) -> None:
    if not isinstance(version, int) or not 1 <= version <= head.version:
        raise VersionNotFound(
            f"Session {head.session_id} has the versions 1 to {head.version}, not {version!r}.", current=head.version
        )


def _view(head: SessionHead, version: int, state: State, schema: int) -> StateView:
    shown = copy_state(migrate(state, schema, head.session_id))
    return StateView(head.session_id, version, schema, shown, erased(head))
