"""Narrowing a list of sessions by what hangs on them, and how many there are, counted among the newest that match.

Made for millions of rows: every condition is a set of session ids that an index gives, and nothing counts them all.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db.models import BinaryField, BooleanField, F, Func, QuerySet, Value

from agent_sessions.domain.references import ITEM, past, reference
from agent_sessions.models import AuditEvent, Checkpoint, Session, SessionReference
from agent_sessions.selectors.timeline import failures

CLOCKS_APART: Final = timedelta(minutes=5)
"""How far the time in an id and ``created_at`` may lie apart: two readings of a clock that can be set between them."""
NEWEST: Final = 1000
"""Sessions that counts are of."""
MOST_FAILURES: Final = 5000
"""Rows that tell failures which are read at once: one session can have thousands."""
_NAMES_RULE: Final = re.compile(rb'.*"policy_rule":("(?:[^"\\\\]|\\\\.)*")', re.DOTALL)
"""The last, for what comes before is said by the agent; far quicker than reading thousands of events whole."""
STEP, RULE, EVENT = "step", "rule", "event"
"""What a failure code is of: the code of a failed step, the rule that refused a call, the kind of an event."""


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What counts go by, of one session."""

    session_id: uuid.UUID
    status: str
    kind: str
    end_reason: str
    agent_name: str
    created_at: datetime
    ordered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest sessions that match, at most ``NEWEST``; ``cut``: there are more."""

    sessions: tuple[Facts, ...]
    cut: bool

    def counts(self, column: str) -> Counter[str]:
        return Counter(getattr(one, column) for one in self.sessions)


class _RefusedBy(Func):
    """Whether an event's bytes name this rule as the one that refused; within params its quotes would be escaped.

    PostgreSQL answers it from the index of migration 0002, whose expression it has to repeat to the letter.
    """

    output_field = BooleanField()

    def __init__(self, rule: str, **extra: Any) -> None:
        self.rule = msgspec.json.encode(rule)[1:-1]
        said = b'"policy_rule":"' + self.rule + b'"'
        super().__init__(F("canonical"), Value(said, output_field=BinaryField()), **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(compiler, connection, template="INSTR(%(expressions)s) > 0", **extra)

    def as_postgresql(self, compiler: Any, *_: Any, **__: Any) -> tuple[str, list[Any]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        escaped = "".join(chr(one) if one < 128 else f"\\{one:03o}" for one in self.rule.replace(b"\\", b"\\\\"))
        return f"""SUBSTRING(ENCODE({column}, 'escape') FROM '^.*"policy_rule":"([^"]*)"') = %s""", [*params, escaped]


def opened_between(
    sessions: QuerySet[Session], start: datetime | None = None, end: datetime | None = None
) -> QuerySet[Session]:
    """Narrow a list to sessions opened from ``start`` on and before ``end`` (aware), by what their ids begin with."""
    if start is not None:
        sessions = sessions.filter(pk__gte=first_id(start - CLOCKS_APART), created_at__gte=start)
    if end is not None:
        sessions = sessions.filter(pk__lt=first_id(end + CLOCKS_APART), created_at__lt=end)
    return sessions


def first_id(moment: datetime) -> uuid.UUID:
    """Return the lowest id that could be made at a moment (aware)."""
    return uuid.UUID(int=min(max(int(moment.timestamp() * 1000), 0), 2**48 - 1) << 80)


def with_item(sessions: QuerySet[Session], item: str) -> QuerySet[Session]:
    """Narrow a list to sessions with an item in the cart or held, now or when they ended (until that is erased)."""
    ref = reference(ITEM, item)
    having = SessionReference.objects.filter(ref__in=[ref, past(ref)])
    return sessions.filter(pk__in=having.values("session_id"))


def with_failure(sessions: QuerySet[Session], code: str) -> QuerySet[Session]:
    """Narrow a list to sessions with a failure code: ``step:card_declined``, ``rule:spend_cap``, ``event:step.failed``.

    None has a code that is written in another way.
    """
    of, _, name = code.partition(":")
    if of == STEP and name:
        found: QuerySet[Any] = Checkpoint.objects.filter(code=name)
    elif of == RULE and name:
        found = AuditEvent.objects.filter(_RefusedBy(name), policy_result="deny")
    elif of == EVENT and name:
        found = AuditEvent.objects.filter(failures(), kind=name)
    else:
        return sessions.none()
    return sessions.filter(pk__in=found.values("session_id"))


def newest(sessions: QuerySet[Session], limit: int = NEWEST) -> Newest:
    """Read what counts go by of the newest sessions of a list."""
    rows = sessions.order_by("-pk").values_list("pk", *Facts.__struct_fields__[1:])
    found = [Facts(*row) for row in rows[: limit + 1]]
    return Newest(tuple(found[:limit]), len(found) > limit)


def failure_codes(session_ids: Sequence[uuid.UUID]) -> Counter[str]:
    """Count in how many of these sessions each failure code occurs; two queries."""
    return Counter(code for _, code in failures_of(session_ids))


def failures_of(session_ids: Sequence[uuid.UUID]) -> set[tuple[uuid.UUID, str]]:
    """Return which failure codes these sessions have, as far as ``MOST_FAILURES`` rows tell; two queries."""
    if not session_ids:
        return set()
    steps = Checkpoint.objects.filter(session_id__in=session_ids).exclude(code="")
    events = AuditEvent.objects.filter(failures(), session_id__in=session_ids).order_by("-session_id", "seq")
    found = {(one, f"{STEP}:{code}") for one, code in steps.values_list("session_id", "code")[:MOST_FAILURES]}
    columns = ("session_id", "kind", "policy_result", "canonical")
    for one, kind, result, canonical in events.values_list(*columns)[:MOST_FAILURES]:
        found.add((one, code_of(kind, result, bytes(canonical))))
    return found


def code_of(kind: str, policy_result: str, canonical: bytes) -> str:
    """Return the failure code of an event: of a refusal its rule, if it names one, of all else its kind."""
    told = _NAMES_RULE.match(canonical) if policy_result == "deny" else None
    try:
        rule = json.loads(told[1]) if told else ""
    except ValueError:  # damaged
        rule = ""
    return f"{RULE}:{rule}" if rule else f"{EVENT}:{kind}"
