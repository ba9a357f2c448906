"""What somebody was shown of a cart, and how to tell them what has become different since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core import signing

from agent_sessions.store import Handoff, Quote
from shop_demo.money import euros

_SALT = "shop_demo.seen"


@dataclass(frozen=True, slots=True)
class Seen:
    """A cart as it was shown: of each line its name, quantity and unit price; of each voucher its amount."""

    handoff: str
    fingerprint: str
    version: int
    total: int
    shipping: int
    lines: Mapping[str, tuple[str, int, int]]
    vouchers: Mapping[str, int]

    @classmethod
    def of_quote(cls, quote: Quote, handoff: Handoff) -> Seen:
        lines = {line.id: (_named(line.title, line.variant), line.quantity, line.unit_price) for line in quote.lines}
        vouchers = {discount.code: discount.amount for discount in quote.discounts}
        shipping = quote.shipping or 0
        return cls(str(handoff.id), quote.fingerprint, handoff.version, quote.total, shipping, lines, vouchers)

    @classmethod
    def of_state(cls, handoff: Handoff) -> Seen:
        """What the agent was quoted last: the session's slice ``shopping``."""
        shopping: Any = handoff.state.get("shopping", {})
        quote = shopping.get("quote", {})
        lines = {
            key: (_named(line["title"], line.get("variant", "")), line["quantity"], line["unit_price"])
            for key, line in shopping.get("lines", {}).items()
        }
        vouchers = {one["code"]: one["amount"] for one in shopping.get("discounts", {}).values()}
        shipping = quote.get("extra", {}).get("shipping", 0)
        fingerprint, total = quote.get("fingerprint", ""), quote.get("total", 0)
        return cls(str(handoff.id), fingerprint, handoff.version, total, shipping, lines, vouchers)

    def signed(self) -> str:
        """Return it as text for a hidden field, which nobody can alter."""
        amounts = [self.total, self.shipping, dict(self.lines), dict(self.vouchers)]
        return signing.dumps([*self.what, *amounts], salt=_SALT, compress=True)

    @classmethod
    def from_signed(cls, text: str) -> Seen | None:
        """Read what ``signed`` gave; None for anything else."""
        try:
            told = signing.loads(text, salt=_SALT)
        except signing.BadSignature:
            return None
        handoff, fingerprint, version, total, shipping, lines, vouchers = told
        lines = {key: tuple(line) for key, line in lines.items()}
        return cls(handoff, fingerprint, version, total, shipping, lines, vouchers)

    @property
    def what(self) -> tuple[str, str, int]:
        """What has to be the same for a payment to be made: whose cart, all amounts and lines, and its version."""
        return self.handoff, self.fingerprint, self.version

    def changes_to(self, now: Seen) -> list[str]:
        """Say in sentences what is different now."""
        told: list[str] = []
        for key, (name, quantity, price) in self.lines.items():
            if key not in now.lines:
                told.append(f"{name} is no longer in what you would pay for.")
                continue
            _, quantity_now, price_now = now.lines[key]
            if price != price_now:
                told.append(f"{name}: {euros(price)} each before, {euros(price_now)} now.")
            if quantity != quantity_now:
                told.append(f"{name}: {quantity} before, {quantity_now} now.")
        told += [f"{now.lines[key][0]} is new." for key in now.lines.keys() - self.lines.keys()]
        for code, amount in self.vouchers.items():
            amount_now = now.vouchers.get(code, 0)
            if amount_now == 0:
                told.append(f"Voucher {code} no longer takes {euros(-amount)} off.")
            elif amount != amount_now:
                told.append(f"Voucher {code}: {euros(-amount)} off before, {euros(-amount_now)} now.")
        told += [f"Voucher {code} is new." for code in now.vouchers.keys() - self.vouchers.keys()]
        if self.shipping != now.shipping:
            told.append(f"Shipping: {_shipping(self.shipping)} before, {_shipping(now.shipping)} now.")
        if self.total != now.total:
            told.append(f"The total was {euros(self.total)} and is {euros(now.total)} now.")
        return told


def _named(title: str, variant: str) -> str:
    return f"{title} ({variant})" if variant else title


def _shipping(amount: int) -> str:
    return euros(amount) if amount else "free"
