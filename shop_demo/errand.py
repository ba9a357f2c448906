"""The story that the scripted agent plays: it buys something in a shop, over HTTP, and proves what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from shop_demo.agent import NAME, Agent, Handover
from shop_demo.human import SAMPLE, Human
from shop_demo.web import Problem

WANTS = ("celadon teapot", "sencha")
VOUCHER = "HARVEST10"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. ``order_url`` is empty if nobody was there to pay; ``record`` if there is none yet."""

    handoff_url: str
    order_url: str = ""
    record: bytes = b""
    public_key: str = ""


def run(
    site: str,
    *,
    tell: Callable[[str], None],
    wants: Sequence[str] = WANTS,
    voucher: str = VOUCHER,
    pay: bool = False,
    name: str = NAME,
    assertion: str = "",
) -> Report:
    """Buy one of each of ``wants``. Raises Problem, or Refused where the shop does not do what it should.

    ``tell`` is called with a line of text about every step. ``pay`` plays the human too. With ``assertion`` the agent
    acts for a customer of the shop.
    """
    agent = Agent(site, tell, name=name, assertion=assertion)
    steps = 7 if pay else 6
    tell(f"[1/{steps}] What does the shop offer?")
    agent.discover()
    tell(f"[2/{steps}] Open a session")
    agent.open_session("a gift for a friend who drinks tea")
    tell(f"[3/{steps}] Look for {' and '.join(wants)}")
    found = [agent.find(words) for words in wants]
    tell(f"[4/{steps}] Fill the cart")
    agent.ask_for_too_many(found[0])
    for item in found:
        agent.add(item, 1)
    if voucher:
        agent.use_voucher(voucher)
    tell(f"[5/{steps}] Hand over to the human")
    handover = agent.check_out()
    order_url = ""
    if pay:
        tell(f"[6/{steps}] The human pays")
        order_url = _pay(handover, tell)
    tell(f"[{steps}/{steps}] Prove it")
    if not pay and agent.is_live():
        tell("The session goes on until the human has paid, or it expires; its record exists when it has ended.")
        return Report(handover.url)
    agent.end_session()
    if not agent.has_audit:
        tell("This shop gives out no records of its sessions.")
        return Report(handover.url, order_url)
    return Report(handover.url, order_url, agent.fetch_record(), agent.public_key)


def _pay(handover: Handover, tell: Callable[[str], None]) -> str:
    """Play the human: open the link, compare the amount with the agent's, pay; return the order's address."""
    human = Human()
    page = human.open(handover.url)
    if page.status != 200:
        raise Problem(f"The link answers {page.status}: {page.text[:300]}", "Ask the agent for a new link.")
    tell(f"I opened the link. The page says: {page.heading}")
    if handover.total not in page.text:
        raise Problem(
            f"The page does not say {handover.total} {handover.currency}, which the agent was told.",
            "Prices have changed, or the page shows another cart: look at it before paying.",
        )
    page = human.pay(page)
    if page.status != 200 or not urlsplit(page.answer.url).path.startswith("/orders/"):
        raise Problem(f"The payment led to no order ({page.status}).", f"The page says: {page.text[:300]}")
    tell(f"I paid {handover.total} {handover.currency} as {SAMPLE['name']}. The page says: {page.heading}")
    return page.answer.url
