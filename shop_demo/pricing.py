"""What a cart costs: prices with tax, vouchers, shipping. Amounts are whole cents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from agent_sessions.domain.money import format_money
from agent_sessions.store import CartLine, PricedDiscount, PricedLine, Problem, Quote
from shop_demo.models import Variant, Voucher

CURRENCY = "EUR"
SHIPPING = 490
FREE_SHIPPING_FROM = 5000
TAX_PERCENT = 20


def priced(
    lines: Sequence[CartLine],
    codes: Sequence[str],
    *,
    variants: Mapping[str, Variant],
    products: Mapping[str, Sequence[Variant]],
    vouchers: Mapping[str, Voucher],
    now: datetime,
) -> Quote:
    """Price a cart.

    ``variants`` are known by SKU, ``products`` by slug (all variants of one that somebody named), ``vouchers`` by
    code. Lines that cannot be sold and vouchers that do not hold are left out and told in the quote's problems.
    """
    good, problems = _lines(lines, variants, products)
    subtotal = sum(line.total for line in good)
    discounts, refused = _discounts(codes, vouchers, subtotal, now)
    goods = subtotal + sum(discount.amount for discount in discounts)
    shipping = SHIPPING if good and goods < FREE_SHIPPING_FROM else 0
    total = goods + shipping
    return Quote(
        currency=CURRENCY,
        lines=good,
        total=total,
        discounts=discounts,
        shipping=shipping,
        tax=half_up(total * TAX_PERCENT, 100 + TAX_PERCENT),
        problems=[*problems, *refused],
    )


def half_up(amount: int, divisor: int) -> int:
    """Divide and round, halves up. Both are positive."""
    return (2 * amount + divisor) // (2 * divisor)


def _lines(
    lines: Sequence[CartLine], variants: Mapping[str, Variant], products: Mapping[str, Sequence[Variant]]
) -> tuple[list[PricedLine], list[Problem]]:
    good: list[PricedLine] = []
    problems: list[Problem] = []
    taken: dict[str, int] = {}
    for line in lines:
        variant = variants.get(line.item)
        if variant is None:
            problems.append(_not_a_variant(line, products.get(line.item, ())))
            continue
        left = variant.stock - taken.get(variant.sku, 0)
        if not variant.product.for_sale:
            problems.append(Problem("not_for_sale", f"{variant} is not sold any more.", line=line.id))
        elif left < line.quantity:
            told = (
                f"Only {left} of {variant} left; you asked for {line.quantity}." if left else f"{variant} is sold out."
            )
            problems.append(Problem("out_of_stock", told, line=line.id, available=left))
        else:
            taken[variant.sku] = taken.get(variant.sku, 0) + line.quantity
            good.append(
                PricedLine(
                    id=line.id,
                    item=variant.sku,
                    title=variant.product.title,
                    quantity=line.quantity,
                    unit_price=variant.price_minor,
                    total=variant.price_minor * line.quantity,
                    variant=variant.label,
                    options=dict(variant.options),
                )
            )
    return good, problems


def _not_a_variant(line: CartLine, siblings: Sequence[Variant]) -> Problem:
    if not siblings:
        return Problem("unknown_item", "The shop has no such item.", line=line.id)
    choices = ", ".join(f"{variant.sku} ({variant.label})" if variant.label else variant.sku for variant in siblings)
    return Problem(
        "not_for_sale", f"{siblings[0].product.title} is bought as one of its variants: {choices}.", line=line.id
    )


def _discounts(
    codes: Sequence[str], vouchers: Mapping[str, Voucher], subtotal: int, now: datetime
) -> tuple[list[PricedDiscount], list[Problem]]:
    """Each voucher counts on the goods before discounts, in the order of the codes; together at most the goods."""
    discounts: list[PricedDiscount] = []
    problems: list[Problem] = []
    left = subtotal
    for code in sorted(set(codes)):
        voucher = vouchers.get(code.upper())
        refusal = _refusal(voucher, subtotal, now)
        if voucher is None or refusal:
            problems.append(Problem("invalid_voucher", refusal, voucher=code))
            continue
        worth = half_up(subtotal * voucher.percent, 100) if voucher.percent else voucher.amount_minor or 0
        amount = min(worth, left)
        left -= amount
        discounts.append(PricedDiscount(id=f"voucher-{voucher.code}", amount=-amount, label=voucher.label, code=code))
    return discounts, problems


def _refusal(voucher: Voucher | None, subtotal: int, now: datetime) -> str:
    if voucher is None:
        return "There is no such voucher."
    if now < voucher.valid_from:
        return f"The voucher {voucher.code} is not valid yet."
    if now >= voucher.valid_until:
        return f"The voucher {voucher.code} has expired."
    if subtotal < voucher.minimum_minor:
        minimum = format_money(voucher.minimum_minor, CURRENCY)
        return f"The voucher {voucher.code} holds from goods worth {minimum} on."
    return ""
