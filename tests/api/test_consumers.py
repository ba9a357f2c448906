"""A consumer's agents find each other, and a payment waits for the consumer's word on all of them (C1, C2)."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Lineage, Origin
from agent_sessions.exceptions import (
    AgentSessionsError,
    DevicesUnconfirmed,
    HandoffClosed,
    HandoffNotFound,
    InvalidAssertion,
    InvalidValue,
)
from agent_sessions.models import CheckoutHandoff, DeviceConfirmation
from agent_sessions.selectors._heads import lock_head
from agent_sessions.selectors.handoffs import stored_handoff
from tests.api.conftest import AgentClient
from tests.conftest import SHOPPING_AGENT
from tests.faults.support import at_once

pytestmark = pytest.mark.django_db
IN_PROGRESS = "/session/in-progress"


@pytest.fixture(autouse=True)
def goes_on(configure: Any) -> None:
    """Sessions go on after the handoff, so that devices stay."""
    configure(END_ON_HANDOFF=False)


def agent_of(reference: str, name: str = "", **facts: Any) -> AgentClient:
    """An agent with a session that acts for a consumer."""
    agent = AgentClient(headers={"X-Agent-Consumer": services.assert_consumer(reference, **facts).text})
    agent.open(agent_name=name)
    return agent


def head_of(agent: AgentClient) -> selectors.SessionHead:
    return selectors.session_of_token(agent.token)


def checkout(agent: AgentClient, *, fill: bool = True) -> CheckoutHandoff:
    if fill:
        agent.data("POST", "/cart", {"item_id": "mug"}, status=201)
    agent.data("POST", "/checkout")
    return CheckoutHandoff.objects.get(session_id=head_of(agent).session_id, closed_at__isnull=True)


def order(row: CheckoutHandoff, ref: str = "A-1") -> None:
    handoff = selectors.get_handoff(row.pk)
    services.complete_handoff(row.pk, version=handoff.version, order_ref=ref)


def test_a_session_belongs_to_the_consumer_whom_the_shop_vouches_for(agent: AgentClient) -> None:
    phone = agent_of("customer-7", "Phone")

    head = head_of(phone)
    assert head.consumer == services.consumer_pseudonym("customer-7")
    agent.open(consumer="customer-7", consumer_id="customer-7")
    assert head_of(agent).consumer == "", "a bare id in a body says nothing"


def test_all_agents_of_a_consumer_see_what_is_in_progress() -> None:
    phone, voice, other = agent_of("anna", "Phone"), agent_of("anna", "Voice"), agent_of("ben", "Phone")
    phone.data("POST", "/cart", {"item_id": "mug", "quantity": 2}, status=201)
    checkout(other)

    told = voice.data("GET", IN_PROGRESS)

    assert [(one["agent_name"], one["checkout"], one["cart"]["cart_size"]) for one in told] == [
        ("Voice", False, 0),
        ("Phone", False, 2),
    ]
    assert told[1]["session_id"] == str(head_of(phone).session_id)
    assert "token" not in str(told)
    # Before it opens a session of its own, an agent asks with the assertion alone.
    voice.token = ""
    assert len(voice.data("GET", IN_PROGRESS)) == 2
    assert voice.data("POST", "/session", {}, status=201)["in_progress"] == 2


def test_a_checkout_is_in_progress_after_its_session_has_ended_with_it(configure: Any) -> None:
    configure(END_ON_HANDOFF=True)
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    checkout(phone)

    told = voice.data("GET", IN_PROGRESS)

    assert [(one["agent_name"], one["status"], one["checkout"]) for one in told] == [
        ("Voice", "active", False),
        ("Phone", "ended", True),
    ]
    assert told[1]["checkout_until"]


@pytest.mark.parametrize("what", ["nothing", "forged", "expired", "revoked", "another merchant's token"])
def test_without_a_good_assertion_nobody_is_known(what: str, agent: AgentClient, clock: Any) -> None:
    text = {"nothing": "", "forged": "agc_" + "A" * 80}.get(what) or services.assert_consumer("anna").text
    if what == "nothing":
        text = ""
    if what == "expired":
        clock.shift(timedelta(days=1))
    if what == "revoked":
        services.revoke_all_sessions(reason="a leak")
    headers = {"X-Agent-Consumer": text} if text else {}
    if what == "another merchant's token":
        mine = agent_of("anna")
        headers["X-Agent-Session"] = mine.token
        headers["X-Agent-Consumer"] = services.assert_consumer("ben").text

    assert agent.refused(403, "GET", IN_PROGRESS, headers=headers)["code"] == "invalid_assertion"
    if text and what != "another merchant's token":
        assert agent.refused(403, "POST", "/session", {}, headers=headers)["code"] == "invalid_assertion"


def test_assertions_are_made_for_some_time_and_somebody() -> None:
    with pytest.raises(InvalidValue):
        services.assert_consumer("anna", lasts=timedelta(0))
    with pytest.raises(InvalidValue):
        services.assert_consumer("")
    with pytest.raises(InvalidAssertion):
        services.read_consumer("anything")
    known = services.read_consumer(services.assert_consumer("anna", merchant="tea").text)
    assert (known.consumer, known.merchant) == (services.consumer_pseudonym("anna", merchant="tea"), "tea")


def test_one_checkout_at_a_time() -> None:
    """C1: the second agent is told which session has it, and until when."""
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)
    voice.data("POST", "/cart", {"item_id": "mug"}, status=201)

    refusal = voice.refused(409, "POST", "/checkout")

    assert refusal["code"] == "checkout_elsewhere"
    assert refusal["details"]["session"] == str(head_of(phone).session_id)
    assert refusal["details"]["expires_at"] == row.expires_at.isoformat()
    assert CheckoutHandoff.objects.count() == 1
    assert head_of(voice).version == 2, "nothing was written"


def test_another_consumer_and_an_unknown_one_are_not_in_the_way(agent: AgentClient) -> None:
    checkout(agent_of("anna"))
    checkout(agent_of("ben"))
    agent.open()
    checkout(agent)
    stranger = AgentClient()
    stranger.open()

    assert checkout(stranger)


@pytest.mark.parametrize("over", ["ended", "expired link", "given up", "ordered"])
def test_the_next_one_begins_when_the_first_is_over(over: str, configure: Any, clock: Any) -> None:
    configure(HANDOFF_TTL=600)
    phone = agent_of("anna", "Phone")
    row = checkout(phone)
    if over == "ended":
        phone.data("DELETE", "/session")
    if over == "expired link":
        clock.move_to(row.expires_at)
    if over == "given up":
        phone.data("DELETE", f"{IN_PROGRESS}/{head_of(phone).session_id}")
    if over == "ordered":
        order(row)

    assert checkout(agent_of("anna", "Voice"))


def test_any_agent_of_the_consumer_gives_a_checkout_up() -> None:
    phone, voice, other = agent_of("anna", "Phone"), agent_of("anna", "Voice"), agent_of("ben")
    row = checkout(phone)
    place = f"{IN_PROGRESS}/{row.session_id}"

    assert other.refused(404, "DELETE", place)["code"] == "handoff_not_found"
    assert voice.data("DELETE", place) == {"given_up": True}
    assert voice.refused(404, "DELETE", place)["code"] == "handoff_not_found"

    with pytest.raises(HandoffClosed, match="given up"):
        order(row)
    assert selectors.get_handoff(row.pk).status == "given_up"
    assert "checkout.given_up" in [event["kind"] for event in selectors.events(row.session_id)]
    assert selectors.verify_session(row.session_id).ok


def test_a_payment_waits_for_the_consumers_word_on_every_device() -> None:
    """C2"""
    phone, voice, car = (agent_of("anna", name) for name in ("Phone", "Voice", "Car"))
    row = checkout(phone)

    asked = voice.data("GET", "/session/confirmations")
    assert [(one["agent_name"], one["answer"]) for one in asked] == [("Phone", "open")]
    assert "confirmation.asked" in [event["kind"] for event in selectors.events(head_of(car).session_id)]
    assert sorted(selectors.get_handoff(row.pk).others) == ["Car", "Voice"]
    with pytest.raises(DevicesUnconfirmed):
        order(row)

    place = f"/session/confirmations/{row.session_id}"
    assert voice.data("POST", place, {"answer": "confirm"}) == {"answer": "confirm"}
    assert voice.data("GET", "/session/confirmations")[0]["answer"] == "confirm"
    with pytest.raises(DevicesUnconfirmed) as waiting:
        order(row)
    assert waiting.value.agents == ("Car",)
    car.data("POST", place, {"answer": "confirm"})

    order(row)

    assert stored_handoff(row.pk).order_ref == "A-1"
    assert voice.data("GET", "/session/confirmations") == [], "it is over"
    for agent in (phone, voice, car):
        assert selectors.verify_session(head_of(agent).session_id).ok


def test_the_answer_of_a_checkout_names_the_agents_that_ask(shopper: AgentClient) -> None:
    phone = agent_of("anna", "Phone")
    agent_of("anna", "Voice")
    phone.data("POST", "/cart", {"item_id": "mug"}, status=201)

    assert phone.data("POST", "/checkout")["confirmations"] == ["Voice"]
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    assert "confirmations" not in shopper.data("POST", "/checkout"), "alone, and nobody known"


def test_declined_on_one_device_it_cannot_be_paid() -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)

    voice.data("POST", f"/session/confirmations/{row.session_id}", {"answer": "decline"})

    with pytest.raises(HandoffClosed):
        order(row)
    assert checkout(voice), "the other one can go ahead"


def test_a_cart_that_changed_is_asked_about_again() -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)
    voice.data("POST", f"/session/confirmations/{row.session_id}", {"answer": "confirm"})

    phone.data("PATCH", "/cart", {"item_id": "mug", "quantity": 2})

    with pytest.raises(DevicesUnconfirmed):
        order(row)
    again = checkout(phone, fill=False)
    assert voice.data("GET", "/session/confirmations")[0]["answer"] == "open"
    voice.data("POST", f"/session/confirmations/{again.session_id}", {"answer": "confirm"})
    order(again)


def test_the_word_of_who_pays_in_person_counts_for_all_devices() -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)

    services.confirm_devices(row.pk)

    assert selectors.get_handoff(row.pk).others == ()
    assert DeviceConfirmation.objects.get().answer == "confirmed"
    late = agent_of("anna", "Late")
    assert head_of(late)
    order(row)
    assert head_of(voice).is_live()


def test_devices_that_are_gone_and_branches_are_not_asked() -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    head = head_of(phone)
    services.open_session(
        agent=SHOPPING_AGENT,
        consumer=head.consumer,
        lineage=Lineage(Origin.FORK, head.session_id, head.version, head.family),
    )
    row = checkout(phone)
    voice.data("DELETE", "/session")

    order(row)


@pytest.mark.parametrize("body", [{}, {"answer": "yes"}, {"answer": ""}, {"answer": 1}])
def test_an_answer_is_one_of_two_words(body: Any) -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)

    assert voice.refused(400, "POST", f"/session/confirmations/{row.session_id}", body)["code"] == "invalid_parameter"
    assert DeviceConfirmation.objects.get().answer == ""


def test_only_who_was_asked_answers() -> None:
    phone, voice, other = agent_of("anna", "Phone"), agent_of("anna", "Voice"), agent_of("ben")
    row = checkout(phone)
    place = f"/session/confirmations/{row.session_id}"

    for agent in (other, phone):
        before = head_of(agent).head_seq
        assert agent.refused(404, "POST", place, {"answer": "confirm"})["code"] == "handoff_not_found"
        assert head_of(agent).head_seq == before, "not recorded either"
    order_refused = pytest.raises(DevicesUnconfirmed)
    with order_refused:
        order(row)
    assert voice.data("GET", "/session/confirmations")[0]["answer"] == "open"


@pytest.mark.django_db(transaction=True)
def test_of_many_checkouts_at_once_one_begins(configure: Any) -> None:
    """C1: exact under a race, by the database."""
    configure(MAX_SESSIONS=0)
    agents = [agent_of("anna", f"Agent {number}") for number in range(6)]
    for agent in agents:
        agent.data("POST", "/cart", {"item_id": "mug"}, status=201)
    start, statuses = threading.Barrier(len(agents)), []

    def check_out(agent: AgentClient) -> None:
        start.wait()
        try:
            statuses.append(agent.send("POST", "/checkout").status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=check_out, args=(agent,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] + [409] * (len(agents) - 1)
    assert CheckoutHandoff.objects.filter(closed_at__isnull=True).count() == 1
    for agent in agents:
        assert selectors.verify_session(head_of(agent).session_id).ok


def test_errors_have_codes_of_their_own() -> None:
    kinds: list[type[AgentSessionsError]] = [DevicesUnconfirmed, InvalidAssertion]
    assert [kind.code for kind in kinds] == ["devices_unconfirmed", "invalid_assertion"]


def test_a_device_that_declined_is_asked_again_about_the_next_checkout() -> None:
    """C2"""
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)
    voice.data("POST", f"/session/confirmations/{row.session_id}", {"answer": "decline"})

    told = phone.data("POST", "/checkout")

    assert told["confirmations"] == ["Voice"]
    assert [one["answer"] for one in voice.data("GET", "/session/confirmations")] == ["open"]


def test_the_agent_whose_checkout_is_declined_hears_of_it() -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)

    voice.data("POST", f"/session/confirmations/{row.session_id}", {"answer": "decline"})

    assert selectors.events(row.session_id)[-1]["kind"] == "checkout.given_up"
    assert selectors.verify_session(row.session_id).ok


@pytest.mark.parametrize("answered_first", [True, False])
def test_a_device_stays_the_same_when_its_session_is_renewed(answered_first: bool) -> None:
    """C2, L2"""
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)
    place = f"/session/confirmations/{row.session_id}"

    if answered_first:
        voice.data("POST", place, {"answer": "confirm"})
    voice.token = voice.data("POST", "/session/renew", {}, status=201)["session_token"]
    if not answered_first:
        assert [one["answer"] for one in voice.data("GET", "/session/confirmations")] == ["open"]
        voice.data("POST", place, {"answer": "confirm"})

    order(row)


def test_devices_beyond_those_that_are_asked_hold_up_the_payment_too(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2: nobody gets around a device by opening many others before it."""
    monkeypatch.setattr(sys.modules["agent_sessions.selectors.in_progress"], "MAX_DEVICES", 2)
    phone, *others = (agent_of("anna", name) for name in ("Phone", "A", "B", "Voice"))
    row = checkout(phone)
    for agent in others[:2]:
        agent.data("POST", f"/session/confirmations/{row.session_id}", {"answer": "confirm"})

    with pytest.raises(DevicesUnconfirmed) as waiting:
        order(row)
    assert waiting.value.agents == ("Voice",)

    services.confirm_devices(row.pk)
    order(row)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("give_up", ["decline", "give up"])
def test_giving_up_and_paying_lock_in_one_order(give_up: str) -> None:
    """Who pays has the session before the checkout; who gives it up must not have the checkout before the session."""
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)
    locked, results = threading.Event(), []

    def pay() -> None:
        try:
            with transaction.atomic():
                lock_head(row.session_id)
                locked.set()
                waited.wait(0.3)
                if connection.vendor == "postgresql":
                    connection.cursor().execute("SET LOCAL lock_timeout = '200ms'")
                CheckoutHandoff.objects.filter(pk=row.pk).update(opened_at=None)
        except OperationalError as error:
            results.append(error)
        finally:
            connections.close_all()

    waited = threading.Event()
    paying = threading.Thread(target=pay)
    paying.start()
    locked.wait()
    if give_up == "decline":
        services.answer_confirmation(head_of(voice), row.session_id, confirmed=False)
    else:
        services.give_up_checkout(row.session_id, merchant=row.merchant)
    waited.set()
    paying.join()

    assert results == []
    assert stored_handoff(row.pk).given_up_at is not None


def test_opening_a_session_counts_what_is_in_progress_without_reading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        agent = agent_of("anna", f"Agent {number}")
    monkeypatch.setattr(sys.modules["agent_sessions.selectors.in_progress"], "_state", None)

    assert agent.data("POST", "/session", {}, status=201)["in_progress"] == 5


def test_who_comes_too_late_confirms_nothing() -> None:
    phone, voice = agent_of("anna", "Phone"), agent_of("anna", "Voice")
    row = checkout(phone)
    voice.data("DELETE", f"{IN_PROGRESS}/{row.session_id}")

    services.confirm_devices(row.pk)

    assert stored_handoff(row.pk).confirmed_at is None
    assert DeviceConfirmation.objects.get().answer == ""
    assert selectors.events(row.session_id)[-1]["kind"] == "checkout.given_up"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", [True, False])
def test_of_an_order_and_a_no_one_comes_first(ends: bool, configure: Any) -> None:
    """C2: declined and ordered at once, it is one of them, and whoever is too late is told so."""
    configure(END_ON_HANDOFF=ends, MAX_SESSIONS=0)
    for number in range(4):
        phone, voice = agent_of(f"anna {number}", "Phone"), agent_of(f"anna {number}", "Voice")
        row = checkout(phone)
        device = head_of(voice)
        services.answer_confirmation(device, row.session_id, confirmed=True)
        device = head_of(voice)

        paid, declined = at_once(
            [
                partial(order, row, f"A-{number}"),
                partial(services.answer_confirmation, device, row.session_id, confirmed=False),
            ]
        )

        after = stored_handoff(row.pk)
        assert [paid is None, declined is None].count(True) == 1, (paid, declined)
        assert (after.order_ref != "") == (paid is None)
        assert (after.given_up_at is not None) == (declined is None)
        assert isinstance(paid, HandoffClosed | DevicesUnconfirmed | None)
        assert isinstance(declined, HandoffNotFound | None)
        for one in (row.session_id, device.session_id):
            assert selectors.verify_session(one).ok
