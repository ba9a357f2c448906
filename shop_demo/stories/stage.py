"""What a story is played with: agents, humans, the shop's people, and time."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.conf import settings
from agent_sessions.domain.identity import Actor
from agent_sessions.store.steps import step_rules
from shop_demo.agent import Agent, Refused
from shop_demo.human import Human, Page
from shop_demo.jobs import run_jobs
from shop_demo.models import Order, Variant
from shop_demo.steps import PAYMENT
from shop_demo.web import Problem, fetch


class StoryAgent(Agent):
    """An agent with a name of its own, that uses what lies below a session's address too."""

    def __init__(self, stage: Stage, name: str, *, assertion: str = "") -> None:
        super().__init__(stage.site, lambda line: stage.tell(f"{name}: {line}"), name=name, assertion=assertion)
        self.session_id = ""

    def open(self, purpose: str, **more: Any) -> None:
        """Open a session, after a look at what the shop offers."""
        self.discover()
        data = self.session("POST", "", {"agent_name": self.name, "purpose": purpose, **more})
        self.goes_on_with(data)
        self.tell(f"I have a session until {data['expires_at']}.")
        if data.get("in_progress"):
            self.tell(f"The shop says that {data['in_progress']} other session of the same person is in progress.")

    def goes_on_with(self, data: Mapping[str, Any]) -> None:
        """Use the session that an answer has opened."""
        self.token, self.session_id = data["session_token"], data["session_id"]

    def session(self, method: str, path: str = "", body: Any = None, *, key: str = "", version: int = 0) -> Any:
        """Send a request to an address below the session's. ``key`` makes it safe to send it again. Raises Refused."""
        headers = {"X-Agent-Session": self.token, "X-Agent-Consumer": self.assertion, "Idempotency-Key": key}
        headers["If-Match"] = f'"v{version}"' if version else ""
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        address = self._session_address + (f"/{path}" if path else "")
        told = {name: value for name, value in headers.items() if value}
        answer = fetch(method, address, content=content, headers=told)
        document = answer.json()
        if document.get("ok") is not True:
            raise Refused(answer)
        return document["data"]

    def try_to(self, what: str, act: Callable[[], Any]) -> Refused:
        """Do something that the shop has to refuse; tell what it says. Raises Problem if it does not refuse."""
        try:
            act()
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            self.tell(f"I tried to {what}. The shop says: {refusal.message}")
            return refusal
        raise Problem(f"The shop let {self.name} {what}.", "It should have refused.")

    def says(self, line: str, role: str = "agent") -> None:
        """Add to the conversation."""
        self.session("POST", "messages", {"role": role, "content": line})
        self.tell(f"«{line}»")

    @property
    def standing(self) -> dict[str, Any]:
        """Where the session stands."""
        told: dict[str, Any] = self.session("GET")
        return told

    @property
    def cart(self) -> dict[str, Any]:
        told: dict[str, Any] = self.standing["cart"]
        return told


class Stage:
    """A running shop to play in. ``pass_time`` lets seconds go by: it waits, or turns the clock."""

    def __init__(self, site: str, tell: Callable[[str], None], pass_time: Callable[[float], None] = time.sleep) -> None:
        self.site = site
        self.tell = tell
        self._pass_time = pass_time

    def agent(self, name: str, *, acts_for: str = "", merchant: str = "") -> StoryAgent:
        """Bring in an agent. The shop vouches that it acts for the customer whom it knows by ``acts_for``."""
        assertion = services.assert_consumer(acts_for, merchant=merchant).text if acts_for else ""
        return StoryAgent(self, name, assertion=assertion)

    def later(self, length: timedelta, what: str) -> None:
        """Let time go by."""
        self.tell(f"({what})")
        self._pass_time(length.total_seconds())

    @property
    def approval_window(self) -> timedelta:
        return settings.approval_ttl

    @property
    def payment_patience(self) -> timedelta:
        """How long the answer to a payment is waited for."""
        return timedelta(seconds=next(rule.timeout_seconds for rule in step_rules() if rule.name == PAYMENT) + 1)

    def lifetime(self, kind: str) -> timedelta:
        ttl = settings.ttl(kind)
        if ttl is None:
            raise Problem(f"The shop has no sessions of the kind {kind}.", "Set AGENT_SESSIONS['TTL'].")
        return ttl

    def shop(self, line: str) -> None:
        """Tell what the shop's people do."""
        self.tell(f"The shop: {line}")

    def reprice(self, sku: str, cents: int) -> None:
        """Change a price as the shop's people do, and let the jobs run that carry it to the sessions."""
        variant = Variant.objects.get(sku=sku)
        variant.price_minor = cents
        variant.save()
        self.shop(f"{variant} costs {cents / 100:.2f} EUR from now on.")
        self.jobs()

    def restock(self, sku: str, pieces: int) -> None:
        variant = Variant.objects.get(sku=sku)
        variant.stock = pieces
        variant.save()
        self.jobs()

    def jobs(self) -> None:
        """Run what the clock runs in a real shop: expiry, stale parts, steps of unknown outcome."""
        run_jobs()

    def allow_transfer(self, session_id: str) -> str:
        """The consumer, signed in at the shop, allows another agent to take a session over; return the code."""
        grant = services.grant_transfer(uuid.UUID(session_id), actor=Actor("consumer"))
        self.shop(f"Anna has allowed it. The code is good until {timezone.localtime(grant.expires_at):%H:%M:%S}.")
        return grant.code

    def pay(self, url: str, *, token: str = "tok_success", confirm: bool = False) -> Page:  # noqa: S107 - a test token
        """The human follows a checkout link and pays; return the page that this led to."""
        human = Human()
        page = human.open(url)
        self.tell(f"The human opens the link. The page says: {page.heading}")
        more = {"confirm_devices": "on"} if confirm else {}
        page = human.pay(page, token=token, **more)
        self.tell(f"The human pays. The page says: {page.heading}")
        return page

    def approve(self, url: str, total: str) -> Page:
        """The human follows an approval link and agrees to what it shows."""
        human = Human()
        page = human.open(url)
        self.tell(f"The human opens the link. The page says: {page.heading}")
        form = page.form_with("total")
        if form is None:
            return page
        page = human.send(page, form, total=total, answer="grant")
        self.tell(f"The human types {total} and agrees. The page says: {page.heading}")
        return page

    def prove(self, *sessions: str) -> None:
        """Check the history of the sessions as an auditor would. Raises Problem."""
        for session_id in sessions:
            report = selectors.verify_session(uuid.UUID(session_id))
            if not report.ok:
                raise Problem(f"Session {session_id}: {report.problems[0]}.", "Its history does not hold.")
        self.tell(f"Every event and every version of {len(sessions)} session(s) verifies.")

    def require(self, holds: bool, what: str) -> None:
        """Raise Problem unless something holds that the story is about."""
        if not holds:
            raise Problem(f"It does not hold that {what}.", "The shop has to be repaired.")
        self.tell(f"✓ {what}")

    def orders(self, *sessions: str) -> int:
        """Count the orders that came of these sessions."""
        return Order.objects.filter(session_id__in=[uuid.UUID(one) for one in sessions]).count()
