"""A human pays for exactly the cart that they saw, once, and only by the link that is in force."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from django.test import RequestFactory

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    AgentSessionsError,
    HandoffClosed,
    HandoffNotFound,
    InvalidValue,
    SessionBusy,
    VersionConflict,
)
from agent_sessions.models import Artifact, CheckoutHandoff
from agent_sessions.selectors.handoffs import SESSION_KEY
from agent_sessions.services import Answer, OpenedSession
from agent_sessions.store import Handoff, HandoffStatus
from tests.conftest import MORNING
from tests.faults.support import at_once, half_done
from tests.shopping import variables
from tests.store.calling import call, head, last_event, quantities, state
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def staying(shop: Any, configure: Any) -> None:
    """A site whose sessions go on after the handoff."""
    configure(END_ON_HANDOFF=False)


def cart_of(opened: Any) -> OpenedSession:
    one: OpenedSession = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    return one


def token_of(answer: Answer) -> str:
    return str(answer.data["handoff_url"].rsplit("/", 1)[1])


def handed(session: Any) -> Handoff:
    return selectors.handoff_by_token(token_of(call("checkout", session)))


def pay(handoff: Handoff, version: int | None = None, order_ref: str = "A-1") -> None:
    services.complete_handoff(handoff.id, version=version or handoff.version, order_ref=order_ref)


# Making the link


def test_checkout_makes_a_version_a_link_and_the_end(shop: Any, opened: Any, clock: Any) -> None:
    one = cart_of(opened)
    answer = call("checkout", one)

    data = answer.data
    assert data["handoff_url"] == data["checkout_url"]
    assert data["handoff_url"].startswith("https://shop.example/agent-sessions/handoff/")
    assert (data["human_handoff"], data["expires_at"], data["cart"]["total"]) == (
        True, "2026-03-02T13:00:00.000000Z", "25.00",
    )  # fmt: skip
    kinds = [event["kind"] for event in selectors.events(one.session_id)]
    assert kinds == ["session.created", "cart.item_added", "checkout.handed_over", "session.ended"]
    assert (answer.version, head(one).version, head(one).end_reason) == (4, 4, "completed")
    assert Artifact.objects.filter(pk=one.session_id).exists()
    handoff = selectors.handoff_by_token(token_of(answer))
    assert (handoff.status, handoff.handed_version, handoff.version) == (HandoffStatus.OPEN, 3, 3)
    assert (handoff.session_id, handoff.agent_name, handoff.can_be_paid) == (one.session_id, "Shopping helper", True)
    assert handoff.state["shopping"]["lines"].keys() == {"mug"}


def test_a_site_may_let_the_session_go_on(staying: None, opened: Any, clock: Any) -> None:
    one = cart_of(opened)
    answer = call("checkout", one)
    assert (answer.version, head(one).ended_at) == (3, None)
    assert answer.data["expires_at"] == "2026-03-02T10:30:00.000000Z"  # the session's own, which comes first
    call("cart.add", one, item_id="plate")


@pytest.mark.parametrize("step", ["make_link", "end_session"])
@pytest.mark.django_db(transaction=True)
def test_a_checkout_that_fails_halfway_leaves_nothing_but_its_refusal(
    shop: Any, opened: Any, configure: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    configure(AUDIT=False)
    one = cart_of(opened)
    before = everything_stored()

    def failing(*args: Any, **facts: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(f"agent_sessions.services.calls.{step}", failing)
        with pytest.raises(RuntimeError):
            call("checkout", one, instructions="ring twice")

    assert everything_stored() == before
    assert half_done(one.session_id) == []
    assert call("checkout", one).version == 4  # also from what this process remembers


@pytest.mark.django_db(transaction=True)
def test_a_checkout_that_the_database_locks_out_is_repeated_as_a_whole(
    shop: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent_sessions.services import calls

    ends: list[int] = []
    real = calls.end_session

    def locked_at_first(*args: Any, **facts: Any) -> Any:
        ends.append(1)
        if len(ends) == 1:
            raise OperationalError("database is locked")
        return real(*args, **facts)

    monkeypatch.setattr(calls, "end_session", locked_at_first)
    one = cart_of(opened)
    assert call("checkout", one).version == 4
    assert (len(ends), CheckoutHandoff.objects.count()) == (2, 1)
    assert half_done(one.session_id) == []


def test_the_links_token_is_stored_as_a_digest_only(shop: Any, opened: Any) -> None:
    token = token_of(call("checkout", cart_of(opened)))
    assert len(token) >= 43
    assert not is_stored(token)


@pytest.mark.parametrize("token", ["", "x", "ü", "\ud800", "\0", "x" * 10_000])
def test_a_link_that_was_never_made_is_not_found(token: str) -> None:
    with pytest.raises(HandoffNotFound):
        selectors.handoff_by_token(token)


def test_an_id_that_was_never_made_is_not_found() -> None:
    for ask in (selectors.get_handoff, services.note_handoff_opened):
        with pytest.raises(HandoffNotFound):
            ask(uuid.uuid4())
    with pytest.raises(HandoffNotFound):
        services.complete_handoff(uuid.uuid4(), version=1, order_ref="A-1")


# What becomes of it


def test_a_newer_link_replaces_the_older_one(staying: None, opened: Any) -> None:
    one = cart_of(opened)
    first, second = handed(one), handed(one)
    assert selectors.get_handoff(first.id).status is HandoffStatus.REPLACED
    with pytest.raises(HandoffClosed) as closed:
        pay(first)
    assert (closed.value.status, closed.value.handoff_status) == (409, "replaced")
    pay(second)


def test_it_can_be_paid_until_its_time_has_passed(shop: Any, opened: Any, clock: Any) -> None:
    handoff = handed(cart_of(opened))
    clock.move_to(MORNING + timedelta(hours=3) - SECOND)
    assert selectors.get_handoff(handoff.id).status is HandoffStatus.OPEN
    clock.shift(1)
    assert selectors.get_handoff(handoff.id).status is HandoffStatus.EXPIRED
    with pytest.raises(HandoffClosed, match="time to pay"):
        pay(handoff)


@pytest.mark.parametrize("reason", [EndReason.DELETED, EndReason.REVOKED])
def test_the_agent_can_take_it_back_by_ending_the_session(staying: None, opened: Any, reason: EndReason) -> None:
    one = cart_of(opened)
    handoff = handed(one)
    services.end_session(one.session_id, reason=reason)
    assert selectors.get_handoff(handoff.id).status is HandoffStatus.ENDED
    with pytest.raises(HandoffClosed, match="session has ended"):
        pay(handoff)


def test_of_a_revoked_session_nothing_can_be_paid(staying: None, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the job has come by to end it."""
    handoff = handed(cart_of(opened))
    monkeypatch.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
    services.revoke_all_sessions(reason="a laptop was stolen")
    with pytest.raises(HandoffClosed) as closed:
        pay(handoff)
    assert closed.value.handoff_status == "ended"
    assert selectors.get_handoff(handoff.id).order_ref == ""


def test_a_changed_cart_is_shown_as_it_is_now_and_paid_only_as_seen(staying: None, opened: Any) -> None:
    one = cart_of(opened)
    first = handed(one)
    call("cart.add", one, item_id="plate")

    seen = selectors.get_handoff(first.id)

    assert (seen.status, seen.handed_version, seen.version) == (HandoffStatus.CHANGED, 3, 4)
    assert seen.state["shopping"]["lines"].keys() == {"mug", "plate"}
    with pytest.raises(VersionConflict) as refused:
        pay(first)
    assert (refused.value.expected, refused.value.current) == (3, 4)
    assert [change.text for change in refused.value.changes][:1] == ["Added 1 × Plate at 9.00 EUR"]
    pay(seen)
    assert selectors.get_handoff(first.id).order_ref == "A-1"


def test_a_newer_version_with_the_same_cart_leaves_it_open(staying: None, opened: Any) -> None:
    one = cart_of(opened)
    handoff = handed(one)
    services.change_session(one.session_id, expected_version=3, patch=variables(thought="it is a gift"))
    seen = selectors.get_handoff(handoff.id)
    assert (seen.status, seen.handed_version, seen.version) == (HandoffStatus.OPEN, 3, 4)
    pay(seen)


def test_reads_of_the_agent_change_nothing_for_the_human(staying: None, opened: Any) -> None:
    one = cart_of(opened)
    handoff = handed(one)
    call("cart.view", one)
    pay(handoff)


# Paying


def test_the_order_ends_a_live_session_and_stands_in_its_history(staying: None, opened: Any) -> None:
    one = cart_of(opened)
    handoff = handed(one)
    pay(handoff, order_ref="A-17")
    event = last_event(one)
    assert (event["kind"], event["actor"], event["params"]["order"]) == ("session.ended", "consumer", "A-17")
    assert (head(one).end_reason, quantities(one)) == ("completed", {"mug": 2})
    now = selectors.get_handoff(handoff.id)
    assert (now.status, now.order_ref, now.can_be_paid) == (HandoffStatus.ORDERED, "A-17", False)


@pytest.mark.parametrize("ends", [True, False])
def test_twice_is_told_which_order_it_has_become(shop: Any, opened: Any, configure: Any, ends: bool) -> None:
    configure(END_ON_HANDOFF=ends)
    handoff = handed(cart_of(opened))
    pay(handoff, order_ref="A-1")
    before = everything_stored()
    with pytest.raises(HandoffClosed, match="ordered: A-1") as closed:
        pay(handoff, order_ref="A-2")
    assert (closed.value.handoff_status, closed.value.order_ref) == ("ordered", "A-1")
    assert everything_stored() == before


@pytest.mark.parametrize("version", [1, 2, 4, 99])
@pytest.mark.parametrize("ends", [True, False])
def test_another_version_than_was_handed_over_is_not_paid(
    shop: Any, opened: Any, configure: Any, ends: bool, version: int
) -> None:
    configure(END_ON_HANDOFF=ends)
    handoff = handed(cart_of(opened))
    with pytest.raises(VersionConflict) as refused:
        pay(handoff, version)
    assert (refused.value.expected, refused.value.current) == (version, 3)
    assert selectors.get_handoff(handoff.id).status is HandoffStatus.OPEN


@pytest.mark.parametrize("order_ref", ["", "x" * 101, "a\0b", 7])
def test_an_order_needs_a_reference_that_can_be_kept(shop: Any, opened: Any, order_ref: Any) -> None:
    handoff = handed(cart_of(opened))
    with pytest.raises(InvalidValue):
        pay(handoff, order_ref=order_ref)
    assert selectors.get_handoff(handoff.id).status is HandoffStatus.OPEN


@pytest.mark.parametrize("version", [None, "3", True, 3.0])
def test_an_order_names_the_version_that_was_seen(staying: None, opened: Any, version: Any) -> None:
    handoff = handed(cart_of(opened))
    with pytest.raises(InvalidValue, match="/version"):
        services.complete_handoff(handoff.id, version=version, order_ref="A-1")
    assert selectors.get_handoff(handoff.id).status is HandoffStatus.OPEN


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", [True, False])
def test_it_commits_and_rolls_back_with_the_order(shop: Any, opened: Any, configure: Any, ends: bool) -> None:
    configure(END_ON_HANDOFF=ends)
    one = cart_of(opened)
    handoff = handed(one)
    before = everything_stored()
    with transaction.atomic():
        User.objects.create(username="order A-1")
        pay(handoff)
        transaction.set_rollback(True)
    assert everything_stored() == before

    with transaction.atomic():
        User.objects.create(username="order A-2")
        pay(handoff, order_ref="A-2")
    assert selectors.get_handoff(handoff.id).order_ref == "A-2"
    assert half_done(one.session_id) == []


def test_a_refusal_leaves_the_shops_transaction_usable(shop: Any, opened: Any) -> None:
    handoff = handed(cart_of(opened))
    with transaction.atomic():
        User.objects.create(username="someone")
        with pytest.raises(VersionConflict):
            pay(handoff, 99)
        assert User.objects.get().username == "someone"


def ordering(handoff_id: uuid.UUID, version: int, name: str) -> Callable[[], str]:
    """A shop that makes its order and completes the handoff in one transaction; locked out, it tries again."""

    def order() -> str:
        while True:
            try:
                with transaction.atomic():
                    User.objects.create(username=name)
                    services.complete_handoff(handoff_id, version=version, order_ref=name)
                return name
            except OperationalError as error:
                if "locked" not in str(error):
                    raise

    return order


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", [True, False])
def test_of_four_who_pay_at_once_one_makes_an_order(shop: Any, opened: Any, configure: Any, ends: bool) -> None:
    configure(END_ON_HANDOFF=ends)
    one = cart_of(opened)
    handoff = handed(one)

    results = at_once([ordering(handoff.id, handoff.version, f"A-{number}") for number in range(4)])

    made = [result for result in results if isinstance(result, str)]
    refused = [result for result in results if isinstance(result, HandoffClosed)]
    assert (len(made), len(refused)) == (1, 3), results
    assert {(one.handoff_status, one.order_ref) for one in refused} == {("ordered", made[0])}
    assert [user.username for user in User.objects.all()] == made
    assert selectors.get_handoff(handoff.id).order_ref == made[0]
    assert half_done(one.session_id) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("round_", range(6))
def test_between_paying_and_a_change_there_is_never_an_order_for_what_was_not_seen(
    staying: None, opened: Any, round_: int
) -> None:
    one = cart_of(opened)
    handoff = handed(one)
    gate = threading.Barrier(2)

    def change() -> Any:
        gate.wait(30)
        return call("cart.add", one, item_id="plate")

    def order() -> str:
        gate.wait(30)
        return ordering(handoff.id, handoff.version, "A-1")()

    paid, changed = at_once([order, change])

    if isinstance(paid, str):
        assert isinstance(changed, AgentSessionsError | SessionBusy), changed
        assert quantities(one) == {"mug": 2}
        assert state(one) == handoff.state
        assert User.objects.count() == 1
    else:
        assert isinstance(paid, VersionConflict), paid
        assert isinstance(changed, Answer), changed
        assert quantities(one) == {"mug": 2, "plate": 1}
        assert selectors.get_handoff(handoff.id).status is HandoffStatus.CHANGED
        assert User.objects.count() == 0
    assert half_done(one.session_id) == []


@pytest.mark.django_db(transaction=True)
def test_between_paying_and_a_new_checkout_one_of_the_two_links_is_in_force(staying: None, opened: Any) -> None:
    one = cart_of(opened)
    handoff = handed(one)
    paid, again = at_once([ordering(handoff.id, handoff.version, "A-1"), lambda: call("checkout", one)])
    orders = CheckoutHandoff.objects.exclude(order_ref="").count()
    if isinstance(paid, str):
        assert orders == 1
        if isinstance(again, Answer):
            raise AssertionError("A link was made for a session that was ordered.")
    else:
        assert isinstance(again, Answer), again
        assert isinstance(paid, HandoffClosed | VersionConflict), paid
        assert orders == 0
        assert selectors.handoff_by_token(token_of(again)).can_be_paid


# The human's way


def test_when_the_link_was_first_opened_is_kept(shop: Any, opened: Any, clock: Any) -> None:
    handoff = handed(cart_of(opened))
    clock.move_to(MORNING + SECOND)
    services.note_handoff_opened(handoff.id)
    clock.move_to(MORNING + 2 * SECOND)
    services.note_handoff_opened(handoff.id)
    assert CheckoutHandoff.objects.get().opened_at == MORNING + SECOND


def test_the_shop_finds_the_handoff_by_which_a_human_came(shop: Any, opened: Any) -> None:
    handoff = handed(cart_of(opened))
    request = RequestFactory().get("/checkout")
    assert selectors.handoff_of_request(request) is None
    request.session = {}  # type: ignore[assignment]
    assert selectors.handoff_of_request(request) is None
    request.session[SESSION_KEY] = str(handoff.id)
    assert selectors.handoff_of_request(request) == handoff
    request.session[SESSION_KEY] = str(uuid.uuid4())
    assert selectors.handoff_of_request(request) is None
