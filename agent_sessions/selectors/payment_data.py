"""Payment data that is stored already: from before it was refused, or put there past the package (PCI DSS 12.10.7)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from django.apps import apps
from django.db.models import BinaryField, Case, CharField, F, JSONField, Model, TextField, Value, When
from django.db.models.functions import Substr
from django.db.models.lookups import Exact

from agent_sessions.audit.events import ENDED
from agent_sessions.conf import settings
from agent_sessions.domain.payment_data import all_payment_data
from agent_sessions.exceptions import ContentErased
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import read_head
from agent_sessions.selectors.approvals import opened_body, stored_approvals
from agent_sessions.selectors.audit import sealed_values

_STATE: Final = ("patch", "personal")
_CHUNK: Final = 100
_READ: Final = "_document"
_NONE: Final[frozenset[str]] = frozenset()
_ORDER: Final = frozenset({"/params/order"})


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """Where payment data is stored, never what: ``place`` is a row, ``pointer`` a JSON pointer into what it holds.

    ``session_id`` is None for what belongs to no session.
    """

    session_id: uuid.UUID | None
    place: str
    pointer: str
    rule: str


def payment_data_in_session(session_id: uuid.UUID) -> Iterator[StoredFinding]:
    """Yield what of a session's sealed content holds payment data: patches, messages, private values, approvals.

    One row in memory at a time. What was erased is passed over; a session that is quarantined is searched too. Raises
    SessionNotFound, SessionDamaged, KeyProblem.
    """
    head = read_head(session_id)
    for seq, path, value in sealed_values(head):
        # As the gate sees it: a patch is of the state, everything else stands behind its name.
        yield from _found(session_id, f"event {seq}, {path}", value if path in _STATE else {path: value})
    for row in stored_approvals().filter(session_id=session_id).order_by("pk").iterator(chunk_size=_CHUNK):
        try:
            yield from _found(session_id, f"approval {row.pk}", opened_body(row, head))
        except ContentErased:
            continue


def payment_data_in_columns(session_id: uuid.UUID | None = None) -> Iterator[StoredFinding]:
    """Yield what of the tables' own columns holds payment data: texts, JSON, and documents in bytes such as events.

    All rows of all tables, or those of one session. An order's reference is the shop's own and passed over.
    """
    for model in apps.get_app_config("agent_sessions").get_models():
        fields = [field for field in model._meta.concrete_fields if field.name != "order_ref"]
        names = [field.name for field in fields if isinstance(field, CharField | TextField | JSONField)]
        documents = {
            f"{field.name}{_READ}": _document(field.name) for field in fields if isinstance(field, BinaryField)
        }
        rows = model._base_manager.using(_rows.write_connection().alias)
        owner = _owner(model)
        if session_id is not None:
            if not owner:
                continue
            rows = rows.filter(**{owner: session_id})
        keys = [field.attname for field in model._meta.pk_fields]
        read = dict.fromkeys((*keys, *((owner,) if owner else ()), *names))
        for row in rows.order_by("pk").values(*read, **documents).iterator(chunk_size=_CHUNK):
            place, whose = f"{model._meta.model_name} {'/'.join(_key(row[key]) for key in keys)}", row.get(owner)
            for name in documents:
                if row[name] is not None and (document := _opened(bytes(row[name]))) is not None:
                    exempt = _ORDER if document.get("kind") == ENDED else _NONE
                    yield from _found(whose, f"{place}, {name.removesuffix(_READ)}", document, exempt)
            yield from _found(whose, place, {name: row[name] for name in names})


def _found(
    session_id: uuid.UUID | None, place: str, value: object, exempt: Set[str] = _NONE
) -> Iterator[StoredFinding]:
    for one in all_payment_data(value, exempt=settings.payment_data_exempt | exempt):
        yield StoredFinding(session_id, place, one.pointer, one.rule.value)


def _document(column: str) -> Case:
    """Read a column of bytes where it begins as JSON maps do: what is sealed, and large, stays in the database."""
    bytes_ = BinaryField()
    begins = Exact(Substr(column, 1, 1, output_field=bytes_), Value(b"{", output_field=bytes_))
    return Case(When(begins, then=F(column)), default=None, output_field=bytes_)


def _opened(stored: bytes) -> dict[str, Any] | None:
    """Return the JSON map that bytes are, None for digests, keys, and what is sealed."""
    try:
        found: dict[str, Any] = msgspec.json.decode(stored, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return found


def _owner(model: type[Model]) -> str:
    """Return the column that names the session a row belongs to, "" if it belongs to none."""
    names = {field.attname for field in model._meta.concrete_fields}
    if model._meta.model_name == "session":
        return "id"
    return "session_id" if "session_id" in names else ""


def _key(key: object) -> str:
    """Return part of a row's key as people type it; bytes as hexadecimal."""
    return bytes(key).hex() if isinstance(key, bytes | memoryview) else str(key)
