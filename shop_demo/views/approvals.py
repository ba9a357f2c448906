"""Where a signed-in customer answers what their agent asks, without the link that the agent has for it (L5)."""

from __future__ import annotations

import uuid

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from agent_sessions import selectors, services
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.money import format_amount, format_money, reads_as
from agent_sessions.domain.shown_cart import ShownCart, in_words
from agent_sessions.exceptions import AnswerRefused, ApprovalClosed, ApprovalNotFound, ContentErased, InvalidValue
from agent_sessions.selectors import ApprovalView
from shop_demo.customers import own_session
from shop_demo.overview import name_of
from shop_demo.views.account import account_page, for_customers


@for_customers
@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """Show what is asked, or what was answered; take a yes with the total typed, or a no. Looking decides nothing."""
    approval = _own(request, approval_id)
    if request.method != "POST":
        if approval.waits:
            services.note_approval_opened(approval_id)
        return _page(request, approval)
    try:
        problem = _take(request, approval)
    except ApprovalClosed:
        return _page(request, selectors.get_approval(approval_id), status=409)
    if problem:
        return _page(request, selectors.get_approval(approval_id), problem=problem, status=400)
    return redirect(request.path)


def _own(request: HttpRequest, approval_id: uuid.UUID) -> ApprovalView:
    try:
        approval = selectors.get_approval(approval_id)
    except ApprovalNotFound:
        raise Http404 from None
    own_session(request, approval.session_id)
    return approval


def _take(request: HttpRequest, approval: ApprovalView) -> str:
    """Carry the answer out, or return what is wrong with it. Raises ApprovalClosed."""
    match request.POST.get("answer"):
        case "grant" if reads_as(request.POST.get("total", ""), approval.amount, approval.currency):
            services.grant_approval(approval.id)
        case "grant":
            return _other_total(services.refuse_answer(approval.id, cause="total"))
        case "reject":
            try:
                services.reject_approval(approval.id, reason=request.POST.get("reason", "").strip())
            except InvalidValue:
                return "Say it in at most 1000 characters."
        case _:
            return "Nothing was decided: press one of the two buttons."
    return ""


def _other_total(refused: AnswerRefused) -> str:
    left = f"You can try {refused.attempts_left} more times." if refused.attempts_left else "It counts as a no now."
    return f"That is not the total of this cart. Nothing was approved. {left}"


def _page(request: HttpRequest, approval: ApprovalView, *, problem: str = "", status: int = 200) -> HttpResponse:
    return account_page(
        request,
        "shop/approval.html",
        status=status,
        approval=approval,
        answerable=approval.status is ApprovalStatus.PENDING,
        name=name_of(approval.agent_name),
        amount=format_money(approval.amount, approval.currency),
        total=format_amount(approval.amount, approval.currency),
        cart=_cart(approval),
        problem=problem,
    )


def _cart(approval: ApprovalView) -> ShownCart | None:
    try:
        return in_words(selectors.cart_of_approval(approval))
    except ContentErased:
        return None
