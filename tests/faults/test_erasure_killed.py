"""An erasure of a consumer whose process is killed: what it did is whole and in the receipt, the rest is done later."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.models import AuditEvent, Erasure, Session
from agent_sessions.services import erasure
from tests.faults.support import Child

pytestmark = pytest.mark.django_db(transaction=True)

WHO = "customer-4711"
SESSIONS = 5


def killed_after(start: str, number: int) -> None:
    """Erase the consumer in a process of its own that kills itself after the n-th statement of a kind."""

    def work(_tell: Callable[..., None]) -> None:
        seen = 0

        def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal seen
            result = execute(sql, params, many, context)
            seen += sql.startswith(start)
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        with connection.execute_wrapper(watch):
            services.erase_consumer(WHO, actor=Actor("staff", "7"))

    with Child(work) as child:
        assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -signal.SIGKILL
        child._reaped = True


@pytest.mark.parametrize(
    ("start", "number"),
    [
        ('UPDATE "agent_sessions_erasure"', 2),
        ('INSERT INTO "agent_sessions_siteevent"', 2),
    ],
)
def test_what_a_killed_erasure_did_is_in_its_receipt_and_the_rest_is_done_later(
    opened: Any, monkeypatch: pytest.MonkeyPatch, start: str, number: int
) -> None:
    """A7, R3: the receipt and the sessions say the same at every moment, and nothing is told twice."""
    monkeypatch.setattr(erasure, "BATCH", 2)
    ids = [opened(consumer=services.consumer_pseudonym(WHO), purpose="for Zoe").session_id for _ in range(SESSIONS)]
    killed_after(start, number)

    row = Erasure.objects.get()
    gone = set(Session.objects.filter(content_erased_at__isnull=False).values_list("pk", flat=True))
    assert {str(one) for one in gone} == row.receipt["sessions"].keys()
    assert row.finished_at is None
    assert row.consumer == services.consumer_pseudonym(WHO)
    assert [selectors.verify_session(one).problems for one in ids] == [[]] * SESSIONS

    assert services.finish_erasures() == {"finished": 1, "left": 0, "failed": 0, "overdue": 0}
    receipt = selectors.get_receipt(row.pk)
    assert selectors.check_receipt(receipt.document) == []
    assert Session.objects.filter(content_erased_at__isnull=False).count() == SESSIONS
    assert AuditEvent.objects.filter(kind="pii.purged").count() == SESSIONS
    assert [selectors.verify_session(one).problems for one in ids] == [[]] * SESSIONS
