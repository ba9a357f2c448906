"""What can go wrong with the payment itself."""

from __future__ import annotations

from dataclasses import replace

from shop_demo.steps import RULES
from shop_demo.stories.stage import Stage

SOON = tuple(replace(rule, timeout_seconds=3) for rule in RULES)
"""The shop's own rules, for a story in which nobody can turn the clock."""


def declined(stage: Stage) -> None:
    """A card is declined; the same card is not tried again, another method works, and one order is made."""
    agent = stage.agent("Agent")
    agent.open("a teapot for a friend")
    agent.add(agent.find("celadon teapot"), 1)
    handover = agent.check_out()
    page = stage.pay(handover.url, token="tok_declined")  # noqa: S106 - a test token
    stage.require(page.status == 402, "the page says that the card was declined")
    action = agent.session("GET", "next-step")
    agent.tell(f"The session says: {action['action']} {action['step']} with {action.get('method', '')}.")
    stage.require(action.get("method") not in ("", "card"), "another method comes next, not the declined one")
    tried = agent.session("GET", "checkpoints")
    stage.require([one["outcome"] for one in tried] == ["failed"], "the declined attempt is in the history")
    stage.pay(handover.url, token="tok_paypal")  # noqa: S106
    stage.require(stage.orders(agent.session_id) == 1, "there is one order")
    stage.prove(agent.session_id)


def crash(stage: Stage) -> None:
    """The provider takes the money and its answer is lost: nobody pays twice, and the order is made later."""
    agent = stage.agent("Agent")
    agent.open("a teapot for a friend")
    agent.add(agent.find("celadon teapot"), 1)
    handover = agent.check_out()
    page = stage.pay(handover.url, token="tok_timeout")  # noqa: S106
    stage.require(stage.orders(agent.session_id) == 0, "nobody knows yet whether it was paid")
    stage.require(page.form_with("token") is None, "the page offers no second payment")
    attempts = agent.session("GET", "checkpoints")
    agent.tell(f"The payment was started, its outcome is not known: {attempts[-1]['outcome']}.")
    stage.later(stage.payment_patience, "the time in which an answer should have come goes by")
    stage.jobs()
    stage.shop("A job has asked the payment provider what became of it.")
    stage.require(stage.orders(agent.session_id) == 1, "the order was made, by nobody's click")
    stage.prove(agent.session_id)
