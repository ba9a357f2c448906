"""What evidence reads of a session's history: its events once, its versions once, however many there are.

Each is one query. Of the states that the versions lead to only those are kept that are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent_sessions.audit.events import CREATED
from agent_sessions.crypto.canonical import parse_strict
from agent_sessions.domain.migrations import migrate
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import InvalidValue, SessionDamaged
from agent_sessions.models import AuditEvent, SessionVersion
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import PATCH
from agent_sessions.selectors._states import PERSONAL_PATCH, open_document, with_personal
from agent_sessions.types import Patch, State

Place = tuple[str, ...]
"""Slice, field and, of a map, the key: ``("shopping", "lines", "l1")``."""


class Happened(msgspec.Struct, frozen=True):
    """One event, with what evidence needs of it. ``code`` is the error that was answered, empty without one."""

    seq: int
    at: str
    kind: str
    actor: str
    capability: str
    result: str
    rule: str
    status: int
    version: int | None
    params: Mapping[str, Any]

    @property
    def code(self) -> str:
        return str(self.params.get("code", "")) if self.status >= 400 else ""


@dataclass(slots=True)
class Trail:
    """Where versions have touched what: by place the first version and the last."""

    first: dict[Place, int] = field(default_factory=dict)
    last: dict[Place, int] = field(default_factory=dict)
    priced: dict[str, int] = field(default_factory=dict)
    """By line the last version in which the store gave another price for it."""
    states: dict[int, State] = field(default_factory=dict)

    def note(self, number: int, patch: Patch) -> None:
        for name, fields in patch.items():
            if not isinstance(fields, dict):
                continue
            for member, entries in fields.items():
                places: list[Place] = [(name, member)]
                if isinstance(entries, dict):
                    places += [(name, member, key) for key in entries]
                for place in places:
                    self.first.setdefault(place, number)
                    self.last[place] = number
        lines: Any = patch.get("shopping")
        lines = lines.get("lines") if isinstance(lines, dict) else None
        for key, line in (lines if isinstance(lines, dict) else {}).items():
            if isinstance(line, dict) and "unit_price" in line:
                self.priced[key] = number


def read_events(head: SessionHead) -> tuple[list[Happened], Mapping[str, Any]]:
    """Return the events up to where the head stands, in order, and the header of the first.

    Raises SessionDamaged if one is missing or unreadable.
    """
    rows = AuditEvent.objects.using(_alias()).filter(session_id=head.session_id, seq__lte=head.head_seq)
    found: list[Happened] = []
    header: Mapping[str, Any] = {}
    for canonical in rows.order_by("seq").values_list("canonical", flat=True).iterator(chunk_size=500):
        try:
            event: Any = parse_strict(bytes(canonical))
            one = _happened(event)
        except (InvalidValue, LookupError, TypeError):
            raise SessionDamaged(head.session_id, f"event {len(found) + 1} is unreadable") from None
        if one.seq != len(found) + 1:
            raise SessionDamaged(head.session_id, f"event {len(found) + 1} is missing")
        if one.kind == CREATED:
            header = event["header"]
        found.append(one)
    if len(found) != head.head_seq:
        raise SessionDamaged(head.session_id, f"event {len(found) + 1} is missing")
    return found, header


def read_versions(head: SessionHead, *, keep: Collection[int] = (), payment: str = "") -> Trail:
    """Go through the versions up to where the head stands; keep the states of those that ``keep`` numbers.

    Kept too is the state in which the attempt ``payment`` to pay began. Without what is personal once that was erased.
    Raises SessionDamaged if a version is missing or does not open, ContentErased, SchemaUnknown, KeyProblem.
    """
    keys, trail, state = head.data_keys(), Trail(), State()
    attempt = ("decisions", "payments", payment)
    for number, schema, patch, personal in _versions(head):
        change = open_document(keys, head.session_id, PATCH, number, patch)
        trail.note(number, change)
        state = apply_patch(state, change)
        state = with_personal(state, keys, head.session_id, PERSONAL_PATCH, number, personal)
        if number in keep or trail.first.get(attempt) == number:
            trail.states[number] = migrate(state, schema, head.session_id)
    return trail


def _versions(head: SessionHead) -> Iterator[tuple[int, int, bytes | None, bytes | None]]:
    rows = SessionVersion.objects.using(_alias()).filter(session_id=head.session_id, number__lte=head.version)
    columns = ("number", "schema", "patch", "personal_patch")
    expected = 1
    for row in rows.order_by("number").values_list(*columns).iterator(chunk_size=500):
        if row[0] != expected:
            break
        yield row
        expected += 1
    if expected != head.version + 1:
        raise SessionDamaged(head.session_id, f"version {expected} is missing")


def _happened(event: Any) -> Happened:
    return Happened(
        event["seq"],
        event["timestamp"],
        event["kind"],
        event["actor"],
        event["capability"],
        event["policy_result"],
        event.get("policy_rule", ""),
        event["response_status"],
        event.get("version"),
        event["params"],
    )


def _alias() -> str:
    return _rows.write_connection().alias
