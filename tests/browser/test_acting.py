"""Staff act on a session in a browser, while its agent goes on over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from shop_demo.agent import Agent, Refused
from tests.browser.conftest import Browser


@pytest.fixture
def staff(browser: Browser, shop: str, configure: Callable[..., None]) -> User:
    """Somebody of the staff who may do everything, logged in; what costs more than 20 EUR has to be approved."""
    configure(POLICIES="tests.services.asking.POLICIES", END_ON_HANDOFF=False)
    client, user = Client(), User.objects.create_superuser("ada")
    client.force_login(user)
    cookie = client.cookies["sessionid"].value
    browser.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": shop}])
    return user


def overview(shop: str, session_id: uuid.UUID) -> str:
    return shop + reverse("admin:agent_sessions_session_change", args=[session_id])


def why(browser: Browser, reason: str) -> None:
    """Say it in the form of the action; what reveals content asks, too."""
    browser.page.locator("textarea[name=reason]").fill(reason)


def poll(agent: Agent, approval_id: str) -> Any:
    """What the agent is told of its approval."""
    return agent._send("GET", f"{agent._session_address}/approvals/{approval_id}")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_staff_approve_a_purchase_while_the_agent_polls(
    browser: Browser, shop: str, agent: Agent, staff: User, scripts: bool
) -> None:
    """L5: the agent waits, is told, and goes on."""
    browser.restart(java_script_enabled=scripts)
    agent.call("cart.add", item_id="CELADON-05L")
    with pytest.raises(Refused):
        agent.check_out()
    asked = agent._send("POST", f"{agent._session_address}/approvals", {"reason": "It is a gift."})
    assert poll(agent, asked["id"])["status"] == "pending"

    browser.open(overview(shop, selectors.authenticate(agent.token).session_id))
    browser.follow("Answer the approval")
    assert poll(agent, asked["id"])["status"] == "pending"
    browser.page.get_by_role("checkbox").check()
    browser.press("Grant")
    assert "You have granted this approval." in browser.page.locator("body").inner_text()

    told = poll(agent, asked["id"])
    assert told["status"] == "granted"
    assert agent.check_out().url


def test_staff_stop_a_busy_agent_put_its_cart_right_and_hand_it_back(
    browser: Browser, shop: str, agent: Agent, staff: User
) -> None:
    agent.call("cart.add", item_id="SENCHA-50G")
    session_id = selectors.authenticate(agent.token).session_id
    services.commit_session(session_id)
    agent.call("cart.add", item_id="CELADON-05L")

    browser.open(overview(shop, session_id))
    browser.follow("Take over")
    agent.call("cart.add", item_id="TENMOKU-1")  # whatever it does meanwhile
    why(browser, "It buys and buys")
    browser.press("Take over")
    with pytest.raises(Refused):
        agent.call("cart.add", item_id="TENMOKU-1")

    browser.follow("Roll back")
    services.change_session(
        session_id, expected_version=selectors.read_head(session_id).version, patch={"agent": {"mood": "calm"}},
        actor=Actor("staff", str(staff.pk)),
    )  # fmt: skip
    why(browser, "Back to the tea")
    browser.press("Roll back")
    assert "the session has moved on" in browser.alert
    browser.shot("acting moved on")
    browser.press("Roll back")
    browser.follow("Hand back")
    browser.press("Hand back")

    lines = selectors.current_state(session_id).state["shopping"]["lines"]  # type: ignore[index,call-overload]
    assert [line["item"] for line in lines.values()] == ["SENCHA-50G"]  # type: ignore[union-attr,index,call-overload]
    agent.call("cart.add", item_id="TENMOKU-1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_nothing_sticks_out_and_nobody_is_kept_out(
    browser: Browser, shop: str, agent: Agent, staff: User, scheme: Any
) -> None:
    agent.call("cart.add", item_id="SENCHA-50G")
    session_id = selectors.authenticate(agent.token).session_id
    services.commit_session(session_id)
    agent.call("cart.add", item_id="CELADON-05L")
    services.place_legal_hold(
        scope="session", session_id=session_id, matter="long" * 50, actor=Actor("staff", str(staff.pk))
    )
    browser.resize(320, 700)
    browser.page.emulate_media(color_scheme=scheme)
    browser.open(overview(shop, session_id))
    for name in ("roll_back", "end", "lift_legal_hold", "place_legal_hold", "repair"):
        browser.open(f"{overview(shop, session_id)}act/{name}/")
        browser.shot(f"acting {name} {scheme}")
        assert browser.overflows == []
        assert browser.barriers() == []
