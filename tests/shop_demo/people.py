"""An agent that fills a cart over HTTP, and the human who comes by its link."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from django.test import Client
from django.urls import reverse

from shop_demo.models import ProviderCharge, Variant

API = "/.well-known/agents/api"
CHECKOUT = "/checkout/agent"
PAYS = "tok_success"
HIDDEN = re.compile(r'<input type="hidden" name="(seen|submission)" value="([^"]*)"')
ADDRESS = {"email": "mira@example.com", "name": "Mira Holm", "address": "Gartenweg 3\n1010 Vienna"}


class ShoppingAgent:
    """An agent with a session of its own."""

    def __init__(self) -> None:
        self.client = Client()
        self.token = ""
        opened = self.send("POST", "/session", {"agent_name": "Pocket Assistant"})
        self.token, self.session_id = opened["session_token"], opened["session_id"]

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return its ``data``; the answer has to be a success."""
        answer = self.answer(method, path, body)
        assert answer.status_code < 300, answer.content
        return answer.json()["data"]

    def answer(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.client.generic(
            method, API + path, json.dumps(body or {}), content_type="application/json", headers=headers
        )

    def add(self, sku: str, quantity: int = 1) -> None:
        self.send("POST", "/cart", {"item_id": sku, "quantity": quantity})

    def hand_over(self) -> str:
        """Check out; return the path of the link for the human."""
        url: str = self.send("POST", "/checkout")["checkout_url"]
        return url.removeprefix("https://shop.example")


class Human:
    """A person's browser: it opens the link, reads the page and sends its form."""

    def __init__(self, link: str) -> None:
        self.client = Client()
        self.link = link
        self.page = self.client.get(link, follow=True)

    @property
    def text(self) -> str:
        """What the page says, without its tags, on one line."""
        main = self.page.content.decode().partition("<main")[2].partition("</main>")[0]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())

    def look(self) -> Human:
        """Load the checkout page anew."""
        self.page = self.client.get(CHECKOUT)
        return self

    def form(self, card: str = PAYS, **changes: str) -> dict[str, str]:
        """What the form on the page would send."""
        hidden = HIDDEN.findall(self.page.content.decode())
        assert len(hidden) == 2, self.text
        return {**{name: html.unescape(value) for name, value in hidden}, **ADDRESS, "token": card, **changes}

    def send(self, form: dict[str, str]) -> Human:
        """Send a form; follow where it leads."""
        self.page = self.client.post(CHECKOUT, form, follow=True)
        return self

    def pay(self, card: str = PAYS, **changes: str) -> Human:
        return self.send(self.form(card, **changes))

    def check_again(self) -> Human:
        self.page = self.client.post(reverse("shop:check_again"), follow=True)
        return self

    @property
    def form_is_shown(self) -> bool:
        return b'name="submission"' in self.page.content


def fresh_link(sku: str = "TEA") -> str:
    """The link to a cart with one piece, of an agent of its own."""
    agent = ShoppingAgent()
    agent.add(sku)
    return agent.hand_over()


def charged() -> list[tuple[int, str]]:
    """What the provider's books say: amounts and outcomes, in order."""
    return list(ProviderCharge.objects.order_by("pk").values_list("amount", "outcome"))


def stock(sku: str = "TEA") -> int:
    return Variant.objects.get(sku=sku).stock
