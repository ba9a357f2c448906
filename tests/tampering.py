"""Changing stored history behind the package's back, as someone with rights on the database could."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from agent_sessions import selectors, services
from agent_sessions.domain.calls import Call
from agent_sessions.models import AuditEvent, Message, Session, SessionVersion
from agent_sessions.selectors import SessionReport
from agent_sessions.selectors._states import seal_document
from agent_sessions.services import OpenedSession
from tests.shopping import variables


@contextmanager
def guards_off(table: str) -> Iterator[None]:
    """Take a table's triggers away that keep history from being rewritten; inside the test's transaction only."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            yield
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            yield
            for _, sql in triggers:
                cursor.execute(sql)


@dataclass(frozen=True)
class Tamper:
    """The stored rows of one session, without guards."""

    session_id: UUID

    def session(self, **columns: Any) -> None:
        assert Session.objects.filter(pk=self.session_id).update(**columns) == 1

    def version(self, number: int, **columns: Any) -> None:
        self._change(self.versions.filter(number=number), columns)

    def event(self, seq: int, **columns: Any) -> None:
        self._change(self.events.filter(seq=seq), columns)

    def message(self, number: int, **columns: Any) -> None:
        self._change(self.messages.filter(number=number), columns)

    def delete(self, rows: QuerySet[Any]) -> None:
        """Delete rows of history; no trigger stands in the way of that."""
        assert rows.delete()[0], "nothing to tamper with"

    def sealed(self, what: str, number: int, document: object) -> bytes:
        """Seal with the session's own key, as someone could who got hold of the master key as well."""
        keys = selectors.read_head(self.session_id).data_keys()
        return seal_document(keys, self.session_id, what, number, document)

    @property
    def versions(self) -> QuerySet[SessionVersion]:
        return SessionVersion.objects.filter(session_id=self.session_id)

    @property
    def events(self) -> QuerySet[AuditEvent]:
        return AuditEvent.objects.filter(session_id=self.session_id)

    @property
    def messages(self) -> QuerySet[Message]:
        return Message.objects.filter(session_id=self.session_id)

    @staticmethod
    def _change(rows: QuerySet[Any], columns: dict[str, Any]) -> None:
        with guards_off(rows.model._meta.db_table):
            assert rows.update(**columns) == 1, "nothing to tamper with"


def flipped(stored: bytes | memoryview | None) -> bytes:
    """The same bytes with one bit of the last one changed."""
    assert stored is not None
    raw = bytes(stored)
    return raw[:-1] + bytes([raw[-1] ^ 1])


Act = Callable[[Tamper], object]


def lived(opened: Callable[..., OpenedSession]) -> OpenedSession:
    """A session with some of everything: versions 1 to 4, events 1 to 7, messages 1 and 2.

    Its state is ``{"agent": {"a": 1, "b": 2, "c": 3, "d": 4}}``.
    """
    one = opened(purpose="find a mug", state=variables(a=1))
    services.change_session(one.session_id, expected_version=1, patch=variables(b=2), note="why")
    services.add_message(one.session_id, role="user", content="hello")
    services.change_session(one.session_id, expected_version=2, patch=variables(c=3))
    services.add_message(one.session_id, role="agent", content="good day")
    services.change_session(one.session_id, expected_version=3, patch=variables(d=4))
    services.record_event(one.session_id, kind="cart.viewed", call=Call("cart.view", private={"email": "a@b.c"}))
    return one


def found(report: SessionReport) -> list[tuple[str, str]]:
    """Code and place of each problem."""
    return [(problem.code, problem.where) for problem in report.problems]
