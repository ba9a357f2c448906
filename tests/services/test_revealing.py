"""What a session says of people is shown to one of the staff, for minutes, once its history says so (A9)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import ContentErased, InvalidValue, PaymentDataRefused, SessionQuarantined
from agent_sessions.models import AuditEvent
from agent_sessions.services import OpenedSession, _write
from agent_sessions.services.erasing import Grounds, erase
from tests.conftest import MORNING
from tests.shopping import variables
from tests.stored import is_stored
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

ANN, BOB = Actor("staff", "7"), Actor("staff", "8")
MINUTE = timedelta(minutes=1)
REASON = "Anna asks what she was promised"


def reveal(session_id: uuid.UUID, *groups: str, actor: Actor = ANN, reason: str = REASON) -> services.Committed:
    return services.reveal_content(session_id, groups=groups or ("words",), reason=reason, actor=actor)


def seen(session_id: uuid.UUID) -> list[tuple[str, str]]:
    return [(one.actor, one.group) for one in selectors.reveals(selectors.read_head(session_id))]


def last(session_id: uuid.UUID) -> dict[str, Any]:
    return msgspec.convert(selectors.events(session_id)[-1], dict)


def test_the_history_says_who_sees_what_until_when_and_seals_why(clock: Any, live: OpenedSession) -> None:
    made = reveal(live.session_id, "words", "customer")
    event = last(live.session_id)
    assert (event["kind"], event["actor"], event["params"]) == (
        "content.revealed", "staff:7", {"groups": ["words", "customer"], "until": "2026-03-02T10:10:00.000000Z"},
    )  # fmt: skip
    assert event["private"].keys() == {"reason"}
    assert not is_stored(REASON)
    assert selectors.private_values(live.session_id, made.seq) == {"reason": REASON}
    until = datetime(2026, 3, 2, 10, 10, tzinfo=UTC)
    assert selectors.reveals(selectors.read_head(live.session_id)) == [
        selectors.Reveal("staff:7", "customer", until, made.seq), selectors.Reveal("staff:7", "words", until, made.seq),
    ]  # fmt: skip
    assert selectors.verify_session(live.session_id).ok


def test_it_ends_by_itself_and_a_second_one_begins_anew(
    clock: Any, live: OpenedSession, configure: Callable[..., None]
) -> None:
    reveal(live.session_id)
    clock.shift(9 * MINUTE)
    reveal(live.session_id, "agent")
    assert seen(live.session_id) == [("staff:7", "agent"), ("staff:7", "words")]
    clock.shift(MINUTE)
    assert seen(live.session_id) == [("staff:7", "agent")]
    configure(REVEAL_MINUTES=1)
    assert seen(live.session_id) == [], "a shorter time holds for what is revealed already"
    reveal(live.session_id)
    clock.move_to(MORNING + 11 * MINUTE)
    assert seen(live.session_id) == []


def test_a_clock_that_was_set_back_makes_it_no_longer(clock: Any, live: OpenedSession) -> None:
    clock.shift(20 * MINUTE)
    services.record_event(live.session_id, kind="cart.viewed")
    clock.move_to(MORNING)
    reveal(live.session_id)
    assert seen(live.session_id) == [("staff:7", "words")]
    clock.shift(10 * MINUTE)
    assert seen(live.session_id) == []


def test_it_is_of_one_session_and_one_person(live: OpenedSession, opened: Callable[..., OpenedSession]) -> None:
    other = opened()
    reveal(live.session_id)
    reveal(live.session_id, "agent", actor=BOB)
    assert seen(other.session_id) == []
    assert seen(live.session_id) == [("staff:7", "words"), ("staff:8", "agent")]


def test_masking_ends_all_of_ones_own_and_is_recorded_once(live: OpenedSession) -> None:
    reveal(live.session_id, "words", "agent")
    reveal(live.session_id, actor=BOB)
    assert services.mask_content(live.session_id, actor=ANN) is not None
    assert (last(live.session_id)["kind"], last(live.session_id)["actor"]) == ("content.masked", "staff:7")
    assert seen(live.session_id) == [("staff:8", "words")]
    assert services.mask_content(live.session_id, actor=ANN) is None
    reveal(live.session_id)
    assert seen(live.session_id) == [("staff:7", "words"), ("staff:8", "words")]


def test_a_file_that_leaves_is_in_the_history(live: OpenedSession) -> None:
    services.note_download(live.session_id, file="evidence", actor=ANN)
    event = last(live.session_id)
    assert (event["kind"], event["actor"], event["params"]) == ("evidence.disclosed", "staff:7", {"file": "evidence"})
    services.end_session(live.session_id)
    services.note_download(live.session_id, file="artifact", actor=ANN)
    assert last(live.session_id)["params"] == {"file": "artifact"}
    assert selectors.verify_session(live.session_id).ok
    with pytest.raises(InvalidValue):
        services.note_download(live.session_id, file="artifact", actor=SYSTEM)


def test_a_session_that_has_ended_or_is_overdue_says_it_too(
    clock: Any, ended: OpenedSession, opened: Callable[..., OpenedSession]
) -> None:
    overdue = opened()
    clock.shift(31 * MINUTE)
    for one in (ended, overdue):
        reveal(one.session_id)
        assert seen(one.session_id) == [("staff:7", "words")]
        assert services.mask_content(one.session_id, actor=ANN) is not None
    services.expire_sessions()
    for one in (ended, overdue):
        assert selectors.verify_session(one.session_id).ok


@pytest.mark.parametrize("groups", [(), ("everything",), ("words", "everything")])
def test_a_group_that_there_is_not_reveals_nothing(live: OpenedSession, groups: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue, match="words, customer, agent"):
        services.reveal_content(live.session_id, groups=groups, reason=REASON, actor=ANN)
    assert seen(live.session_id) == []


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 201, "a\x00b"])
def test_nobody_sees_anything_without_a_reason(live: OpenedSession, reason: str) -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(InvalidValue) as refused:
        reveal(live.session_id, reason=reason)
    assert refused.value.path == "/reason"
    assert AuditEvent.objects.count() == before


def test_a_reason_passes_the_gate_for_payment_data(live: OpenedSession) -> None:
    """S8"""
    with pytest.raises(PaymentDataRefused) as refused:
        reveal(live.session_id, reason="Card 4111 1111 1111 1111 was charged twice")
    assert refused.value.pointer == "/reason"
    assert not is_stored("4111 1111")
    assert seen(live.session_id) == []


@pytest.mark.parametrize("actor", [SYSTEM, Actor("agent"), Actor("consumer"), Actor("staff")])
def test_it_is_for_somebody_of_the_staff(live: OpenedSession, actor: Actor) -> None:
    for act in (
        lambda: reveal(live.session_id, actor=actor),
        lambda: services.mask_content(live.session_id, actor=actor),
    ):
        with pytest.raises(InvalidValue, match="Name who of the staff"):
            act()


def test_what_cannot_be_written_reveals_nothing(live: OpenedSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise OSError("disk full")

    monkeypatch.setattr(_write, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        reveal(live.session_id)
    assert seen(live.session_id) == []


@pytest.mark.parametrize("data_class", ["personal", "content"])
def test_what_is_erased_cannot_be_revealed(clock: Any, ended: OpenedSession, data_class: Any) -> None:
    grounds = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
    reveal(ended.session_id)
    erase(selectors.read_head(ended.session_id), frozenset({data_class}), grounds, actor=SYSTEM)
    with pytest.raises(ContentErased, match="erased under rule 'personal' on 2026-03-02"):
        reveal(ended.session_id)
    assert services.mask_content(ended.session_id, actor=ANN) is not None, "an end can be told all the same"
    assert selectors.verify_session(ended.session_id).ok


def test_a_quarantined_session_reveals_nothing(quarantined: OpenedSession) -> None:
    with pytest.raises(SessionQuarantined):
        reveal(quarantined.session_id)


@pytest.mark.parametrize(
    "canonical",
    [b"{", b"[]", b'{"kind":"content.revealed","params":[]}', b'{"kind":"content.revealed","params":{"groups":1}}',
     b'{"kind":"content.revealed","params":{"groups":["words"],"until":"soon"},"timestamp":1}'],
)  # fmt: skip
def test_an_altered_event_reveals_nothing(live: OpenedSession, canonical: bytes) -> None:
    made = reveal(live.session_id)
    Tamper(live.session_id).event(made.seq, canonical=canonical)
    assert seen(live.session_id) == []


def test_asking_costs_one_query_or_none_however_long_the_history(
    clock: Any, opened: Callable[..., OpenedSession]
) -> None:
    one = opened()
    for number in range(1, 40):
        services.change_session(one.session_id, expected_version=number, patch=variables(n=number))
    clock.shift(11 * MINUTE)
    with CaptureQueriesContext(connection) as queries:
        assert selectors.reveals(selectors.read_head(one.session_id)) == []
    assert len(queries) == 1, "nothing was written for so long: the head says it"
    reveal(one.session_id)
    with CaptureQueriesContext(connection) as queries:
        assert len(selectors.reveals(selectors.read_head(one.session_id))) == 1
    assert len(queries) == 2
