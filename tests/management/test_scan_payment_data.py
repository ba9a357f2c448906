"""manage.py scan_payment_data: what is stored already is found, row by row, and never shown (S8, PCI DSS 12.10.7)."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.management.commands import scan_payment_data
from agent_sessions.models import Session, SessionVersion
from agent_sessions.selectors.payment_data import payment_data_in_columns, payment_data_in_session
from agent_sessions.services import OpenedSession, _commit, _opening
from tests.management.running import run
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

CARD = "378282246310005"


@pytest.fixture
def before_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write as a release did that had no gate."""
    monkeypatch.setattr(_commit, "check_draft", lambda _: None)
    monkeypatch.setattr(_opening, "check_opening", lambda **_: None)


@pytest.fixture
def tainted(before_the_gate: None, opened: Callable[..., OpenedSession]) -> str:
    one = opened(purpose=f"pay with {CARD}").session_id
    services.change_session(one, expected_version=1, patch={"agent": {"card": CARD}})
    services.change_session(one, expected_version=2, patch={"customer": {"preferences": {"cvv": "1234"}}})
    services.add_message(one, role="user", content=f"it is {CARD}")
    services.record_event(one, kind="a.b", call=Call(params={"shown": CARD}, private={"sealed": CARD}))
    Session.objects.filter(pk=one).update(agent_name=CARD)
    return str(one)


def test_every_place_is_named_and_no_value(tainted: str, opened: Any) -> None:
    opened()
    before = everything_stored()

    ran = run("scan_payment_data")

    assert ran.status == 1
    assert CARD not in ran.out + ran.err
    places = sorted(line.removeprefix(f"{tainted}: ") for line in ran.out.splitlines()[:-1])
    assert places == sorted(
        [
            "event 1, purpose /purpose [card_number]",
            "event 2, personal /agent/card [card_number]",
            "event 3, personal /customer/preferences/cvv [security_code]",
            "event 4, message /message/content [card_number]",
            "event 5, params.sealed /params.sealed [card_number]",
            f"auditevent {tainted}/5, canonical /params/shown [card_number]",
            f"session {tainted} /agent_name [card_number]",
        ]
    )
    assert ran.out.splitlines()[-1] == "2 sessions searched, 7 places found, 0 sessions could not be read"
    assert everything_stored() == before


def test_one_session_is_searched_alone(tainted: str, opened: Any) -> None:
    clean = str(opened().session_id)
    assert run("scan_payment_data", "--session", clean).status == 0
    assert run("scan_payment_data", "--session", tainted, "--dry-run").status == 1


def test_where_there_is_nothing_it_says_so(live: OpenedSession) -> None:
    ran = run("scan_payment_data")
    assert ran.status == 0
    assert ran.out == "1 sessions searched, 0 places found, 0 sessions could not be read\n"


def test_what_is_exempt_is_not_reported(tainted: str, configure: Any) -> None:
    configure(PAYMENT_DATA_EXEMPT=["/agent/card", "/agent_name"])
    assert "/agent/card" not in run("scan_payment_data").out
    assert "/agent_name" not in run("scan_payment_data").out


def test_what_cannot_be_read_is_told_and_the_rest_is_searched(
    tainted: str, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = opened().session_id
    search = payment_data_in_session

    def search_or_fail(session_id: Any) -> Any:
        if session_id == damaged:
            raise SessionDamaged(session_id, "version 1 is empty")
        return search(session_id)

    monkeypatch.setattr(scan_payment_data, "payment_data_in_session", search_or_fail)
    ran = run("scan_payment_data")
    assert ran.status == 1
    assert f"{damaged}: not searched to its end." in ran.out
    assert "2 sessions searched, 7 places found, 1 sessions could not be read" in ran.out


def test_it_searches_with_little_memory(opened: Any) -> None:
    """PCI DSS 12.10.7 on a table of any size: what is sealed is not even read, and the rest few rows at a time."""
    one, size = opened().session_id, 200_000
    for number in range(2, 102):
        SessionVersion.objects.create(session_id=one, number=number, event_seq=1, schema=1, snapshot=b"s" * size)
    tracemalloc.start()
    try:
        assert list(payment_data_in_columns()) == []
        assert tracemalloc.get_traced_memory()[1] < 10 * size
    finally:
        tracemalloc.stop()


def test_a_session_that_holds_old_payment_data_can_still_end(tainted: str) -> None:
    """What is in a session never keeps it from ending."""
    services.end_session(uuid.UUID(tainted))
    assert Session.objects.get(pk=tainted).status == "ended"
