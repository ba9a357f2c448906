"""The page where a human sees what their agent asks for, and answers (L5).

Whoever has the link may answer; where the store knows its customers, only the one whose session it is. The page needs
no JavaScript, and loads nothing but one style sheet of the site.
"""

from __future__ import annotations

from enum import Enum
from functools import wraps
from typing import Any, Final, cast
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.shortcuts import render
from django.templatetags.static import static
from django.utils.decorators import decorator_from_middleware
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from agent_sessions import selectors, services
from agent_sessions.api.links import LinkView, secret_link
from agent_sessions.conf import settings
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.money import format_amount, format_money, reads_as
from agent_sessions.domain.shown_cart import ShownCart, in_words
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import AnswerRefused, ApprovalClosed, ApprovalNotFound, ContentErased, PaymentDataRefused
from agent_sessions.selectors import ApprovalView
from agent_sessions.services import consumer_pseudonym
from agent_sessions.services._texts import MAX_NOTE
from agent_sessions.store.adapter import CustomerStore
from agent_sessions.store.offer import CUSTOMERS, offer

_METHODS: Final = ("GET", "HEAD", "POST")
_PROBLEM: Final = "agent_sessions/approval_problem.html"


class _Visitor(Enum):
    CONSUMER = "consumer"
    UNKNOWN = "unknown"
    SOMEBODY_ELSE = "somebody else"


class _Csrf(CsrfViewMiddleware):
    """Django's check, but what it refuses is not logged with the address, which is the link's secret."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        told = _("This page was open for too long, or came from another site. Open the link again and answer there.")
        return render(request, _PROBLEM, {"message": told}, status=403)


def _strict(view: LinkView) -> LinkView:
    """Let the page, whatever it says, load its style sheet and nothing else, and be in no frame."""

    @wraps(view)
    def respond(request: HttpRequest, token: str) -> HttpResponseBase:
        response = view(request, token)
        response.headers["Content-Security-Policy"] = _policy()
        response.headers["X-Frame-Options"] = "DENY"
        return response

    return respond


@csrf_exempt  # the host's middleware would refuse, and log, before the page is asked; _Csrf is in its place
@login_not_required
@never_cache
@_strict
@secret_link(
    unknown=ApprovalNotFound,
    template=_PROBLEM,
    failed="This cannot be shown right now. Try again later.",
    referrer="strict-origin",  # with no-referrer a browser's own form would not say that it comes from this site
)
@decorator_from_middleware(_Csrf)
def approve(request: HttpRequest, token: str) -> HttpResponseBase:
    """Show what an agent asks a human for, and take the answer. Opening the link decides nothing."""
    if request.method not in _METHODS:
        return HttpResponseNotAllowed(_METHODS)
    approval = selectors.approval_by_token(token)
    visitor = _visitor(request, approval)
    if request.method == "POST":
        return _answered(request, approval, visitor)
    if request.method == "GET" and visitor is _Visitor.CONSUMER and approval.waits:
        services.note_approval_opened(approval.id)
    return _page(request, approval, visitor)


def _answered(request: HttpRequest, approval: ApprovalView, visitor: _Visitor) -> HttpResponse:
    """Carry out the answer and lead back to the page, which says what was decided; or say what was wrong with it."""
    reason = request.POST.get("reason", "").replace("\r\n", "\n").strip()
    try:
        if visitor is _Visitor.SOMEBODY_ELSE:
            raise services.refuse_answer(approval.id, cause="person")
        if visitor is _Visitor.UNKNOWN:
            return _page(request, approval, visitor, status=403)
        if len(reason) > MAX_NOTE:
            told = _("Say it in at most %(most)s characters.") % {"most": MAX_NOTE}
            return _page(request, approval, visitor, problem=told, status=400)
        match request.POST.get("answer"):
            case "grant":
                if not reads_as(request.POST.get("total", ""), approval.amount, approval.currency):
                    raise services.refuse_answer(approval.id, cause="total")
                services.grant_approval(approval.id)
            case "reject":
                services.reject_approval(approval.id, reason=reason)
            case "escalate":
                services.escalate_approval(approval.id, reason=reason)
            case _:
                return _page(request, approval, visitor, problem=_("Choose one of the answers."), status=400)
    except AnswerRefused as refused:
        return _page(request, selectors.get_approval(approval.id), visitor, refused=refused, status=403)
    except ApprovalClosed:
        return _page(request, selectors.get_approval(approval.id), visitor, status=409)
    except PaymentDataRefused as refused_data:
        told = _("Do not write card numbers or security codes here. Nothing of it was kept; say it without them.")
        return _page(request, approval, visitor, problem=told, status=refused_data.status)
    return HttpResponseRedirect(request.path)


def _visitor(request: HttpRequest, approval: ApprovalView) -> _Visitor:
    """Tell who has come: where the store knows its customers and the session has one, that one has to be signed in."""
    store = offer().store
    if store is None or CUSTOMERS not in store.features or not approval.consumer:
        return _Visitor.CONSUMER
    reference = cast("CustomerStore", store).consumer_reference(request)
    if not reference:
        return _Visitor.UNKNOWN
    known = consumer_pseudonym(reference, merchant=approval.merchant) == approval.consumer
    return _Visitor.CONSUMER if known else _Visitor.SOMEBODY_ELSE


def _page(
    request: HttpRequest,
    approval: ApprovalView,
    visitor: _Visitor,
    *,
    problem: str = "",
    refused: AnswerRefused | None = None,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {"site_name": settings.site_name, "visitor": visitor.value, "refused": refused}
    if visitor is _Visitor.CONSUMER:
        context |= {
            "approval": approval,
            "status": approval.status.value,
            "answerable": approval.status is ApprovalStatus.PENDING,
            "agent": clipped(approval.agent_name) or _("Your agent"),
            "amount": format_money(approval.amount, approval.currency),
            "total": format_amount(approval.amount, approval.currency),
            "by_staff": approval.decided_by.startswith("staff"),
            "reason": _lines(approval.reason),
            "answer": _lines(approval.question if approval.status is ApprovalStatus.ESCALATED else approval.answer),
            "rule": clipped(approval.rule, 200),
            "cart": _cart(approval),
            "most": MAX_NOTE,
            "problem": problem,
        }
    return render(request, "agent_sessions/approval.html", context, status=status)


def _cart(approval: ApprovalView) -> ShownCart | None:
    if approval.erased is not None:
        return None  # whose it was is erased too, so nobody can show any more that it is for them
    try:
        return in_words(selectors.cart_of_approval(approval))
    except ContentErased:
        return None


def _lines(text: str) -> str:
    """Keep the lines of what somebody wrote; characters that could mislead show by their code point."""
    return "\n".join(clipped(line, MAX_NOTE) for line in text.split("\n"))


def _policy() -> str:
    """Allow the page its style sheet, wherever the site serves its files, and nothing else."""
    place = urlsplit(static("agent_sessions/page.css"))
    styles = f"'self' {place.scheme}://{place.netloc}" if place.netloc and place.scheme else "'self'"
    return (
        f"default-src 'none'; style-src {styles}; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
