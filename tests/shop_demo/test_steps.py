"""The payment is a step of the agent's session: who goes on with it knows what was tried, and nothing is done twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from shop_demo import checkout
from shop_demo.models import Order, Payment, ProviderCharge, Variant
from shop_demo.payments import TOKENS, TestProvider
from tests.faults.support import at_once, half_done
from tests.shop_demo.people import Human, ShoppingAgent, charged, stock

pytestmark = pytest.mark.django_db


class Dies(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def session_goes_on(configure: Callable[..., None], clock: Any) -> None:
    """The agent keeps its session while the human pays; the clock stands still from before it was opened."""
    configure(END_ON_HANDOFF=False)


def session_of(agent: ShoppingAgent) -> uuid.UUID:
    return uuid.UUID(agent.session_id)


def state(agent: ShoppingAgent) -> dict[str, Any]:
    return selectors.current_state(session_of(agent)).state


def tried(agent: ShoppingAgent) -> list[tuple[str, str, str]]:
    return [(one.method, one.outcome, one.code) for one in selectors.checkpoints(session_of(agent))]


def next_step(agent: ShoppingAgent) -> tuple[str, str]:
    action = agent.send("GET", "/session/next-step")
    return action["action"], action.get("method", "")


def completed_with_one_order(agent: ShoppingAgent) -> Order:
    order = Order.objects.get()
    head = selectors.read_head(session_of(agent))
    assert (head.end_reason, order.session_id) == ("completed", session_of(agent))
    assert [outcome for _, outcome in charged()].count("succeeded") == 1
    assert half_done(session_of(agent)) == []
    return order


def test_a_declined_card_is_followed_by_another_method(agent: ShoppingAgent) -> None:
    """R2, S2: the agent is told which, the page offers it, and the history has both."""
    human = Human(agent.hand_over())
    human.pay("tok_declined")

    assert "not enough money on it. Nothing was charged. You can pay with PayPal" in human.text
    assert next_step(agent) == ("run", "paypal")
    [declined] = state(agent)["decisions"]["payments"].values()
    assert {name: declined[name] for name in declined if not name.endswith("_at")} == {
        "method": "card", "outcome": "declined", "code": "insufficient_funds", "amount": 3390, "currency": "EUR",
        "brand": "visa", "last4": "9995",
    }  # fmt: skip

    human.pay("tok_paypal")
    order = completed_with_one_order(agent)
    assert order.payment.token == "tok_paypal"
    assert tried(agent) == [("card", "failed", "insufficient_funds"), ("paypal", "done", "")]
    payments = state(agent)["decisions"]["payments"].values()
    assert sorted((one["method"], one["outcome"]) for one in payments) == [
        ("card", "declined"), ("paypal", "succeeded"),
    ]  # fmt: skip


def test_the_provider_knows_each_attempt_by_the_key_of_its_step(agent: ShoppingAgent) -> None:
    """R1"""
    human = Human(agent.hand_over())
    human.pay("tok_declined")
    human.pay("tok_paypal")
    keys = list(ProviderCharge.objects.order_by("pk").values_list("key", flat=True))
    assert keys == [f"{agent.session_id}:payment:1", f"{agent.session_id}:payment:2"]


def test_the_step_is_written_down_before_the_provider_is_asked(
    agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1"""
    seen: list[Any] = []
    charge = TestProvider.charge

    def look(self: TestProvider, *facts: Any) -> Any:
        [note] = state(agent)["decisions"]["payments"].values()
        seen.append((tried(agent), note["outcome"]))
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", look)
    Human(agent.hand_over()).pay()
    assert seen == [([("card", "started", "")], "started")]
    completed_with_one_order(agent)


def test_nothing_of_a_card_but_brand_and_last_digits_is_kept() -> None:
    """S8"""
    for token in TOKENS.values():
        assert (len(token.last4), bool(token.brand)) == ((4, True) if token.method == "card" else (0, False))


def test_a_way_that_was_declined_is_not_taken_again(agent: ShoppingAgent) -> None:
    """R2: another card is; then the page says that cards were tried."""
    human = Human(agent.hand_over())
    human.pay("tok_declined")
    human.pay("tok_declined")
    assert tried(agent) == [(way, "failed", "insufficient_funds") for way in ("card", "other_card")]
    human.pay("tok_success")

    assert human.page.status_code == 409
    assert "That way to pay has been tried already" in human.text
    assert "You can pay with PayPal." in human.text
    assert [outcome for _, outcome in charged()] == ["declined", "declined"]
    human.pay("tok_paypal")
    completed_with_one_order(agent)


def test_when_it_was_tried_as_often_as_it_may_be_a_person_is_called(
    agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2, S5"""
    monkeypatch.setitem(TOKENS, "tok_paypal", TOKENS["tok_declined"].__class__(
        "tok_paypal", "PayPal", "", "declined", "account_closed", method="paypal"
    ))  # fmt: skip
    human = Human(agent.hand_over())
    form = human.form("tok_paypal")
    for card in ("tok_declined", "tok_declined", "tok_paypal"):
        human.pay(card)

    assert "This cart cannot be paid here any more" in human.text
    assert not human.form_is_shown
    assert next_step(agent)[0] == "escalate"
    [pending] = state(agent)["recovery"]["interventions"].values()
    assert pending["kind"] == "step"
    assert human.send({**form, "submission": str(uuid.uuid4())}).page.status_code == 409
    assert [outcome for _, outcome in charged()] == ["declined"] * 3


def test_a_lost_answer_is_found_out_by_the_job_and_the_order_is_made(agent: ShoppingAgent, clock: Any) -> None:
    """R2: nobody opens the link again."""
    human = Human(agent.hand_over())
    human.pay("tok_timeout")
    assert tried(agent) == [("card", "started", "")]
    assert state(agent)["recovery"]["endpoints"]["payment-provider"]["code"] == "timeout"
    assert next_step(agent)[0] == "wait"
    assert services.resolve_unknown_steps()["asked"] == 0

    clock.shift(60)
    assert services.resolve_unknown_steps() == {"asked": 1, "escalated": 0, "left": 0, "late": 0, "failed": 0}
    order = completed_with_one_order(agent)
    assert (order.total, order.name, stock()) == (3390, "Mira Holm", 3)
    assert tried(agent) == [("card", "done", "")]
    assert state(agent)["recovery"]["endpoints"] == {}
    assert services.resolve_unknown_steps()["asked"] == 0
    assert "already ordered" in Human(human.link).text


@pytest.mark.parametrize(("card", "code"), [("tok_timeout_declined", "card_expired"), ("tok_success", "cancelled")])
def test_a_lost_answer_may_turn_out_to_be_a_no_and_the_human_goes_on(
    agent: ShoppingAgent, clock: Any, monkeypatch: pytest.MonkeyPatch, card: str, code: str
) -> None:
    """R2: also when the charge never arrived."""

    def dies(*facts: Any) -> None:
        raise Dies

    human = Human(agent.hand_over())
    if code == "cancelled":
        with monkeypatch.context() as broken:
            broken.setattr(TestProvider, "charge", dies)
            with pytest.raises(Dies):
                human.pay(card)
    else:
        human.pay(card)
    clock.shift(60)
    assert services.resolve_unknown_steps()["asked"] == 1
    assert tried(agent) == [("card", "failed", code)]
    assert next_step(agent) == ("run", "card" if code == "cancelled" else "paypal")

    human.look()
    human.pay("tok_success")
    completed_with_one_order(agent)


def test_a_crash_after_the_charge_is_finished_by_the_job(
    agent: ShoppingAgent, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2, R3"""

    def dies(*facts: Any) -> None:
        raise Dies

    human = Human(agent.hand_over())
    with monkeypatch.context() as broken:
        broken.setattr(checkout, "_settle", dies)
        with pytest.raises(Dies):
            human.pay()
    clock.shift(60)
    services.resolve_unknown_steps()
    completed_with_one_order(agent)


def test_a_payment_that_turns_out_after_the_session_ended_is_given_back(
    agent: ShoppingAgent, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """R2: the history takes no more; the money goes back, and the log and the checkpoint say so."""
    Human(agent.hand_over()).pay("tok_timeout")
    agent.send("DELETE", "/session")
    clock.shift(60)
    assert [services.resolve_unknown_steps()["late"] for _ in range(2)] == [1, 0]
    assert charged() == [(3390, "refunded")]
    assert Payment.objects.get().outcome == "refunded"
    assert tried(agent) == [("card", "failed", "cart_closed")]
    assert "was known only after the session had ended" in caplog.text
    assert not Order.objects.exists()


def test_a_cart_that_is_changed_while_the_card_is_charged_gives_the_money_back_and_can_be_paid_again(
    agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    human = Human(agent.hand_over())
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        agent.add("TEA")
        return charge(self, *facts)

    with monkeypatch.context() as busy:
        busy.setattr(TestProvider, "charge", slow)
        human.pay()
    assert tried(agent) == [("card", "failed", "cart_closed")]
    assert charged() == [(3390, "refunded")]
    human.pay()
    assert completed_with_one_order(agent).total == 1450 * 3 + 490


def test_the_last_piece_gone_is_a_failed_step(agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        Variant.objects.update(stock=1)
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", slow)
    Human(agent.hand_over()).pay()
    assert tried(agent) == [("card", "failed", "sold_out")]
    assert charged() == [(3390, "refunded")]
    assert half_done(session_of(agent)) == []


def test_the_human_pays_although_the_agent_has_paused(agent: ShoppingAgent) -> None:
    """L3: who pays goes on with the session."""
    human = Human(agent.hand_over())
    agent.send("POST", "/session/pause")
    human.pay()
    completed_with_one_order(agent)
    kinds = [event["kind"] for event in selectors.events(session_of(agent))]
    assert kinds[-4:] == ["session.resumed", "step.started", "step.done", "session.ended"]


def test_an_agent_that_notes_something_while_the_human_pays_does_not_keep_the_order_from_being_made(
    agent: ShoppingAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the human saw is what is charged: carts are compared, not versions."""
    charge = TestProvider.charge

    def slow(self: TestProvider, *facts: Any) -> Any:
        head = selectors.read_head(session_of(agent))
        services.change_session(head, expected_version=head.version, patch={"agent": {"waiting": True}})
        return charge(self, *facts)

    monkeypatch.setattr(TestProvider, "charge", slow)
    Human(agent.hand_over()).pay()
    assert completed_with_one_order(agent).total == 3390


def test_a_person_who_has_the_session_keeps_nobody_from_paying(agent: ShoppingAgent) -> None:
    """L4"""
    human = Human(agent.hand_over())
    services.hand_over(session_of(agent), to=Actor("staff", "1"))
    human.pay()
    completed_with_one_order(agent)


def test_a_session_that_ended_with_the_handoff_has_no_step(
    agent: ShoppingAgent, configure: Callable[..., None]
) -> None:
    configure(END_ON_HANDOFF=True)
    Human(agent.hand_over()).pay()
    assert Payment.objects.get().attempt is None
    assert tried(agent) == []


def test_a_form_that_was_declined_and_is_sent_again_is_not_charged_again(agent: ShoppingAgent) -> None:
    human = Human(agent.hand_over())
    form = human.form("tok_declined")
    human.send(form)
    human.send(form)
    assert "not enough money" in human.text
    assert charged() == [(3390, "declined")]
    assert len(tried(agent)) == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_windows_and_jobs_at_the_same_moment_make_one_order(agent: ShoppingAgent, clock: Any) -> None:
    """R2: the human checks again in two windows while the job runs twice."""
    link = agent.hand_over()
    people = [Human(link), Human(link)]
    people[0].pay("tok_timeout")
    clock.shift(60)
    results = at_once([people[0].check_again, people[1].check_again, *[services.resolve_unknown_steps] * 2])
    assert not any(isinstance(result, Exception) for result in results), results
    assert stock() == 3
    completed_with_one_order(agent)
    assert tried(agent) == [("card", "done", "")]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_windows_that_pay_at_the_same_moment_run_one_step(agent: ShoppingAgent) -> None:
    link = agent.hand_over()
    people = [Human(link) for _ in range(4)]
    forms = [human.form() for human in people]
    results = at_once([lambda h=h, f=f: h.send(f) for h, f in zip(people, forms, strict=True)])
    assert not any(isinstance(result, Exception) for result in results), results
    order = completed_with_one_order(agent)
    assert tried(agent) == [("card", "done", "")]
    for human in people:
        assert order.ref in Human(link).text or human.page.status_code == 200
