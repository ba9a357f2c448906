"""The purge erases what its rule keeps no longer, and nothing else (A5, A6, O3)."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import ContentErased, InvalidValue, SessionBusy
from agent_sessions.models import CheckoutHandoff, Session, SessionKey
from agent_sessions.services import erasing
from agent_sessions.services import retention as purging
from tests.conftest import MORNING
from tests.faults.support import line
from tests.services.succeeding import renew
from tests.store.calling import call
from tests.stored import everything_stored
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def ended_one(opened: Any, **facts: Any) -> uuid.UUID:
    one = opened(state={**line("mug"), "agent": {"note": 1}}, **facts)
    services.end_session(one.session_id)
    return uuid.UUID(str(one.session_id))


def numbers(report: services.PurgeReport) -> dict[str, tuple[int, int, int]]:
    return {one.rule.name: (one.erased, one.left.held, one.failed) for one in report.rules}


def classes(session_id: uuid.UUID) -> set[str]:
    row = Session.objects.get(pk=session_id)
    return {name for name in ("personal", "content") if getattr(row, f"{name}_erased_at") is not None}


def test_each_class_goes_when_its_time_is_over(opened: Any, clock: Any) -> None:
    """A5: to the microsecond, and by the rule that the history names."""
    one = ended_one(opened)
    clock.move_to(MORNING + 30 * DAY - timedelta(microseconds=1))
    assert services.purge().erased == 0
    clock.move_to(MORNING + 30 * DAY)
    assert numbers(services.purge()) == {"personal": (1, 0, 0), "decision_log": (0, 0, 0), "order_evidence": (0, 0, 0)}
    assert classes(one) == {"personal"}
    clock.move_to(MORNING + 396 * DAY - SECOND)
    assert services.purge().erased == 0
    clock.move_to(MORNING + 396 * DAY)
    assert numbers(services.purge())["decision_log"] == (1, 0, 0)
    assert classes(one) == {"personal", "content"}
    events: Any = list(selectors.events(one))
    told = [event["params"] for event in events if event["kind"] == "pii.purged"]
    assert [(said["rule"], said["because"], said["classes"]) for said in told] == [
        ("personal", "retention", ["personal"]), ("decision_log", "retention", ["content"]),
    ]  # fmt: skip
    assert selectors.verify_session(one).problems == []
    assert verify_artifact(services.get_artifact(one, disclose="all")).ok


def test_a_live_session_is_not_purged(opened: Any, clock: Any) -> None:
    """A5: nor one whose deadline is long past, before it has been ended."""
    opened()
    clock.shift(500 * DAY)
    assert services.purge().erased == 0
    services.expire_sessions()
    assert services.purge().erased == 2  # its time began with its deadline, whenever somebody noticed


def ordered(opened: Any, shop: Any, **settings: Any) -> uuid.UUID:
    one = opened()
    call("cart.add", one, item_id="mug", quantity=1)
    answer = call("checkout", one)
    handoff = selectors.handoff_by_token(answer.data["handoff_url"].rsplit("/", 1)[1])
    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
    return uuid.UUID(str(one.session_id))


@pytest.mark.parametrize("ends", [True, False])
def test_an_order_starts_the_clock_of_its_evidence(
    opened: Any, shop: Any, clock: Any, configure: Any, ends: bool
) -> None:
    """A5: also where the checkout had ended the session before."""
    configure(END_ON_HANDOFF=ends)
    one = ordered(opened, shop)
    assert Session.objects.get(pk=one).ordered_at == MORNING
    clock.move_to(MORNING + 396 * DAY)
    assert numbers(services.purge()) == {"personal": (1, 0, 0), "decision_log": (0, 0, 0), "order_evidence": (0, 0, 0)}
    clock.move_to(MORNING + 400 * DAY)
    assert numbers(services.purge())["order_evidence"] == (1, 0, 0)


def test_an_order_is_evidence_for_the_whole_family(opened: Any, shop: Any, clock: Any, configure: Any) -> None:
    """A5: for those that came before it, and those that are opened after it."""
    configure(END_ON_HANDOFF=False)
    root = opened()
    call("cart.add", root, item_id="mug", quantity=1)
    before = services.fork_session(root.session_id)
    stranger = opened()
    answer = call("checkout", root)
    handoff = selectors.handoff_by_token(answer.data["handoff_url"].rsplit("/", 1)[1])
    services.complete_handoff(handoff.id, version=handoff.version, order_ref="A-1")
    after = renew(before).opened
    found = dict(Session.objects.values_list("pk", "ordered_at"))
    assert [found[one.session_id] for one in (root, before, after, stranger)] == [MORNING, MORNING, MORNING, None]


def test_a_checkout_that_can_still_be_paid_keeps_its_session(
    opened: Any, shop: Any, clock: Any, configure: Any
) -> None:
    configure(RETENTION={"personal": {"maximum_days": 0}})
    one = opened()
    call("cart.add", one, item_id="mug", quantity=1)
    call("checkout", one)
    assert services.purge().erased == 0
    clock.move_to(CheckoutHandoff.objects.get().expires_at)
    assert services.purge().erased == 1


def test_held_sessions_are_counted_and_kept(opened: Any, clock: Any) -> None:
    """A6: a hold beats the purge, until it is lifted."""
    held, _free = ended_one(opened), ended_one(opened)
    staff = Actor("staff", "1")
    hold = services.place_legal_hold(scope="session", session_id=held, matter="M", actor=staff)
    kept = selectors.current_state(held).state
    clock.shift(400 * DAY)
    report = services.purge()
    assert numbers(report) == {"personal": (1, 1, 0), "decision_log": (1, 1, 0), "order_evidence": (0, 0, 0)}
    assert (report.held, report.remaining) == (2, False)
    assert selectors.current_state(held).state == kept
    services.lift_legal_hold(hold.hold_id, reason="over", actor=staff)
    assert services.purge().erased == 2
    assert classes(held) == {"personal", "content"}


def test_a_run_counts_the_oldest_that_it_leaves_and_misses_no_younger(
    opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A5: with a large backlog counting all of it would cost every run more than erasing."""
    monkeypatch.setattr(purging, "_COUNTED", 2)
    ids = []
    for number in range(5):
        clock.move_to(MORNING + number * SECOND)
        ids.append(ended_one(opened))
    for one in ids[:3]:
        services.place_legal_hold(scope="session", session_id=one, matter="M", actor=Actor("staff", "1"))
    clock.shift(30 * DAY)
    first, second = services.purge(limit=1), services.purge(limit=1)
    assert [(one.erased, one.held, one.remaining) for one in (first, second)] == [(1, 2, True), (1, 2, False)]
    assert services.purge(dry_run=True).held == 3


def test_what_is_in_quarantine_is_reported_and_kept(opened: Any, clock: Any) -> None:
    one = ended_one(opened)
    Tamper(one).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(one))
    clock.shift(400 * DAY)
    before = everything_stored()
    report = services.purge()
    assert [rule.left.quarantined for rule in report.rules] == [1, 1, 0]
    assert everything_stored() == before


def test_a_dry_run_reports_by_rule_and_changes_nothing(opened: Any, clock: Any) -> None:
    """A5: also what will be due at a time to come."""
    for _ in range(3):
        ended_one(opened)
    before = everything_stored()
    report = services.purge(dry_run=True, now=MORNING + 30 * DAY)
    assert [(one.rule.name, one.found, one.erased) for one in report.rules] == [
        ("personal", 3, 0), ("decision_log", 0, 0), ("order_evidence", 0, 0),
    ]  # fmt: skip
    assert [one.left.next_due for one in report.rules] == [None, MORNING + 396 * DAY, None]
    assert everything_stored() == before


def test_a_run_stops_at_its_limit_and_the_next_goes_on(
    opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "BATCH", 2)
    for number in range(5):
        clock.move_to(MORNING + number * SECOND)
        ended_one(opened)
    clock.shift(30 * DAY)
    told: list[int] = []
    report = services.purge(limit=3, progress=lambda _rule, erased: told.append(erased))
    assert (report.erased, report.remaining, told) == (3, True, [2, 3])
    left = Session.objects.filter(personal_erased_at=None).order_by("ended_at")
    assert [row.ended_at for row in left] == [MORNING + 3 * SECOND, MORNING + 4 * SECOND]  # the oldest went first
    assert (services.purge(limit=3).erased, services.purge().erased) == (2, 0)


def test_one_that_fails_holds_up_no_other(
    opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R5"""
    ids = [ended_one(opened) for _ in range(4)]
    clock.shift(30 * DAY)
    erase_all = erasing.erase_all

    def failing(heads: Any, *args: Any, **kwargs: Any) -> Any:
        done = erase_all(heads, *args, **kwargs)
        if ids[1] in [head.session_id for head in heads]:
            raise SessionBusy(f"Session {ids[1]}")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(purging, "erase_all", failing)
        report = services.purge()
    assert numbers(report)["personal"] == (3, 0, 1)
    assert not report.remaining
    assert str(ids[1]) in caplog.text
    assert [bool(classes(one)) for one in ids] == [True, False, True, True]
    assert services.purge().erased == 1


@pytest.mark.parametrize(
    ("rules", "kept_until"),
    [
        ({"own": {"class": "personal", "starts": "end", "maximum_days": 60, "basis": "B"}}, 60),
        ({"own": {"class": "personal", "starts": "end", "maximum_days": 7, "basis": "B"}}, 30),
        ({"personal": {"maximum_days": 500}}, 500),
        ({"bank": {"class": "personal", "starts": "end", "maximum_days": 60, "basis": "B", "merchants": ["b"]}}, 30),
        ({"bank": {"class": "personal", "starts": "end", "maximum_days": 60, "basis": "B", "kinds": ["standard"]}}, 60),
    ],
)
def test_the_longest_rule_decides(opened: Any, clock: Any, configure: Any, rules: Any, kept_until: int) -> None:
    """A5: and content is kept no shorter than what is personal in it, for it would take that along."""
    configure(RETENTION=rules)
    one = ended_one(opened)
    clock.move_to(MORNING + kept_until * DAY - SECOND)
    services.purge()
    assert classes(one) == set()
    clock.move_to(MORNING + kept_until * DAY)
    services.purge()
    assert "personal" in classes(one)


def test_personal_alone_may_be_switched_off(opened: Any, clock: Any, configure: Any) -> None:
    configure(RETENTION={"personal": None})
    one = ended_one(opened)
    clock.shift(396 * DAY)
    assert numbers(services.purge()) == {"decision_log": (1, 0, 0), "order_evidence": (0, 0, 0)}
    assert classes(one) == {"personal", "content"}


def test_a_key_that_was_lost_before_is_noted_as_erased(opened: Any, clock: Any) -> None:
    """A5: the row says what is done, so that nobody tries for ever."""
    one = ended_one(opened)
    SessionKey.objects.filter(pk=one).delete()
    clock.shift(400 * DAY)
    assert services.purge().erased == 2
    assert services.purge().erased == 0


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": True}, {"pause": -1}, {"pause": float("nan")}])
def test_a_limit_is_a_number_from_one_and_a_pause_from_none(wrong: Any) -> None:
    with pytest.raises(InvalidValue):
        services.purge(**wrong)


def test_nothing_is_erased_before_its_time(opened: Any, clock: Any) -> None:
    one = ended_one(opened)
    with pytest.raises(InvalidValue):
        services.purge(now=timezone.now() + 30 * DAY)
    assert classes(one) == set()


def test_what_was_purged_is_not_read_again_from_anywhere(opened: Any, clock: Any) -> None:
    one = ended_one(opened)
    selectors.current_state(one)
    clock.shift(400 * DAY)
    services.purge()
    with pytest.raises(ContentErased):
        selectors.current_state(one)


# What a person asks for


def test_a_person_may_be_erased_at_once(opened: Any, clock: Any) -> None:
    """A7: neither the personal class nor a decision log has a minimum."""
    one = ended_one(opened)
    clock.shift(DAY)
    earliest = selectors.earliest_erasure(selectors.read_head(one))
    assert {name: (when.at, when.rule) for name, when in earliest.items()} == {
        "personal": (MORNING, ""), "content": (MORNING, ""),
    }  # fmt: skip


def test_order_evidence_is_kept_for_its_minimum(opened: Any, shop: Any, clock: Any) -> None:
    one = ordered(opened, shop)
    earliest = selectors.earliest_erasure(selectors.read_head(one))
    assert (earliest["content"].at, earliest["content"].rule) == (MORNING + 380 * DAY, "order_evidence")
    assert earliest["personal"].rule == ""


def test_the_minimum_of_what_is_personal_counts_for_the_content(opened: Any, clock: Any, configure: Any) -> None:
    configure(RETENTION={"personal": {"minimum_days": 10}})
    one = ended_one(opened)
    earliest = selectors.earliest_erasure(selectors.read_head(one))
    assert [(earliest[name].at, earliest[name].rule) for name in ("personal", "content")] == [
        (MORNING + 10 * DAY, "personal")
    ] * 2
    clock.shift(30 * DAY)
    services.purge()
    assert selectors.earliest_erasure(selectors.read_head(one)).keys() == {"content"}


def test_when_the_purge_comes_is_told_beforehand(opened: Any, shop: Any, clock: Any, configure: Any) -> None:
    """A5: the longest rule that covers a session; content is kept no shorter than what is personal in it."""

    def latest(one: uuid.UUID) -> dict[str, tuple[timedelta, str]]:
        told = selectors.latest_erasure(selectors.get_session(one))
        return {name: (when.at - MORNING, when.rule.name) for name, when in told.items()}

    one = ended_one(opened)
    assert latest(one) == {"personal": (30 * DAY, "personal"), "content": (396 * DAY, "decision_log")}
    assert latest(ordered(opened, shop))["content"] == (400 * DAY, "order_evidence")
    configure(RETENTION={"personal": {"maximum_days": 500}})
    assert latest(one) == {"personal": (500 * DAY, "personal"), "content": (500 * DAY, "personal")}
    configure(RETENTION={"decision_log": None})
    clock.shift(30 * DAY)
    services.purge()
    assert latest(one) == {}, "no rule is about what is left"
    assert latest(opened().session_id) == {}, "it has not ended"


def test_a_session_that_was_revoked_is_purged_like_any_other(opened: Any, clock: Any) -> None:
    one = opened()
    services.end_session(one.session_id, reason=EndReason.REVOKED)
    clock.shift(30 * DAY)
    assert services.purge().erased == 1
