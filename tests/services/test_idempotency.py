"""A write that is sent again: one effect and one answer under one key, in one transaction, for a day (V7)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    ContentErased,
    IdempotencyKeyReused,
    InvalidToken,
    InvalidValue,
    RequestInProgress,
    SealBroken,
    VersionConflict,
)
from agent_sessions.models import IdempotencyRecord, Session, SessionKey
from agent_sessions.selectors import SessionHead
from agent_sessions.services import Claim, OpenedSession, idempotency
from agent_sessions.services._quarantine import quarantine
from tests.conftest import MORNING
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"


@pytest.fixture
def head(opened: Callable[..., OpenedSession], clock: Any) -> SessionHead:
    return selectors.read_head(opened().session_id)


def claim(head: SessionHead | None, key: str = KEY, operation: str = "cart.add", **facts: Any) -> Claim | bytes:
    return services.claim_key(head, **{"operation": operation, "key": key, "request": b"{}", **facts})


def claimed(head: SessionHead | None, **facts: Any) -> Claim:
    made = claim(head, **facts)
    assert isinstance(made, Claim)
    return made


def answered(head: SessionHead | None, answer: bytes = b"blue", **facts: Any) -> None:
    """Carry a request out and keep its answer."""
    claimed(head, **facts).complete(lambda: answer, lambda done: done)


def view_item(session: SessionHead) -> int:
    return services.record_event(session.session_id, kind="item.viewed").seq


def events(session: SessionHead) -> int:
    return len(selectors.events(session.session_id))


# Whose a key is


def test_what_was_answered_is_answered_again(head: SessionHead) -> None:
    answered(head, b"blue")

    assert claim(head) == b"blue"
    assert claim(head) == b"blue"


@pytest.mark.parametrize(
    "other", [{"operation": "cart.remove"}, {"key": KEY.upper()}], ids=["another operation", "another key"]
)
def test_another_operation_and_another_key_are_another_request(head: SessionHead, other: dict[str, Any]) -> None:
    answered(head)

    assert isinstance(claim(head, **other), Claim)


def test_the_key_of_one_session_says_nothing_in_another(head: SessionHead, opened: Any) -> None:
    answered(head)

    assert isinstance(claim(selectors.read_head(opened().session_id)), Claim)


def test_without_a_session_the_key_is_the_callers(head: SessionHead) -> None:
    answered(None, b"one", caller="a")
    answered(None, b"two", caller="b")
    answered(head, b"three")

    assert [claim(None, caller="a"), claim(None, caller="b"), claim(head)] == [b"one", b"two", b"three"]


def test_the_parts_of_what_a_key_is_for_cannot_run_into_each_other(head: SessionHead) -> None:
    answered(head, operation="cart", key="addx")

    assert isinstance(claim(head, operation="cartadd", key="x"), Claim)


def test_another_request_under_a_key_is_refused_running_answered_or_left_behind(head: SessionHead, clock: Any) -> None:
    running = claimed(head)
    with pytest.raises(IdempotencyKeyReused):
        claim(head, request=b"other")
    clock.shift(timedelta(minutes=2))
    with pytest.raises(IdempotencyKeyReused):
        claim(head, request=b"other")

    running.complete(lambda: b"", lambda done: done)
    with pytest.raises(IdempotencyKeyReused) as refused:
        claim(head, request=b"other")
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")


# While it runs, and when it is gone


def test_who_comes_while_it_runs_is_told_to_wait_longer_and_longer(head: SessionHead, clock: Any) -> None:
    claimed(head)
    waits = []
    for seconds in (0, 0.5, 3, 20, 59):
        clock.move_to(MORNING + timedelta(seconds=seconds))
        with pytest.raises(RequestInProgress) as refused:
            claim(head)
        waits.append(refused.value.retry_after)

    assert waits == [1, 1, 3, 20, 1]
    assert (refused.value.status, refused.value.code) == (409, "request_in_progress")


def test_what_was_left_behind_is_taken_over_after_a_minute_and_runs_once(head: SessionHead, clock: Any) -> None:
    """A process that was killed after its claim has had no effect."""
    left = claimed(head)
    clock.shift(timedelta(seconds=61))

    taken = claimed(head)
    taken.complete(lambda: view_item(head), lambda seq: str(seq).encode())

    assert claim(head) == b"2"
    # The one that was thought dead is only slow: it must not have its effect too, nor free the key.
    with pytest.raises(RequestInProgress):
        left.complete(lambda: view_item(head), lambda seq: str(seq).encode())
    left.release()
    assert events(head) == 2
    assert claim(head) == b"2"


def test_who_is_overtaken_while_it_runs_undoes_what_it_did(head: SessionHead, clock: Any) -> None:
    slow = claimed(head)
    clock.shift(timedelta(seconds=61))
    claimed(head)

    with pytest.raises(RequestInProgress):
        slow.complete(lambda: view_item(head), lambda _: b"")

    assert events(head) == 1


def test_who_is_slow_and_done_after_all_is_not_overtaken(
    head: SessionHead, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its answer while another looks whether it is still running."""
    slow = claimed(head)
    clock.shift(timedelta(seconds=61))
    look: Callable[..., None] = idempotency._require_over

    def look_while_it_is_done(*facts: Any) -> None:
        look(*facts)
        slow.complete(lambda: view_item(head), lambda _: b"viewed")

    monkeypatch.setattr(idempotency, "_require_over", look_while_it_is_done)

    assert claim(head) == b"viewed"
    assert events(head) == 2


def test_a_released_key_is_free_for_any_request(head: SessionHead) -> None:
    claimed(head).release()

    answered(head, b"corrected", request=b"other")

    assert claim(head, request=b"other") == b"corrected"


def test_what_was_answered_is_not_released(head: SessionHead) -> None:
    """A lost answer to COMMIT: whoever believes that nothing was stored must not throw away what was."""
    lost = claimed(head)
    lost.complete(lambda: view_item(head), lambda _: b"viewed")

    lost.release()

    assert claim(head) == b"viewed"


# Effect and answer


def test_effect_and_answer_are_stored_together_or_not_at_all(head: SessionHead) -> None:
    def fail(seq: int) -> bytes:
        raise RuntimeError(f"event {seq} cannot be told")

    running = claimed(head)
    with pytest.raises(RuntimeError):
        running.complete(lambda: view_item(head), fail)

    assert events(head) == 1
    assert not running.kept
    with pytest.raises(RequestInProgress):
        claim(head)


def test_what_has_no_answer_keeps_its_effect_and_frees_the_key(head: SessionHead) -> None:
    """A refusal that is recorded in the history."""
    claimed(head).complete(lambda: view_item(head), lambda _: None)

    assert events(head) == 2
    assert isinstance(claim(head), Claim)


@pytest.mark.django_db(transaction=True)
def test_it_runs_again_when_the_database_asks_for_that(head: SessionHead) -> None:
    runs = []

    def act() -> int:
        runs.append(view_item(head))
        if len(runs) == 1:
            raise OperationalError("database is locked")
        return runs[-1]

    claimed(head).complete(act, lambda seq: str(seq).encode())

    assert runs == [2, 2]
    assert events(head) == 2
    assert claim(head) == b"2"


# A day


def test_after_a_day_a_key_is_new_again(head: SessionHead, clock: Any) -> None:
    answered(head, b"blue")
    clock.shift(timedelta(hours=23, minutes=59))
    assert claim(head) == b"blue"
    clock.shift(timedelta(minutes=1))

    answered(head, b"green", request=b"other")

    assert claim(head, request=b"other") == b"green"
    clock.shift(timedelta(hours=23))
    assert claim(head, request=b"other") == b"green"


def test_what_is_a_day_old_is_purged_in_batches(head: SessionHead, clock: Any) -> None:
    for number in range(5):
        answered(head, key=f"old {number}")
    clock.shift(timedelta(hours=12))
    answered(head, b"young", key="young")
    clock.shift(timedelta(hours=12))

    assert selectors.due_sessions().answers == 5
    assert [services.purge_idempotency_records(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert claim(head, key="young") == b"young"
    assert IdempotencyRecord.objects.count() == 1


@pytest.mark.parametrize("limit", [-1, True, "all"])
def test_a_purge_without_a_sensible_limit_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidValue):
        services.purge_idempotency_records(limit=limit)


def test_the_job_of_every_minute_purges(opened: Any, head: SessionHead, clock: Any) -> None:
    for number in range(12):
        answered(head, key=f"old {number}")
    clock.shift(timedelta(hours=24))

    assert services.expire_sessions(limit=1).purged == 10
    assert services.expire_sessions(limit=1).purged == 2


# What is stored


def test_neither_answer_nor_request_can_be_read_in_the_database(head: SessionHead, provider: Any) -> None:
    """V7, A7: sealed, and the request only as a digest that nobody can guess at without the key."""
    secret, asked = b"a link for Ada Lovelace", b'{"message":"call me"}'
    answered(head, secret, key="with a session", request=asked)
    answered(None, secret, key="without a session", request=asked, caller="c")

    assert IdempotencyRecord.objects.count() == 2
    for text in (secret, asked, b"with a session", b"without a session", hashlib.sha256(asked).digest()):
        assert not is_stored(text)
    first, second = IdempotencyRecord.objects.all()
    assert bytes(first.fingerprint) != bytes(second.fingerprint)


def test_an_answer_goes_with_its_sessions_key(head: SessionHead) -> None:
    """A7: what is erased is not told again, and not done again either."""
    answered(head)
    SessionKey.objects.filter(pk=head.session_id).delete()

    with pytest.raises(ContentErased):
        claim(selectors.read_head(head.session_id))


def test_an_answer_opens_only_where_it_was_given(head: SessionHead) -> None:
    answered(head, b"one", key="one")
    answered(head, b"two", key="two")
    one, two = IdempotencyRecord.objects.order_by("claimed_at", "digest")
    IdempotencyRecord.objects.filter(pk=one.pk).update(answer=two.answer)
    IdempotencyRecord.objects.filter(pk=two.pk).update(answer=one.answer)

    for key in ("one", "two"):
        with pytest.raises(SealBroken):
            claim(head, key=key)


def test_records_go_with_their_session(head: SessionHead, opened: Any) -> None:
    answered(head)
    answered(selectors.read_head(opened().session_id))

    Session.objects.filter(pk=head.session_id).delete()

    assert IdempotencyRecord.objects.count() == 1


def test_the_answer_of_an_opening_is_under_the_new_sessions_key(opened: Any, clock: Any) -> None:
    opening = claimed(None, caller="c")

    def act() -> OpenedSession:
        made = opened()
        opening.session_id = made.session_id
        return made

    made = opening.complete(act, lambda done: done.token.encode())

    assert claim(None, caller="c") == made.token.encode()
    assert IdempotencyRecord.objects.get().session_id == made.session_id
    SessionKey.objects.all().delete()
    with pytest.raises(ContentErased):
        claim(None, caller="c")


# Whose token still counts


def test_a_session_that_has_ended_is_told_what_it_was_answered(opened: Any, clock: Any) -> None:
    one, other = opened(), opened()
    services.end_session(one.session_id, reason=EndReason.COMPLETED)
    clock.shift(timedelta(hours=1))

    assert selectors.authenticate_repeat(one.token).session_id == one.session_id
    assert selectors.authenticate_repeat(other.token).session_id == other.session_id, "past its deadline"


@pytest.mark.parametrize("gone", ["revoked", "key revoked", "quarantined", "erased", "forged"])
def test_who_has_lost_the_right_is_told_nothing(opened: Any, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: the same answer as to any dead token."""
    one = opened()
    token = one.token
    if gone == "revoked":
        services.end_session(one.session_id, reason=EndReason.REVOKED)
    elif gone == "key revoked":
        monkeypatch.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
        services.revoke_all_sessions(reason="stolen")
        assert selectors.read_head(one.session_id).is_live(), "nobody has come by to end it"
    elif gone == "quarantined":
        quarantine(one.session_id, "for this test")
    elif gone == "erased":
        services.end_session(one.session_id)
        SessionKey.objects.filter(pk=one.session_id).delete()
    else:
        token = token[:-1] + ("A" if token[-1] != "A" else "Q")

    with pytest.raises(InvalidToken):
        selectors.authenticate_repeat(token)


# From Python


def change(head: SessionHead, note: str = "x") -> dict[str, Any]:
    made = services.change_session(head.session_id, expected_version=1, patch={"agent": {"note": note}})
    return {"version": made.version}


def test_run_once_runs_once(head: SessionHead) -> None:
    facts = {"operation": "order.noted", "key": KEY, "request": {"order": 17, "paid": None}}

    first = services.run_once(head.session_id, lambda: change(head), **facts)
    again = services.run_once(head, lambda: change(head), **{**facts, "request": {"paid": None, "order": 17}})

    assert first == again == {"version": 2}
    with pytest.raises(IdempotencyKeyReused):
        services.run_once(head, lambda: change(head), **{**facts, "request": {"order": 18}})


def test_what_run_once_raises_frees_the_key_and_leaves_nothing(head: SessionHead) -> None:
    facts = {"operation": "order.noted", "key": KEY, "request": {}}
    before = everything_stored()

    def change_twice() -> dict[str, Any]:
        change(head)
        return change(head)

    with pytest.raises(VersionConflict):
        services.run_once(head, change_twice, **facts)

    assert everything_stored() == before
    assert services.run_once(head, lambda: change(head), **facts) == {"version": 2}


def test_run_once_inside_a_transaction_commits_and_rolls_back_with_it(head: SessionHead) -> None:
    facts = {"operation": "order.noted", "key": KEY, "request": {}}

    with transaction.atomic():
        services.run_once(head, lambda: change(head), **facts)
        transaction.set_rollback(True)

    assert selectors.read_head(head.session_id).version == 1
    assert services.run_once(head, lambda: change(head), **facts) == {"version": 2}


def test_a_caller_without_a_session_can_run_once_too() -> None:
    done: list[uuid.UUID] = []

    def act() -> str:
        done.append(uuid.uuid4())
        return str(done[-1])

    facts = {"operation": "webhook", "key": KEY, "request": {"id": "evt_1"}, "caller": "provider"}
    assert services.run_once(None, act, **facts) == services.run_once(None, act, **facts) == str(done[0])
    assert len(done) == 1


def test_claiming_costs_one_statement_and_completing_three(head: SessionHead, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        running = claimed(head)
    # The lock, whose key it is sealed with, and the answer; around them a transaction.
    with django_assert_num_queries(3 + 2):
        running.complete(lambda: None, lambda _: b"x")
