"""Where a signed-in customer sees the agents that act for them, lets one act, and lets another take over."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import LoginView, LogoutView, redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from agent_sessions import selectors, services
from agent_sessions.exceptions import AgentSessionsError, HandoffNotFound, SessionEnded, SessionHeld
from agent_sessions.services.confirmations import CONSUMER
from shop_demo.customers import consumer_of, own_session, reference_of
from shop_demo.models import Category
from shop_demo.overview import devices_asked, name_of, overview_of

PAGE = "shop:your_agents"
_View = Callable[..., HttpResponse]


def for_customers(view: _View) -> _View:
    """Let in who is signed in. Others sign in first and come to the overview, not to a form they have not seen."""

    @never_cache
    @wraps(view)
    def respond(request: HttpRequest, *args: Any, **named: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            back = request.path if request.method in ("GET", "HEAD") else reverse(PAGE)
            return redirect_to_login(back, reverse("shop:sign_in"))
        return view(request, *args, **named)

    return respond


def _deed(view: _View) -> _View:
    """Do it on a POST alone; who loads the address anew comes back to the overview."""

    @for_customers
    @wraps(view)
    def respond(request: HttpRequest, *args: Any, **named: Any) -> HttpResponse:
        return view(request, *args, **named) if request.method == "POST" else redirect(PAGE)

    return respond


class SignIn(LoginView):
    """The shop's own page to sign in; users of the admin can as well."""

    template_name = "shop/sign_in.html"
    next_page = PAGE
    redirect_authenticated_user = True

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(categories=Category.objects.all(), **context)


class SignOut(LogoutView):
    next_page = "shop:home"


@for_customers
@require_safe
def your_agents(request: HttpRequest) -> HttpResponse:
    """Show what the customer's agents have going on here."""
    return account_page(request, "shop/your_agents.html", overview=overview_of(consumer_of(request)))


@_deed
def let_act(request: HttpRequest) -> HttpResponse:
    """Vouch for the customer (C1): show what an agent needs to act for them. Each time it is another text."""
    now = timezone.now()
    assertion = services.assert_consumer(reference_of(request))
    return account_page(request, "shop/assertion.html", assertion=assertion, now=now, site=settings.SITE_URL)


@_deed
def let_take_over(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Allow that another agent takes a session over (T4): show the code for it, which replaces an earlier one."""
    head = own_session(request, session_id)
    name, now = name_of(head.agent_name), timezone.now()
    try:
        grant = services.grant_transfer(head, actor=CONSUMER)
    except AgentSessionsError as refusal:
        return _back(request, _why(refusal, name), level=messages.WARNING)
    return account_page(request, "shop/grant.html", grant=grant, name=name, now=now, site=settings.SITE_URL)


@_deed
def answer_for_devices(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Take the customer's word about a checkout, for all of their agents that are asked about it (C2)."""
    name = name_of(own_session(request, session_id).agent_name)
    answer = request.POST.get("answer")
    if answer not in ("confirm", "decline"):
        return _back(request, "Nothing was done: press one of the two buttons.", level=messages.WARNING)
    devices = devices_asked(consumer_of(request), session_id)
    try:
        if not devices:
            raise HandoffNotFound
        for head in devices if answer == "confirm" else devices[:1]:  # one no is enough
            services.answer_confirmation(head, session_id, confirmed=answer == "confirm", actor=CONSUMER)
    except AgentSessionsError as refusal:
        return _back(request, _why(refusal, name), level=messages.WARNING)
    if answer == "confirm":
        return _back(request, f"You have confirmed it: the cart of {name} can be paid now.")
    return _back(request, f"The checkout of {name} is given up. Nobody can pay it, and nothing was charged.")


@_deed
def to_checkout(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Take the customer to the payment of one of their carts, as the agent's link would."""
    name = name_of(own_session(request, session_id).agent_name)
    known = consumer_of(request)
    found = selectors.in_progress(known.merchant, known.consumer)
    handoff_id = next((one.handoff_id for one in found if one.head.session_id == session_id), None)
    if handoff_id is None:
        return _back(request, _why(HandoffNotFound(), name), level=messages.WARNING)
    selectors.remember_handoff(request, handoff_id)
    services.note_handoff_opened(handoff_id)
    return redirect("shop:checkout")


@_deed
def give_up(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Give a checkout up, so that another agent can check out; the session goes on."""
    name = name_of(own_session(request, session_id).agent_name)
    known = consumer_of(request)
    try:
        services.give_up_checkout(session_id, merchant=known.merchant, consumer=known.consumer, actor=CONSUMER)
    except AgentSessionsError as refusal:
        return _back(request, _why(refusal, name), level=messages.WARNING)
    return _back(request, f"The checkout of {name} is given up. Nobody can pay it, and nothing was charged.")


def account_page(request: HttpRequest, template: str, *, status: int = 200, **context: object) -> HttpResponse:
    """Show a page of the customer's own, with the shop's shelves above it."""
    return render(request, template, {"categories": Category.objects.all(), **context}, status=status)


def _back(request: HttpRequest, told: str, *, level: int = messages.SUCCESS) -> HttpResponse:
    messages.add_message(request, level, told)
    return redirect(PAGE)


def _why(refusal: AgentSessionsError, name: str) -> str:
    """Say to a customer, who has never heard of sessions, why something could not be done."""
    match refusal:
        case SessionEnded():
            return f"{name} is done here already. There is nothing to take over; let an agent act for you anew."
        case SessionHeld():
            return f"Somebody of the shop looks after the cart of {name} right now. Ask them, or try again later."
        case HandoffNotFound():
            return f"The checkout of {name} is over already, paid or given up. Nothing was changed."
    return f"That cannot be done with the cart of {name} right now. Nothing was changed; try again later."
