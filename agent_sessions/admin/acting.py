"""How staff act on a session: one page for every action of ``acts.ACTIONS``, made for the version that they saw."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from agent_sessions import selectors, services
from agent_sessions.admin import wording
from agent_sessions.admin.acts import ACTIONS
from agent_sessions.admin.acts.situation import Action, Done, Given, Situation
from agent_sessions.admin.approvals import refusal
from agent_sessions.admin.asked import read_number, staff_of
from agent_sessions.exceptions import (
    AgentSessionsError,
    IdempotencyKeyReused,
    PaymentDataRefused,
    RequestInProgress,
    VersionConflict,
)
from agent_sessions.services._payment_data import require_no_payment_data

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading

logger = logging.getLogger("agent_sessions")
MOST_MOVED: Final = 10
"""Versions that the page tells of what has changed meanwhile; the rest are a link away."""
_HANDLES: Final = ("csrfmiddlewaretoken", "submission")
_DONE: Final = b"done"
View = Callable[..., HttpResponseBase]


def recording_refusals(view: View, action: str) -> View:
    """Record a POST that its sender has no permission for, in the history of the session (A1).

    ``action`` is what the history calls it, unless the address names one of ``acts.ACTIONS``. The record stays where a
    request is one transaction, if the view is ``outside_transactions``.
    """

    @wraps(view)
    @sensitive_post_parameters()  # what people write is in no report of an error
    def answered(request: HttpRequest, *args: Any, **facts: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **facts)
        except PermissionDenied:
            if request.method != "POST":
                raise
            who, named = staff_of(request), facts.get("name", "")
            tried: str = named if any(one.name == named for one in ACTIONS) else action
            try:
                services.note_refused_action(facts.get("session_id"), action=tried, actor=who)
            except AgentSessionsError:
                logger.exception("That %s was refused %s could not be recorded.", who, tried)
            raise

    return answered


def offered(page: Reading, request: HttpRequest) -> dict[str, list[dict[str, Any]]]:
    """Return the actions that this person may carry out: those possible now, and the others with why not."""
    situation = Situation(page, request)
    now: list[dict[str, Any]] = []
    later: list[dict[str, Any]] = []
    for action in ACTIONS:
        if not request.user.has_perm(action.permission):
            continue
        why_not = _why_not(action, situation)
        url = "" if why_not else (action.place(situation) if action.place else page.url("act", action.name))
        shown = {"label": action.label, "for": action.purpose, "url": url, "why_not": why_not, "severe": action.severe}
        (later if why_not else now).append(shown)
    return {"now": now, "later": later}


def roll_back_url(page: Reading, request: HttpRequest, number: int) -> str:
    """Return where a version can be rolled back to, empty if it cannot be now or not by this person."""
    action = _named("roll_back")
    if not request.user.has_perm(action.permission):
        return ""
    situation = Situation(page, request, to=number)
    return "" if _why_not(action, situation) else f"{page.url('act', action.name)}?to={number}"


def act_page(page: Reading, request: HttpRequest, name: str) -> HttpResponse:
    """Say what an action will do, and do it once it is confirmed. Raises PermissionDenied, Http404."""
    action = _named(name)
    if not request.user.has_perm(action.permission):
        raise PermissionDenied
    situation = Situation(page, request)
    if request.method != "POST":
        return _shown(situation, action)
    return _act(situation, action)


def _named(name: str) -> Action:
    for action in ACTIONS:
        if action.name == name and action.do is not None:
            return action
    raise Http404(f"There is no action {name}.")


def _why_not(action: Action, situation: Situation) -> str:
    try:
        return action.why_not(situation)
    except AgentSessionsError as error:
        return error.message


def _act(situation: Situation, action: Action) -> HttpResponse:
    try:
        return _act_once(situation, action, _claimed(situation, action))
    except PaymentDataRefused as error:  # and so it does not stand on the page again
        return _shown(situation, action, problem=refusal(error), status=error.status)
    except RequestInProgress:
        told = _("This form was sent twice, and the first is being carried out. Reload the page to see what it did.")
        messages.info(situation.request, told)
        return HttpResponseRedirect(situation.page.url("change"))


def _act_once(situation: Situation, action: Action, claimed: dict[str, Any]) -> HttpResponse:
    """Raises RequestInProgress, PaymentDataRefused."""
    page, request = situation.page, situation.request
    seen = read_number(request.POST.get("version", ""))
    moved = action.bound and seen != page.head.version
    why_not = _why_not(action, situation)
    if (moved or why_not) and _done_before(claimed):
        return _already(situation)
    if moved:
        return _shown(situation, action, request.POST, moved=seen or 0, status=409)
    if why_not:
        return _shown(situation, action, request.POST, problem=why_not, status=409)
    form = _form(situation, action, request.POST)
    if not form.is_valid():
        return _shown(situation, action, request.POST, status=422)
    try:
        done = _once(situation, action, form.cleaned_data, claimed)
    except VersionConflict as conflict:
        page.read_again()
        return _shown(Situation(page, request), action, request.POST, moved=conflict.expected, status=409)
    except (RequestInProgress, PaymentDataRefused):
        raise
    except IdempotencyKeyReused:
        problem = _("This form was sent before, with other words. Confirm it once more if you want both.")
        return _shown(situation, action, request.POST, problem=problem, status=409)
    except AgentSessionsError as error:
        page.read_again()
        return _shown(Situation(page, request), action, request.POST, problem=refusal(error), status=error.status)
    if done is None:
        return _already(situation)
    if done.link:
        return page.shown("act_done", crumb=str(action.label), action=action, done=done)
    messages.success(request, done.text)
    return HttpResponseRedirect(page.url("change"))


def _once(situation: Situation, action: Action, given: dict[str, Any], claimed: dict[str, Any]) -> Done | None:
    """Carry the action out, unless this very form has been sent before; then return None.

    Raises IdempotencyKeyReused, RequestInProgress, and what the action raises.
    """
    claim = services.claim_key(None, **claimed)
    if isinstance(claim, bytes):
        return None
    do = cast("Callable[[Situation, Given], Done]", action.do)  # those without are not found by their name
    try:
        done = do(situation, given)
        with suppress(AgentSessionsError):  # it is done, whether or not that can be remembered
            claim.complete(lambda: None, lambda _done: _DONE)
        return done
    finally:
        if not claim.kept:
            claim.release()


def _done_before(claimed: dict[str, Any]) -> bool:
    """Tell whether it is this form that has moved the session: it came twice. Raises RequestInProgress."""
    try:
        claim = services.claim_key(None, **claimed)
    except RequestInProgress:
        raise
    except AgentSessionsError:
        return False
    if isinstance(claim, bytes):
        return True
    claim.release()
    return False


def _claimed(situation: Situation, action: Action) -> dict[str, Any]:
    """Return what tells this form from any other. Raises PaymentDataRefused: of that not even a digest is kept."""
    sent = {name: value for name, value in situation.request.POST.items() if name not in _HANDLES}
    require_no_payment_data(sent, exempt={"/hold"})
    return {
        "caller": str(situation.actor),
        "operation": f"admin.{action.name}:{situation.head.session_id}",
        "key": situation.request.POST.get("submission", "") or uuid.uuid4().hex,
        "request": json.dumps(sent, sort_keys=True).encode(),
    }


def _already(situation: Situation) -> HttpResponse:
    messages.info(situation.request, _("That was done already when the form came a second time."))
    return HttpResponseRedirect(situation.page.url("change"))


def _form(situation: Situation, action: Action, given: Any = None) -> forms.Form:
    form = forms.Form(given, auto_id="ags-%s", label_suffix="")
    form.fields.update(action.fields(situation))
    if wrong := next(iter(form.errors), ""):
        form.fields[wrong].widget.attrs["autofocus"] = True
    return form


def _shown(
    situation: Situation,
    action: Action,
    given: Any = None,
    *,
    problem: str = "",
    moved: int | None = None,
    status: int = 200,
) -> HttpResponse:
    """Show what the action would do to the session as it is now. ``moved``: the version that the form was made for."""
    page, why_not = situation.page, _why_not(action, situation)
    form, happens = None, list[str]()
    if not why_not:
        try:
            happens = [*action.happens(situation)]
            why_not = action.found(situation)
        except AgentSessionsError as error:
            why_not = error.message
    if not why_not:
        form = _form(situation, action, given)
    return page.shown(
        "act",
        status=status,
        crumb=str(action.label),
        action=action,
        form=form,
        happens=happens,
        why_not="" if problem == why_not else why_not,
        problem=problem,
        moved_from=moved,
        version=page.head.version,
        since=[] if moved is None else moved_since(page, moved),
        undone=moved_since(page, situation.to) if action.name == "roll_back" and not why_not else None,
        submission=uuid.uuid4().hex,
        version_url=page.url("version_at", page.head.version),
        compare_url=f"{page.url('version_at', page.head.version)}?compare={moved}#differences" if moved else "",
        held_by=wording.actor_words(page.head.held_by) if page.head.held_by else "",
    )


def moved_since(page: Reading, version: int) -> list[dict[str, Any]]:
    """Return the versions after ``version``, latest first, each with who made it and what it changed."""
    latest = page.head.version
    first = max(version + 1, latest - MOST_MOVED + 1, 1)
    if not 0 <= version < latest:
        return []
    found = page.read(lambda: selectors.versions(page.head.session_id, after=first - 1, limit=MOST_MOVED)) or []
    changes = page.changes(first, latest)
    return [
        {
            "number": info.number,
            "what": wording.kind_words(info.kind),
            "who": wording.actor_words(info.actor),
            "time": wording.moment(info.created_at),
            "changes": changes.get(info.number),
        }
        for info in reversed(found)
    ]
