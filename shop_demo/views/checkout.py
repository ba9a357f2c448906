"""Where a human sees what an agent put together, pays for it and gets an order."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agent_sessions import selectors
from agent_sessions.exceptions import DevicesUnconfirmed, HandoffClosed, StepRefused
from agent_sessions.store import Handoff, HandoffStatus
from shop_demo.checkout import CartMoved, check, instructions_of, pay, payment_in_the_way, quote_of
from shop_demo.forms import CheckoutForm
from shop_demo.models import Order, Payment, Product
from shop_demo.payments import REASONS, TOKENS
from shop_demo.seen import Seen
from shop_demo.steps import TITLES, way_on

Outcome = Payment.Outcome


@transaction.non_atomic_requests  # what is committed before the provider is called has to stay
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest) -> HttpResponse:
    """Show the cart as it would be paid now; a POST pays for exactly what its form showed."""
    handoff = selectors.handoff_of_request(request)
    if handoff is None:
        return render(request, "shop/checkout_none.html", status=404)
    if request.method == "POST":
        return _pay(request, handoff)
    return _show(request, handoff)


@transaction.non_atomic_requests
@never_cache
@require_POST
def check_again(request: HttpRequest) -> HttpResponse:
    """Ask the provider what became of a payment whose answer was lost."""
    handoff = selectors.handoff_of_request(request)
    payment = None if handoff is None else payment_in_the_way(handoff.session_id)
    if handoff is None or payment is None:
        return redirect("shop:checkout")
    return _answer(request, handoff, check(payment))


@never_cache
@require_safe
def order(request: HttpRequest, ref: str) -> HttpResponse:
    found = get_object_or_404(Order.objects.prefetch_related("lines").select_related("payment"), ref=ref)
    return render(request, "shop/order.html", {"order": found, "card": TOKENS[found.payment.token]})


def _pay(request: HttpRequest, handoff: Handoff) -> HttpResponse:
    form = CheckoutForm(request.POST)
    seen = Seen.from_signed(request.POST.get("seen", ""))
    if not form.is_valid() or seen is None:
        return _show(request, handoff, form=form, status=400)
    try:
        payment = pay(
            handoff.id,
            seen=seen,
            token=form.cleaned_data["token"],
            buyer=form.buyer,
            submission=form.cleaned_data["submission"],
            for_all_devices=form.cleaned_data["confirm_devices"],
        )
    except CartMoved:
        return _show(request, selectors.get_handoff(handoff.id), form=form, seen=seen, status=409)
    except DevicesUnconfirmed:
        return _show(request, selectors.get_handoff(handoff.id), form=form, status=409)
    except StepRefused:
        return _show(request, selectors.get_handoff(handoff.id), form=form, refused=True, status=409)
    except HandoffClosed:
        return _show(request, selectors.get_handoff(handoff.id), status=409)
    return _answer(request, handoff, payment, form)


def _answer(request: HttpRequest, handoff: Handoff, payment: Payment, form: CheckoutForm | None = None) -> HttpResponse:
    """Tell the human how a payment went."""
    if payment.order is not None:
        return redirect(payment.order)
    if payment.outcome in (Outcome.DECLINED, Outcome.REFUNDED):
        current = selectors.get_handoff(handoff.id)
        return _show(request, current, form=form, failed=payment, status=402)
    return redirect("shop:checkout")


def _show(
    request: HttpRequest,
    handoff: Handoff,
    *,
    form: CheckoutForm | None = None,
    seen: Seen | None = None,
    failed: Payment | None = None,
    refused: bool = False,
    status: int = 200,
) -> HttpResponse:
    """Show the handoff as it stands. ``seen`` is what the human saw before, if that was something else.

    ``failed`` is a payment of which nothing came; ``refused``: the way to pay that was chosen is not open any more.
    """
    context: dict[str, Any] = {"handoff": handoff, "failed": failed, "refused": refused}
    if failed is not None:
        context["reason"] = REASONS.get(failed.code, "The card was declined.")
    waiting = payment_in_the_way(handoff.session_id)
    if waiting is not None and waiting.order is None:
        return render(request, "shop/checkout_unknown.html", {**context, "payment": waiting})
    if not handoff.can_be_paid:
        made = Order.objects.filter(session_id=handoff.session_id).first()
        return render(request, "shop/checkout_closed.html", {**context, "order": made}, status=status)
    action, method = way_on(handoff.session_id)
    quote = quote_of(handoff)
    now = Seen.of_quote(quote, handoff)
    pictures = dict(
        Product.objects.filter(variants__sku__in=[line.item for line in quote.lines]).values_list(
            "variants__sku", "picture"
        )
    )
    context |= {
        "quote": quote,
        "lines": [(line, pictures.get(line.item, "")) for line in quote.lines],
        "instructions": instructions_of(handoff),
        "agent_changes": _agent_changes(handoff),
        "quote_changes": Seen.of_state(handoff).changes_to(now),
        "moved": None if seen is None else seen.changes_to(now),
        "form": _fresh(form, now),
        "tokens": TOKENS.values(),
        "given_up": action == "escalate",
        "instead": TITLES.get(method, "") if action == "run" else "",
    }
    return render(request, "shop/checkout.html", context, status=status)


def _fresh(form: CheckoutForm | None, now: Seen) -> CheckoutForm:
    """Return the form with what the page now shows and a new submission, keeping what the human typed."""
    hidden = {"seen": now.signed(), "submission": str(uuid.uuid4())}
    if form is None:
        return CheckoutForm(initial=hidden)
    if form.is_valid():
        return CheckoutForm(initial={**form.cleaned_data, **hidden})
    return CheckoutForm({**form.data.dict(), **hidden})  # type: ignore[attr-defined]


def _agent_changes(handoff: Handoff) -> list[str]:
    """Say what the agent has changed since it handed over."""
    if handoff.status is not HandoffStatus.CHANGED:
        return []
    return [one.text for one in selectors.compare(handoff.session_id, handoff.handed_version, handoff.version)]
