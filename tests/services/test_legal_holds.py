"""A legal hold beats expiry clean-up, purge and erasure; who placed it, why and until when is on record (A6)."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import HoldUnknown, InvalidValue, PaymentDataRefused, SessionNotFound
from agent_sessions.models import IdempotencyRecord, LegalHold, Session, SiteEvent
from agent_sessions.selectors.legal_holds import held_among, not_held
from agent_sessions.services import OpenedSession
from agent_sessions.signals import hold_review_due
from tests.conftest import MORNING
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

LAWYER = Actor("staff", "7")
DAY = timedelta(days=1)


def place(**facts: Any) -> selectors.HoldView:
    return services.place_legal_hold(**{"matter": "Case 12", "actor": LAWYER, **facts})


def site_events() -> list[dict[str, Any]]:
    return [json.loads(bytes(row.canonical)) for row in SiteEvent.objects.order_by("seq")]


def events(session_id: uuid.UUID) -> list[dict[str, Any]]:
    return [msgspec.convert(event, dict) for event in selectors.events(session_id)]


def order(one: OpenedSession, ref: str) -> None:
    from agent_sessions.models import CheckoutHandoff

    family, now = Session.objects.get(pk=one.session_id).family, timezone.now()
    CheckoutHandoff.objects.create(
        session_id=one.session_id, merchant="default", family=family, version=1, token_digest=uuid.uuid4().bytes,
        created_at=now, expires_at=now, ordered_at=now, closed_at=now, order_ref=ref,
    )  # fmt: skip


def test_a_hold_on_a_session(live: OpenedSession, clock: Any) -> None:
    """A6: who, what for, until when; in the session's history and in the site's, with ids alone."""
    hold = place(scope="session", session_id=live.session_id)

    assert (hold.placed_by, hold.matter, hold.review_at - hold.placed_at) == ("staff:7", "Case 12", 180 * DAY)
    assert selectors.holds_on(live.session_id) == [hold]
    event = events(live.session_id)[-1]
    assert (event["kind"], event["actor"], event["params"]) == (
        "legal_hold.placed", "staff:7", {"hold": str(hold.hold_id)},
    )  # fmt: skip
    told = site_events()[-1]
    assert (told["kind"], told["actor"]) == ("hold.placed", "staff:7")
    assert told["params"].keys() == {"hold", "scope", "session", "review_at"}
    assert b"Case 12" not in b"".join(bytes(row.canonical) for row in SiteEvent.objects.all())
    assert selectors.verify_session(live.session_id).ok


def test_a_hold_on_a_session_that_has_ended(ended: OpenedSession) -> None:
    hold = place(scope="session", session_id=ended.session_id)
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=LAWYER)
    kinds = [event["kind"] for event in events(ended.session_id)]
    assert kinds[-3:] == ["session.ended", "legal_hold.placed", "legal_hold.lifted"]
    assert selectors.verify_session(ended.session_id).ok


def test_a_hold_on_a_session_past_its_deadline(opened: Any, clock: Any) -> None:
    """A6: a session that nobody has ended yet is held all the same, and then ends as any other does."""
    one = opened()
    clock.shift(DAY)
    place(scope="session", session_id=one.session_id)
    services.expire_sessions()
    kinds = [event["kind"] for event in events(one.session_id)]
    assert kinds == ["session.created", "legal_hold.placed", "session.ended"]


def test_what_is_in_quarantine_is_held_without_an_event(quarantined: OpenedSession) -> None:
    before = selectors.get_session(quarantined.session_id).head_seq
    place(scope="session", session_id=quarantined.session_id)
    assert held_among([quarantined.session_id]) == [quarantined.session_id]
    assert selectors.get_session(quarantined.session_id).head_seq == before
    assert site_events()[-1]["kind"] == "hold.placed"


def test_a_hold_on_a_consumer_names_nobody(opened: Any) -> None:
    ada = services.consumer_pseudonym("customer-4711")
    theirs, other = opened(consumer=ada), opened(consumer=services.consumer_pseudonym("customer-1"))
    elsewhere = opened(consumer=services.consumer_pseudonym("customer-4711", merchant="b"), merchant="b")
    nobody = opened()
    place(scope="consumer", consumer="customer-4711")
    ids = [one.session_id for one in (theirs, other, elsewhere, nobody)]
    assert held_among(ids) == [theirs.session_id]
    assert not is_stored("customer-4711")
    assert len(selectors.holds_on(theirs.session_id)) == 1
    assert selectors.holds_on(nobody.session_id) == []


def test_a_hold_on_an_order_covers_the_family(opened: Any) -> None:
    root = opened()
    branch = services.fork_session(root.session_id)
    other = opened()
    order(branch, "A-1")
    place(scope="order", order_ref="A-1")
    assert set(held_among([root.session_id, branch.session_id, other.session_id])) == {
        root.session_id, branch.session_id,
    }  # fmt: skip
    assert [len(selectors.holds_on(one.session_id)) for one in (root, branch, other)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("start", "end", "merchant", "covered"),
    [
        (timedelta(0), timedelta(microseconds=1), "", True),
        (-DAY, timedelta(0), "", False),
        (timedelta(microseconds=1), DAY, "", False),
        (-DAY, DAY, "default", True),
        (-DAY, DAY, "elsewhere", False),
    ],
)
def test_a_hold_on_a_period(
    opened: Any, clock: Any, start: timedelta, end: timedelta, merchant: str, covered: bool
) -> None:
    """A6: by the opening, the end of the period not included."""
    one = opened()
    place(scope="period", period_start=MORNING + start, period_end=MORNING + end, merchant=merchant)
    assert bool(held_among([one.session_id])) is covered
    assert bool(selectors.holds_on(one.session_id)) is covered
    assert not_held(Session.objects.all()).exists() is not covered


def test_a_session_stays_held_until_every_hold_is_lifted(ended: OpenedSession) -> None:
    first = place(scope="session", session_id=ended.session_id)
    second = place(scope="period", period_start=timezone.now() - DAY, period_end=timezone.now() + DAY)
    services.lift_legal_hold(first.hold_id, reason="settled", actor=LAWYER)
    assert held_among([ended.session_id])
    lifted = services.lift_legal_hold(second.hold_id, reason="withdrawn", actor=LAWYER)
    assert (lifted.lift_reason, lifted.lifted_by, lifted.in_force) == ("withdrawn", "staff:7", False)
    assert not held_among([ended.session_id])
    assert selectors.legal_holds() == []
    assert [one.hold_id for one in selectors.legal_holds(lifted=True)] == [first.hold_id, second.hold_id]


def test_a_hold_is_lifted_once(ended: OpenedSession) -> None:
    hold = place(scope="session", session_id=ended.session_id)
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=LAWYER)
    before = everything_stored()
    with pytest.raises(HoldUnknown):
        services.lift_legal_hold(hold.hold_id, reason="again", actor=LAWYER)
    assert everything_stored() == before


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        ({"scope": "shop"}, "/scope"),
        ({"scope": "session"}, "/session_id"),
        ({"scope": "consumer"}, "/consumer"),
        ({"scope": "order"}, "/order_ref"),
        ({"scope": "order", "order_ref": "A", "consumer": "c"}, "/consumer"),
        ({"scope": "period", "period_start": MORNING}, "/period_end"),
        ({"scope": "period", "period_start": MORNING, "period_end": MORNING}, "/period_end"),
        ({"scope": "period", "period_start": MORNING.replace(tzinfo=None), "period_end": MORNING}, "/period_start"),
        ({"scope": "order", "order_ref": "A", "matter": ""}, "/matter"),
        ({"scope": "order", "order_ref": "A", "matter": "x" * 201}, "/matter"),
        ({"scope": "order", "order_ref": "A", "review_at": MORNING}, "/review_at"),
        ({"scope": "order", "order_ref": "x" * 101}, "/order_ref"),
    ],
)
def test_a_hold_that_says_too_little_or_too_much(facts: dict[str, Any], path: str, clock: Any) -> None:
    before = everything_stored()
    with pytest.raises(InvalidValue) as refused:
        place(**facts)
    assert refused.value.path == path
    assert everything_stored() == before


def test_a_hold_on_no_session_is_refused() -> None:
    with pytest.raises(SessionNotFound):
        place(scope="session", session_id=uuid.uuid4())
    assert not LegalHold.objects.exists()


def test_a_matter_with_a_cards_number_is_refused() -> None:
    """S8"""
    with pytest.raises(PaymentDataRefused):
        place(scope="order", order_ref="A", matter="card 4242424242424242")
    assert not LegalHold.objects.exists()


def test_the_clean_up_of_answers_leaves_held_sessions_alone(opened: Any, clock: Any) -> None:
    """A6: a hold beats expiry clean-up."""
    held, free = opened(), opened()
    for one in (held, free):
        services.run_once(one.session_id, lambda: 1, operation="op", key="k" * 20, request={})
    hold = place(scope="session", session_id=held.session_id)
    clock.shift(2 * DAY)
    assert services.purge_idempotency_records() == 1
    assert IdempotencyRecord.objects.get().session_id == held.session_id
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=LAWYER)
    assert services.purge_idempotency_records() == 1


# Reviews


def test_one_is_reminded_once_of_each_review(
    clock: Any, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    """A6: in the site's history, in the log, and by a signal."""
    heard: list[uuid.UUID] = []

    def hear(hold_id: uuid.UUID, **_: object) -> None:
        heard.append(hold_id)

    hold_review_due.connect(hear)
    hold = place(scope="order", order_ref="A")
    assert services.remind_of_reviews() == 0
    clock.shift(180 * DAY)
    with django_capture_on_commit_callbacks(execute=True):
        assert services.remind_of_reviews() == 1
    assert services.remind_of_reviews() == 0
    assert heard == [hold.hold_id]
    assert (site_events()[-1]["kind"], site_events()[-1]["params"]) == ("hold.review_due", {"hold": str(hold.hold_id)})
    assert str(hold.hold_id) in caplog.text

    services.review_legal_hold(hold.hold_id, review_at=timezone.now() + DAY, actor=LAWYER)
    assert site_events()[-1]["kind"] == "hold.reviewed"
    assert services.remind_of_reviews() == 0
    clock.shift(DAY)
    assert services.remind_of_reviews() == 1


def test_nobody_is_reminded_of_what_was_lifted(clock: Any) -> None:
    hold = place(scope="order", order_ref="A")
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=LAWYER)
    clock.shift(181 * DAY)
    assert services.remind_of_reviews() == 0
    with pytest.raises(HoldUnknown):
        services.review_legal_hold(hold.hold_id, review_at=timezone.now() + DAY, actor=LAWYER)


def test_a_review_is_set_for_a_time_to_come(clock: Any) -> None:
    hold = place(scope="order", order_ref="A")
    with pytest.raises(InvalidValue):
        services.review_legal_hold(hold.hold_id, review_at=timezone.now(), actor=LAWYER)
    with pytest.raises(InvalidValue):
        services.remind_of_reviews(limit=0)


def test_the_time_to_the_review_is_a_setting(configure: Any, clock: Any) -> None:
    configure(LEGAL_HOLD_REVIEW_DAYS=30)
    assert place(scope="order", order_ref="A").review_at == MORNING + 30 * DAY


def test_a_held_session_ends_as_any_other(live: OpenedSession) -> None:
    place(scope="session", session_id=live.session_id)
    services.end_session(live.session_id, reason=EndReason.COMPLETED)
    assert selectors.verify_session(live.session_id).ok
