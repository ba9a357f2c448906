"""What staff see of approvals, and how they answer one. The answer goes through the services, as the shopper's does."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from django.http import Http404, HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions import selectors, services
from agent_sessions.admin import wording
from agent_sessions.admin.asked import staff_of
from agent_sessions.domain.approvals import ApprovalStatus
from agent_sessions.domain.money import format_money
from agent_sessions.domain.shown_cart import ShownCart, in_words
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import AgentSessionsError, ApprovalNotFound, InvalidValue, PaymentDataRefused
from agent_sessions.selectors import ApprovalView, SessionHead
from agent_sessions.services._texts import MAX_NOTE

MAY_DECIDE: Final = "agent_sessions.decide_approval"
_LONGEST_LINE: Final = 1000
_WRITTEN: Final = {"reason": "agent", "question": "words", "answer": "words"}
"""The group that each text of an approval belongs to (``domain.privacy.GROUPS``)."""
_STATUS: Final = {
    ApprovalStatus.PENDING: (wording.WARNING, gettext_lazy("waits for the shopper")),
    ApprovalStatus.ESCALATED: (wording.WARNING, gettext_lazy("waits for staff")),
    ApprovalStatus.GRANTED: (wording.GOOD, gettext_lazy("granted, not used yet")),
    ApprovalStatus.REJECTED: (wording.BAD, gettext_lazy("rejected")),
    ApprovalStatus.EXPIRED: (wording.PLAIN, gettext_lazy("expired")),
    ApprovalStatus.VOID: (wording.PLAIN, gettext_lazy("void: the cart changed")),
    ApprovalStatus.USED: (wording.GOOD, gettext_lazy("granted and used")),
}
_DONE: Final = {
    "grant": gettext_lazy("You have granted this approval. The agent can check out the cart, once and unchanged."),
    "reject": gettext_lazy("You have rejected this approval. The cart is not checked out as it is."),
    "escalate": gettext_lazy("Only staff can answer this approval now."),
}


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """An approval in words. ``reason``, ``question`` and ``answer`` are empty for readers to whom they are masked.

    ``masked`` names those that are, ``erased`` says that and why they were erased.
    """

    id: str
    standing: SafeString
    waits: bool
    escalated: bool
    amount: str
    version: int
    capability: str
    rule: str
    requested: SafeString
    expires: SafeString
    left: str
    opened: SafeString | None
    decided: SafeString | None
    took: str
    by: str
    reason: str
    question: str
    answer: str
    masked: Sequence[str]
    erased: str


def approval_of(head: SessionHead, approval_id: uuid.UUID) -> ApprovalView:
    """Return an approval of the session. Raises Http404 if there is none, and what ``get_approval`` raises."""
    try:
        found = selectors.get_approval(approval_id)
    except ApprovalNotFound as unknown:
        raise Http404(unknown.message) from None
    if found.session_id != head.session_id:
        raise Http404(_("This approval is of another session."))
    return found


def row_of(approval: ApprovalView, groups: Set[str]) -> ApprovalRow:
    """Describe an approval, with what the agent (``agent``) and people (``words``) wrote if that is in ``groups``."""
    tone, told = _STATUS[approval.status]
    wrote = {"reason": approval.reason, "question": approval.question, "answer": approval.answer}
    shown = {name: text if _WRITTEN[name] in groups else "" for name, text in wrote.items()}
    return ApprovalRow(
        id=str(approval.id),
        standing=wording.mark(tone, str(told)),
        waits=approval.waits,
        escalated=approval.status is ApprovalStatus.ESCALATED,
        amount=format_money(approval.amount, clipped(approval.currency)),
        version=approval.version,
        capability=clipped(approval.capability),
        rule=clipped(approval.rule, 200),
        requested=wording.moment(approval.requested_at),
        expires=wording.moment(approval.expires_at),
        left=wording.span(approval.time_left) if approval.time_left else "",
        opened=None if approval.opened_at is None else wording.moment(approval.opened_at),
        decided=None if approval.decided_at is None else wording.moment(approval.decided_at),
        took="" if approval.time_taken is None else wording.span(approval.time_taken),
        by=wording.actor_words(approval.decided_by) if approval.decided_by else "",
        reason=_lines(shown["reason"]),
        question=_lines(shown["question"]),
        answer=_lines(shown["answer"]),
        masked=[name for name, text in wrote.items() if text and not shown[name]],
        erased="" if approval.erased is None else approval.erased.text,
    )


def cart_of_row(approval: ApprovalView) -> ShownCart:
    """Return the cart that the human was shown. Raises what ``cart_of_approval`` raises."""
    return in_words(selectors.cart_of_approval(approval))


def carry_out(request: HttpRequest, approval: ApprovalView) -> str:
    """Carry out the answer that somebody of the staff has posted; return what to tell them.

    Raises InvalidValue if it is no whole answer, and what the services raise: somebody else may have been faster.
    """
    chosen, reason = request.POST.get("answer", ""), request.POST.get("reason", "").replace("\r\n", "\n").strip()
    answers: dict[str, Callable[..., Any]] = {
        "grant": services.grant_approval,
        "reject": services.reject_approval,
        "escalate": services.escalate_approval,
    }
    if chosen not in answers:
        raise InvalidValue("/answer", _("Choose one of the answers."))
    if chosen == "grant" and not request.POST.get("confirmed"):
        raise InvalidValue("/confirmed", _("Confirm that you have looked at the cart before you grant it."))
    if chosen == "reject" and not reason:
        raise InvalidValue("/reason", _("Say why you reject it; the agent and the shopper read it."))
    if len(reason) > MAX_NOTE:
        raise InvalidValue("/reason", _("Say it in at most {number} characters.").format(number=MAX_NOTE))
    words = {} if chosen == "grant" else {"reason": reason}
    answers[chosen](approval.id, actor=staff_of(request), **words)
    return str(_DONE[chosen])


def refusal(error: AgentSessionsError) -> str:
    if isinstance(error, PaymentDataRefused):
        return _("Leave out what looks like a card’s number.")
    return error.problem if isinstance(error, InvalidValue) else error.message


def _lines(text: str) -> str:
    return "\n".join(clipped(line, _LONGEST_LINE) for line in text.split("\n"))
