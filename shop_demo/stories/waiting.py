"""What takes longer than an agent: people who approve, and days that pass."""

from __future__ import annotations

from datetime import timedelta

from shop_demo.stories.stage import Stage, StoryAgent


def approval(stage: Stage) -> None:
    """A large order needs a person's approval; the answer comes too late, and is asked for again."""
    agent = stage.agent("Agent")
    agent.open("tea pots for the whole office", kind="consumer")
    agent.add(agent.find("celadon teapot"), 6)
    asked = _ask(agent, "Six pots for the new office; the budget is 400 EUR.")
    stage.later(stage.approval_window + timedelta(seconds=1), "nobody answers in time")
    stage.jobs()
    page = stage.approve(asked["approval_url"], asked["amount"])
    stage.require(
        "Approval window expired. Consumer must re-authorize." in page.text, "an answer that is late counts no more"
    )
    agent.try_to("check out nevertheless", lambda: agent.call("checkout"))
    asked = _ask(agent, "The first question was not answered in time.")
    stage.approve(asked["approval_url"], asked["amount"])
    agent.tell(f"The approval is {agent.standing['approval']['status']}.")
    stage.pay(agent.check_out().url)
    stage.require(stage.orders(agent.session_id) == 1, "there is one order, and a person agreed to it")
    stage.prove(agent.session_id)


def three_days(stage: Stage) -> None:
    """A purchase over three days: each day the session is renewed before its deadline, prices are looked at anew."""
    agent = stage.agent("Buyer's agent")
    agent.open("tea and pots for the canteen", kind="consumer", parent_request="PR-2026-17")
    agent.add(agent.find("celadon teapot"), 6)
    agent.says("The canteen needs six pots by Friday.", role="user")
    sessions = [agent.session_id]
    for day in ("the second", "the third"):
        stage.later(stage.lifetime("consumer") * 3 / 4, f"it becomes {day} day")
        old = agent.token
        told = agent.session("POST", "renew", {})
        agent.goes_on_with(told)
        sessions.append(agent.session_id)
        changes = [one["text"] for one in told["changes"]]
        agent.tell(f"Renewed until {told['expires_at']}; {'; '.join(changes) or 'nothing has changed'}.")
        new, agent.token = agent.token, old
        agent.try_to("go on with the old token", lambda: agent.standing)
        agent.token = new
    found = agent.session("GET", "messages?q=canteen")["turns"]
    stage.require(len(found) == 1, "what was said on the first day is still known")
    asked = _ask(agent, "Six pots for the canteen, as agreed on Monday.")
    stage.approve(asked["approval_url"], asked["amount"])
    stage.pay(agent.check_out().url)
    stage.require(stage.orders(*sessions) == 1, "three sessions led to one order")
    stage.prove(*sessions)


def _ask(agent: StoryAgent, reason: str) -> dict[str, str]:
    """Be refused, ask a person, and return what to give them."""
    agent.try_to("check out", lambda: agent.call("checkout"))
    asked: dict[str, str] = agent.session("POST", "approvals", {"reason": reason})
    agent.tell(
        f"I asked for approval of {asked['amount']} {asked['currency']}; the link is good until {asked['expires_at']}."
    )
    return asked
