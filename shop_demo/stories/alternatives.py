"""What the agent decides again: other prices, other pieces, other baskets, back to before."""

from __future__ import annotations

from datetime import timedelta

from agent_sessions.conf import settings
from shop_demo.models import Variant
from shop_demo.stories.stage import Stage


def price(stage: Stage) -> None:
    """A price changes while the agent shops: the agent is told what changed, and checks out at the new price."""
    agent = stage.agent("Agent")
    agent.open("a teapot for a friend")
    pot = agent.find("celadon teapot")
    agent.add(pot, 1)
    was = Variant.objects.get(sku=pot["id"]).price_minor
    stage.reprice(pot["id"], was + 500)
    try:
        stale = agent.standing.get("stale", {})
        stage.require(list(stale) == [f"item:{pot['id']}"], "the session knows just what has become stale")
        agent.try_to("check out with the old price", lambda: agent.call("checkout"))
        told = agent.session("POST", "revalidate")
        for change in told["changes"]:
            agent.tell(change["text"])
        handover = agent.check_out()
        page = stage.pay(handover.url)
        stage.require(stage.orders(agent.session_id) == 1, "there is one order")
        stage.require(handover.total in page.text, "the order is at the new price")
    finally:
        Variant.objects.filter(sku=pot["id"]).update(price_minor=was)
    stage.prove(agent.session_id)


def stock(stage: Stage) -> None:
    """Pieces are held, the hold runs out, somebody else buys them: the agent is told before anybody pays."""
    first, second = stage.agent("Patient agent"), stage.agent("Quick agent")
    first.open("two pots, when she has decided")
    second.open("a pot")
    pot = first.find("celadon teapot")
    before = Variant.objects.get(sku=pot["id"]).stock
    stage.restock(pot["id"], 2)
    try:
        first.add(pot, 2)
        held = first.session("POST", "holds", {"item_id": pot["id"], "quantity": 2})
        first.tell(f"The shop keeps {held['quantity']} for me until {held['until']}.")
        second.try_to("take a piece that is held for somebody else", lambda: second.add(pot, 1))
        stage.later(settings.hold_ttl + timedelta(seconds=1), "the hold runs out")
        stage.jobs()
        second.add(pot, 1)
        stage.pay(second.check_out().url)
        stage.require(stage.orders(second.session_id) == 1, "the piece is sold to who came in time")
        first.try_to("check out two pieces, of which one is sold", lambda: first.call("checkout"))
        first.call("cart.update", item_id=pot["id"], quantity=1)
        first.tell("I take one instead of two.")
        stage.pay(first.check_out().url)
        stage.require(stage.orders(first.session_id) == 1, "the other piece is sold too")
        stage.require(Variant.objects.get(sku=pot["id"]).stock == 0, "no piece was sold twice")
    finally:
        Variant.objects.filter(sku=pot["id"]).update(stock=before)
    stage.prove(first.session_id, second.session_id)


def fork(stage: Stage) -> None:
    """Two baskets are tried side by side; one is bought, and the other cannot be bought any more."""
    agent = stage.agent("Agent")
    agent.open("a present, black tea or green")
    pot, sencha = agent.find("celadon teapot"), agent.find("sencha")
    agent.add(pot, 1)
    branch = stage.agent("Agent, second basket")
    branch.discover()
    branch.goes_on_with(agent.session("POST", "forks", {}))
    agent.tell("I have a second basket that begins as this one is.")
    branch.add(sencha, 3)
    for change in agent.session("GET", f"forks/{branch.session_id}/differences")["differences"]:
        agent.tell(f"In the second basket: {change['text']}")
    handover = branch.check_out()
    agent.try_to("check out the first basket as well", lambda: agent.call("checkout"))
    stage.pay(handover.url)
    agent.try_to("check out the first basket after that", lambda: agent.call("checkout"))
    stage.require(stage.orders(agent.session_id, branch.session_id) == 1, "of two baskets one was bought")
    stage.prove(agent.session_id, branch.session_id)


def rollback(stage: Stage) -> None:
    """The agent tries something, does not like it, and goes back to the cart that was committed."""
    agent = stage.agent("Agent")
    agent.open("tea for the office")
    sencha, pot = agent.find("sencha"), agent.find("celadon teapot")
    agent.add(sencha, 5)
    agent.session("POST", "commit")
    committed = agent.cart["total"]
    agent.tell(f"The cart at {committed} EUR is committed.")
    agent.add(pot, 2)
    agent.call("cart.remove", item_id=sencha["id"])
    agent.tell(f"Now it comes to {agent.cart['total']} EUR. They did not want that.")
    told = agent.session("POST", "rollback")
    agent.tell(f"Back to version {told['rolled_back_to']}, which is now version {told['version']}.")
    stage.require(agent.cart["total"] == committed, "the cart is the committed one")
    listed = agent.session("GET", "versions")
    stage.require(
        [one["number"] for one in listed] == list(range(1, len(listed) + 1)), "nothing of the history is gone"
    )
    stage.require(listed[-1]["kind"] == "session.rolled_back", "the history says that it was rolled back")
    stage.pay(agent.check_out().url)
    stage.require(stage.orders(agent.session_id) == 1, "there is one order")
    stage.prove(agent.session_id)
