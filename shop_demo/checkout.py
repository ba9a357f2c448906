"""A human pays for what an agent put together: exactly what they saw, exactly once.

The provider is asked between transactions, never inside one. Before it is asked, a ``Payment`` row says that it will
be; when the outcome is known, one transaction makes the order, or decides that the money goes back. Whoever comes
second, in another window or after a crash, finds the row and joins instead of paying again: the table allows one open
or successful payment per session (``shop_one_payment_per_session``).
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import (
    DevicesUnconfirmed,
    HandoffClosed,
    SessionEnded,
    StepRefused,
    VersionConflict,
)
from agent_sessions.store import CartLine, Handoff, HandoffStatus, Quote, StoreContext, held_problems
from agent_sessions.store.cart import cart_lines, cart_vouchers
from shop_demo import payments
from shop_demo.models import Order, OrderLine, Payment, Variant
from shop_demo.payments import Charge, ProviderTimeout, provider
from shop_demo.seen import Seen
from shop_demo.steps import end_payment, note_provider, start_payment
from shop_demo.store import DemoStore

HUMAN = Actor("consumer")
_REF_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
Outcome = Payment.Outcome


class CartMoved(Exception):
    """The cart, its prices, the stock or a voucher are not what the person saw. Nothing was charged."""


class SoldOut(Exception):
    """Between the payment and the order somebody else bought the last piece."""


_NO_ORDER = (SoldOut, HandoffClosed, VersionConflict, DevicesUnconfirmed, SessionEnded, StepRefused)
"""What can keep a cart that was paid from being ordered."""


@dataclass(frozen=True, slots=True)
class Buyer:
    email: str
    name: str
    address: str

    def as_json(self) -> dict[str, str]:
        return {"email": self.email, "name": self.name, "address": self.address}


def quote_of(handoff: Handoff) -> Quote:
    """Price what the agent put together as of now, but for what is held for other shoppers."""
    store, ctx, vouchers = DemoStore(), StoreContext(), cart_vouchers(handoff.state)
    lines = [CartLine(key, item, quantity) for key, (item, quantity) in sorted(cart_lines(handoff.state).items())]
    quote = store.price(lines, vouchers, ctx=ctx)
    held = held_problems(store, lines, quote, partial(selectors.held_by_others, handoff.session_id), ctx=ctx)
    if held:
        blamed = {problem.line for problem in held}
        quote = store.price([line for line in lines if line.id not in blamed], vouchers, ctx=ctx)
    return replace(quote, problems=[*quote.problems, *held])


def instructions_of(handoff: Handoff) -> str:
    """Return what the agent passed on about the delivery."""
    shopping = handoff.state.get("shopping")
    told = shopping.get("instructions") if isinstance(shopping, dict) else None
    return told if isinstance(told, str) else ""


def pay(
    handoff_id: uuid.UUID, *, seen: Seen, token: str, buyer: Buyer, submission: uuid.UUID, for_all_devices: bool = False
) -> Payment:
    """Charge what the person saw and make the order; return how it went.

    ``submission`` is new with every form shown: the same form sent twice pays once. ``for_all_devices``: the person was
    shown which other agents of theirs are active and goes on with this cart. Raises CartMoved, DevicesUnconfirmed
    and StepRefused, if it cannot be paid in this way any more (nothing was charged), and HandoffClosed.
    """
    if for_all_devices:
        services.confirm_devices(handoff_id)
    payment = _begin(handoff_id, submission, seen, token, buyer)
    if payment.outcome not in Payment.OPEN:
        return payment
    try:
        charge = provider.charge(payment.token, payment.amount, payment.currency, payment.key)
    except ProviderTimeout:
        Payment.objects.filter(pk=payment.pk, outcome=Outcome.STARTED).update(outcome=Outcome.UNKNOWN)
        note_provider(payment, code="timeout")
        payment.refresh_from_db()
        return payment
    return _settle(payment, charge)


def check(payment: Payment) -> Payment:
    """Find out what became of a payment whose outcome is open, and finish what it began. Charges nothing."""
    if payment.outcome == Outcome.REFUNDING:
        return _refund(payment)
    if payment.outcome not in Payment.OPEN:
        return payment
    return _settle(payment, provider.status(payment.key) or provider.cancel(payment.key))


def payment_in_the_way(session_id: uuid.UUID) -> Payment | None:
    """Return the session's payment that keeps it from being charged again, if there is one."""
    return Payment.objects.filter(session_id=session_id, outcome__in=Payment.IN_THE_WAY).select_related("order").first()


def _begin(handoff_id: uuid.UUID, submission: uuid.UUID, seen: Seen, token: str, buyer: Buyer) -> Payment:
    """Write down that the person agreed to pay for what they saw, if that is still what there is.

    The agent's session says so in the same transaction: it begins a step, whose key the provider is given.
    """
    session_id = selectors.get_handoff(handoff_id).session_id
    try:
        with transaction.atomic(durable=True):
            handoff = selectors.get_handoff(handoff_id)
            sent = Payment.objects.filter(handoff_id=handoff_id, submission=submission).first()
            known = sent or payment_in_the_way(session_id)
            return known or _add_payment(handoff, submission, seen, token, buyer)
    except (IntegrityError, StepRefused, SessionEnded) as problem:
        # This form was sent before, or another window was faster: that payment is the one.
        known = payment_in_the_way(session_id) or Payment.objects.filter(submission=submission).last()
        if known is not None and known.session_id == session_id:
            return known
        if isinstance(problem, SessionEnded):
            raise HandoffClosed(HandoffStatus.ENDED.value) from problem
        raise


def _add_payment(handoff: Handoff, submission: uuid.UUID, seen: Seen, token: str, buyer: Buyer) -> Payment:
    if not handoff.can_be_paid:
        raise HandoffClosed(handoff.status, handoff.order_ref)
    if handoff.others:
        raise DevicesUnconfirmed(handoff.others)
    quote = quote_of(handoff)
    if not quote.lines or seen.what != Seen.of_quote(quote, handoff).what:
        raise CartMoved
    step = start_payment(
        handoff.session_id, submission, token=token, amount=quote.total, currency=quote.currency, actor=HUMAN
    )
    return Payment.objects.create(
        key=f"{handoff.id}:{submission}" if step is None else step.key,
        attempt=None if step is None else step.attempt,
        submission=submission,
        session_id=handoff.session_id,
        session_version=handoff.version,
        handoff_id=handoff.id,
        token=token,
        amount=quote.total,
        currency=quote.currency,
        agreed={**_agreed(quote), "instructions": instructions_of(handoff)},
        buyer=buyer.as_json(),
    )


def _settle(payment: Payment, charge: Charge) -> Payment:
    """Carry out what the provider's answer means. Many may do it at once; one does it."""
    note_provider(payment)
    if charge.outcome == payments.SUCCEEDED:
        try:
            _make_order(payment)
        except _NO_ORDER as problem:
            code = "sold_out" if isinstance(problem, SoldOut) else "cart_closed"
            _fail(payment, Outcome.REFUNDING, code)
            payment.refresh_from_db()
            return _refund(payment) if payment.outcome == Outcome.REFUNDING else payment
    else:
        _fail(payment, Outcome(charge.outcome), charge.code)
    payment.refresh_from_db()
    return payment


def _fail(payment: Payment, outcome: Payment.Outcome, code: str) -> None:
    """Say, here and in the agent's session, that nothing came of a payment."""
    with transaction.atomic(durable=True):
        # The session may have ended, or somebody may have decided about the step: the money goes its way all the same.
        if _move(payment, outcome, code):
            with suppress(SessionEnded, StepRefused):
                end_payment(payment, code, HUMAN)


def _make_order(payment: Payment) -> None:
    """Take the goods from the stock and make the order, or nothing of it. What others hold stays there.

    Raises ``_NO_ORDER``: the money then has to go back.
    """
    with transaction.atomic(durable=True):
        if not _move(payment, Outcome.SUCCEEDED):
            return
        end_payment(payment, "", HUMAN)
        agreed, ref = payment.agreed, _new_ref()
        order = Order.objects.create(
            ref=ref,
            session_id=payment.session_id,
            session_version=payment.session_version,
            handoff_id=payment.handoff_id,
            currency=payment.currency,
            total=payment.amount,
            **{name: agreed[name] for name in ("subtotal", "discount", "shipping", "tax", "vouchers", "instructions")},
            **payment.buyer,
        )
        held = services.lock_held_items(payment.session_id, [line["sku"] for line in agreed["lines"]])
        # In one order everywhere, so that two orders never wait for each other's rows.
        for line in sorted(agreed["lines"], key=lambda line: line["sku"]):
            taken = Variant.objects.filter(sku=line["sku"], stock__gte=line["quantity"] + held[line["sku"]])
            if not taken.update(stock=F("stock") - line["quantity"]):
                raise SoldOut(line["sku"])
        variants = Variant.objects.select_related("product").in_bulk(
            [line["sku"] for line in agreed["lines"]], field_name="sku"
        )
        OrderLine.objects.bulk_create(
            OrderLine(
                order=order,
                variant=variants[line["sku"]],
                picture=variants[line["sku"]].product.picture,
                **line,
            )
            for line in agreed["lines"]
        )
        Payment.objects.filter(pk=payment.pk).update(order=order)
        services.complete_handoff(payment.handoff_id, version=payment.session_version, order_ref=ref, actor=HUMAN)


def _refund(payment: Payment) -> Payment:
    """Send the money back; safe to repeat after a crash."""
    provider.refund(payment.key)
    Payment.objects.filter(pk=payment.pk, outcome=Outcome.REFUNDING).update(outcome=Outcome.REFUNDED)
    payment.refresh_from_db()
    return payment


def _move(payment: Payment, outcome: Payment.Outcome, code: str = "") -> bool:
    """Give an open payment its outcome; False if somebody else has. Who the goods go to is kept by orders only."""
    rows = Payment.objects.filter(pk=payment.pk, outcome__in=Payment.OPEN)
    return bool(rows.update(outcome=outcome, code=code, buyer={}))


def _agreed(quote: Quote) -> Mapping[str, Any]:
    return {
        "lines": [
            {
                "sku": line.item,
                "title": line.title,
                "label": line.variant,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "total": line.total,
            }
            for line in quote.lines
        ],
        "subtotal": quote.subtotal,
        "discount": -sum(discount.amount for discount in quote.discounts),
        "shipping": quote.shipping or 0,
        "tax": quote.tax or 0,
        "vouchers": [{"code": one.code, "label": one.label, "amount": -one.amount} for one in quote.discounts],
    }


def _new_ref() -> str:
    """Return a reference that cannot be guessed: 80 bits, in groups that can be read out."""
    letters = "".join(secrets.choice(_REF_ALPHABET) for _ in range(16))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))
