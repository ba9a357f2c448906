"""A shopping agent, scripted: it knows agents-protocol and nothing of this shop, and uses the standard library only.

``Agent`` does what an assistant does for somebody; ``shop_demo.human`` plays the person who pays, ``shop_demo.errand``
is the story they play. Any agent can be written like this: what it needs to know of a site is in its agents.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.exceptions import KeyProblem
from shop_demo.web import Answer, Problem, fetch

NAME, VERSION = "Scripted shopper", "1.0"
LONGEST_WAIT = 65
"""Seconds that the agent waits when a site asks it to come back later."""


class Refused(Exception):
    """The shop did not do what was asked. ``status``, ``message`` and ``details`` are the shop's own."""

    def __init__(self, answer: Answer) -> None:
        told = answer.json()
        self.status = answer.status
        self.message = str(told.get("error", "no reason given"))
        self.details: Mapping[str, Any] = told.get("details") or {}
        super().__init__(f"{self.status}: {self.message}")


@dataclass(frozen=True, slots=True)
class Handover:
    """What the agent gives to the human: where to pay, until when, and what it will cost."""

    url: str
    expires_at: str
    total: str
    currency: str


class Agent:
    """One shopper on one site. ``tell`` is called with a line about every step.

    ``assertion`` is what the shop gave to the customer for whom the agent acts, if it acts for one whom the shop knows.

    Every method raises Problem, which says what went wrong and what to do, when the site does not keep to the protocol.
    """

    def __init__(
        self, site: str, tell: Callable[[str], None], *, name: str = NAME, version: str = VERSION, assertion: str = ""
    ) -> None:
        self.site = site.rstrip("/")
        self.tell = tell
        self.name, self.version = name, version
        self.assertion = assertion
        self.manifest: dict[str, Any] = {}
        self.token = ""

    def discover(self) -> None:
        """Read agents.json: what the site offers, and where."""
        url = self.site + "/.well-known/agents.json"
        answer = fetch("GET", url)
        if answer.status != 200:
            raise Problem(f"{url} answers {answer.status}.", "Is this the address of a shop that agents can use?")
        self.manifest = answer.json()
        if not isinstance(self.manifest.get("capabilities"), list) or "session" not in self.manifest:
            raise Problem(f"{url} names no capabilities or no session.", "The shop has to repair its agents.json.")
        names = [one["name"] for one in self.manifest["capabilities"]]
        self.tell(f"This is {self.manifest['site']['name']}. I can use {', '.join(names)}.")

    def open_session(self, purpose: str) -> None:
        """Open a session; all that follows belongs to it."""
        body = {"agent_name": self.name, "agent_version": self.version, "purpose": purpose}
        data = self._send("POST", self._session_address, body)
        self.token = data["session_token"]
        self.tell(f"I have a session until {data['expires_at']}.")

    def find(self, words: str) -> dict[str, Any]:
        """Search, look at the first result in detail, and return what of it can be bought now."""
        results = self.call("search", q=words)
        if isinstance(results, dict):
            results = results.get("results", [])
        if not results:
            raise Problem(f"The shop has nothing that fits {words!r}.", "Ask for something else with --want.")
        item = self.call("detail", id=results[0]["id"])
        choices = [one for one in (item, *item.get("variants", [])) if one.get("price") and one.get("for_sale", True)]
        if not choices:
            raise Problem(f"{item['title']} cannot be bought right now.", "Ask for something else with --want.")
        chosen: dict[str, Any] = choices[0]
        stock = chosen.get("available")
        self.tell(
            f"{words!r}: {_named(chosen)}, {chosen['price']} {chosen['currency']}"
            + ("" if stock is None else f", {stock} in stock")
            + (f", out of {len(choices)} to choose from." if len(choices) > 1 else ".")
        )
        return chosen

    def add(self, item: Mapping[str, Any], quantity: int) -> None:
        """Put something into the cart. Raises Refused."""
        cart = self.call("cart.add", item_id=item["id"], quantity=quantity)["cart"]
        self.tell(f"{quantity} × {_named(item)} is in the cart; it comes to {cart['total']} {cart['currency']}.")

    def ask_for_too_many(self, item: Mapping[str, Any]) -> None:
        """Ask for one more than there is, to see how the shop refuses."""
        stock = item.get("available")
        if stock is None:
            return
        try:
            self.add(item, stock + 1)
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            self.tell(f"I asked for {stock + 1} × {_named(item)}. The shop says: {refusal.message}")
            return
        raise Problem(
            f"The shop sold {stock + 1} × {_named(item)} and said before that it has {stock}.",
            "Its stock and its cart do not agree.",
        )

    def use_voucher(self, code: str) -> None:
        """Put a voucher on the cart, if this shop takes vouchers from agents."""
        if not self._offered("voucher.apply"):
            self.tell("This shop takes no vouchers from agents.")
            return
        cart = self.call("voucher.apply", code=code)
        off = ", ".join(f"{one['label']}: {one['amount']}" for one in cart.get("discounts", ()))
        self.tell(f"Voucher {code} is on the cart ({off}); it comes to {cart['total']} {cart['currency']}.")

    def check_out(self) -> Handover:
        """Hand the cart over to the human."""
        data = self.call("checkout")
        cart = data.get("cart", {})
        handover = Handover(
            data["handoff_url"], data["expires_at"], str(cart.get("total", "")), str(cart.get("currency", ""))
        )
        self.tell(f"The shop says: {data['message']}")
        self.tell(f"The link is good until {handover.expires_at}: {handover.url}")
        return handover

    def is_live(self) -> bool:
        """Whether the session goes on. Some shops end it at checkout, others when the human has paid."""
        try:
            self.call("cart.view")
        except Refused as refusal:
            if refusal.status == 401:
                return False
            raise
        return True

    def end_session(self) -> None:
        """End the session, if the shop has not."""
        try:
            self._send("DELETE", self._session_address)
        except Refused as refusal:
            if refusal.status != 401:
                raise

    @property
    def has_audit(self) -> bool:
        return bool(self.manifest.get("audit", {}).get("enabled"))

    @property
    def public_key(self) -> str:
        """The key that the site publishes for its records."""
        return str(self.manifest["audit"]["public_key"])

    def fetch_record(self) -> bytes:
        """Fetch the signed record of the session that has ended, and verify it without asking the shop."""
        address = self._url(self.manifest["audit"]["endpoint"]).removesuffix("/:session_id") + "/" + self.token
        answer = self._patiently("GET", address, None)
        if answer.status != 200:
            raise Refused(answer)
        try:
            keys = [read_public_key(self.public_key)]
        except KeyProblem as problem:
            raise Problem("The public key in agents.json cannot be read.", str(problem)) from None
        result = verify_artifact(answer.body, keys)
        if not (result.ok and result.trusted):
            found = "; ".join(f"{one.where} {one.message}" for one in result.problems) or "another key signed it"
            raise Problem(f"The record of the session does not verify: {found}.", "Do not trust it; ask the shop.")
        self.tell(f"The record of it has {result.event_count} events and is signed with the shop's key: verified.")
        if result.logged is not None:
            self.tell(f"It is leaf {result.logged.leaf_index} of the {result.logged.tree_size} in the shop's log.")
        return answer.body

    def call(self, name: str, **params: Any) -> Any:
        """Call a capability as agents.json describes it; return its ``data``. Raises Refused."""
        entry = self._offered(name)
        if entry is None:
            raise Problem(f"The shop does not offer {name}.", "This agent needs it; another shop may have it.")
        address = self._url(entry["endpoint"])
        for param in list(params):
            if f"/:{param}" in address:
                address = address.replace(f":{param}", quote(str(params.pop(param)), safe=""))
        if entry["method"] == "GET":
            return self._send("GET", address + ("?" + urlencode(params) if params else ""))
        return self._send(entry["method"], address, params)

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self._patiently(method, url, body)
        told = answer.json()
        if told.get("ok") is not True or "data" not in told:
            raise Refused(answer)
        return told["data"]

    def _patiently(self, method: str, url: str, body: Mapping[str, Any] | None) -> Answer:
        """Send a request; when the site says "later", wait once and send it again."""
        headers = {"X-Agent-Session": self.token} if self.token else {}
        if self.assertion and not self.token:  # the session that is opened with it knows from then on
            headers["X-Agent-Consumer"] = self.assertion
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        answer = fetch(method, url, content=content, headers=headers)
        wait = answer.headers.get("Retry-After", "")
        if answer.status != 429 or not wait.isdigit() or int(wait) > LONGEST_WAIT:
            return answer
        self.tell(f"The shop asks me to wait {wait} seconds.")
        time.sleep(int(wait))
        return fetch(method, url, content=content, headers=headers)

    def _offered(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self.manifest["capabilities"] if one["name"] == name), None)

    def _url(self, endpoint: str) -> str:
        """Endpoints are absolute, or paths on the site."""
        return urljoin(f"{self.manifest['site']['url']}/", endpoint)

    @property
    def _session_address(self) -> str:
        session = self.manifest["session"]
        return self._url(str(session.get("endpoint") or session["create"]))


def _named(item: Mapping[str, Any]) -> str:
    options = ", ".join(item.get("options", {}).values())
    return f"{item['title']} ({options})" if options else str(item["title"])
