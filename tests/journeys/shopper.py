"""An agent and the person whom it shops for, without a server between: what they send is served by this process."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from django.test import Client

from tests.shop_demo.people import ADDRESS, API, CHECKOUT, HIDDEN, PAYS

POT = "CELADON-05L"
Act = Callable[[], Any]


class Shopper:
    """An agent with a pot in its cart, and the person whom it shops for. What they send is served by this process."""

    def __init__(self, pots: int = 1, **more: Any) -> None:
        self.token = ""
        self.begins_with(self.send("POST", "/session", {"agent_name": "Pocket Assistant", **more}))
        self.send("POST", "/cart", {"item_id": POT, "quantity": pots})

    def begins_with(self, data: Any) -> None:
        self.token, self.session_id = data["session_token"], uuid.UUID(data["session_id"])

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "", token: str | None = None) -> Any:
        token = self.token if token is None else token
        told = {"X-Agent-Session": token, "Idempotency-Key": key}
        headers = {name: value for name, value in told.items() if value}
        client = Client(raise_request_exception=False)
        return client.generic(
            method, API + path, json.dumps(body or {}), content_type="application/json", headers=headers
        )

    def send(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status_code < 300, answer.content
        return answer.json()["data"]

    def asking(self, path: str, body: Any = None, *, token: str | None = None) -> Act:
        """Return a request that can be sent again."""
        key, now = str(uuid.uuid4()), self.token if token is None else token
        return lambda: self.ask("POST", path, body, key=key, token=now)

    def paying(self, card: str = PAYS) -> Act:
        """Hand over, and return what the person does: look at the page, and pay if there is something to pay."""
        client = Client(raise_request_exception=False)
        client.get("/" + self.send("POST", "/checkout")["checkout_url"].split("/", 3)[3], follow=True)

        def pay() -> Any:
            page = client.get(CHECKOUT)
            form = dict(HIDDEN.findall(page.content.decode()))
            return client.post(CHECKOUT, {**form, **ADDRESS, "token": card}, follow=True) if form else page

        return pay

    def approving(self) -> Act:
        """Ask for approval, and return what the person does: type what it costs and agree."""
        assert self.ask("POST", "/checkout").status_code == 403
        asked = self.send("POST", "/session/approvals", {"reason": "Pots for the office."})
        address = "/" + asked["approval_url"].split("/", 3)[3]
        client = Client(raise_request_exception=False)
        return lambda: client.post(address, {"total": asked["amount"], "answer": "grant"})
