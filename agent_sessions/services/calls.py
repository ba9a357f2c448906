"""Carrying out a capability call: check, ask the policies, run the handler, and write what comes of it.

The handler runs outside any transaction and with no lock held. If another write comes between, it is run again on what
that has made of the session, unless the caller named the version that its call is based on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import AGENT
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import (
    AgentSessionsError,
    InvalidParameter,
    InvalidToken,
    InvalidValue,
    PaymentDataRefused,
    PolicyDenied,
    SessionEnded,
    VersionConflict,
)
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_changeable, require_live
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.in_progress import Device
from agent_sessions.selectors.stock import held_for
from agent_sessions.services._commit import conflict_with
from agent_sessions.services._payment_data import require_no_payment_data, told_of
from agent_sessions.services._policies import REFUSED, denial, session_facts
from agent_sessions.services.approvals import use_approval
from agent_sessions.services.confirmations import ask_devices, tell_devices
from agent_sessions.services.handoffs import Link, make_link
from agent_sessions.services.idempotency import Writing, as_it_is
from agent_sessions.services.marking import mark_if_overtaken
from agent_sessions.services.sessions import change_session, end_session, record_event
from agent_sessions.services.staleness import require_nothing_stale
from agent_sessions.store.adapter import StoreContext
from agent_sessions.store.capabilities import Capability, CapabilityCall, Outcome
from agent_sessions.store.cart import cart_fingerprint
from agent_sessions.store.offer import offer
from agent_sessions.store.params import check_params, recordable
from agent_sessions.store.policies import DEFAULT, decide_after, decide_before
from agent_sessions.types import State

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers; ``version`` is the session's after it, None without a session."""

    data: Any
    status: int
    version: int | None = None


def call_capability(
    capability: Capability,
    given: Mapping[str, object],
    *,
    ctx: StoreContext,
    session: SessionHead | None = None,
    text: Collection[str] = (),
    method: str = "",
    expected_version: int | None = None,
    writing: Writing[Answer] = as_it_is,
) -> Answer:
    """Carry out one call of a capability. ``text`` names what of ``given`` came as text (query string, path).

    With a session the call is an event of its history, refusals too; if that cannot be written, the call fails. Not to
    be called inside a transaction: what rolls back takes the record of the call with it. ``writing`` is given the part
    that writes and returns its answer, so that it can be one transaction with something else; see ``Claim.complete``.

    Raises InvalidParameter, PaymentDataRefused, PolicyDenied, CartProblem, ItemNotFound, NoStore, InvalidToken (it
    needs a session and got none), VersionConflict (only against an ``expected_version``, or when eight runs in a row
    were overtaken), and what ``change_session`` raises.
    """
    attempt = _Attempt(
        capability, given, text, ctx, method or capability.method, expected_version, writing, timezone.now()
    )
    for number in range(_ATTEMPTS):
        try:
            return attempt.run(session)
        except VersionConflict as conflict:
            if session is None or expected_version is not None or number == _ATTEMPTS - 1:
                attempt.record_refusal(session, conflict)
                raise
            session = read_head(session.session_id)
    raise AssertionError  # the last round returns or raises


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One call, to be run on the session as it stands."""

    capability: Capability
    given: Mapping[str, object]
    text: Collection[str]
    ctx: StoreContext
    method: str
    expected_version: int | None
    writing: Writing[Answer]
    started_at: datetime

    def run(self, session: SessionHead | None) -> Answer:
        try:
            return self._run(session)
        except VersionConflict:
            raise
        except Exception as refusal:
            self.record_refusal(session, refusal)
            raise

    def _run(self, session: SessionHead | None) -> Answer:
        offered = offer()
        if session is None:
            state: State = {}
            if self.capability.requires_session:
                raise InvalidToken
        else:
            if self.method == "GET":
                require_live(session, self.started_at)
            else:
                require_changeable(session, AGENT, self.started_at)
            self._require_expected(session)
            state = current_state(session).state
        params = check_params(self.capability.params, self.given, text=self.text)
        # Before the handler, which may keep what it is given where nobody looks again.
        require_no_payment_data(params, exempt={f"/{name}" for name in self.capability.identifiers})
        told = self._told(params)
        call = CapabilityCall(
            self.capability,
            params,
            offered.store,
            self.ctx if session is None else replace(self.ctx, consumer=session.consumer),
            None if session is None else session_facts(session),
            state,
            timezone.now(),
            held_for(session),
        )
        verdict = decide_before(offered.policies, call)
        if not verdict.allowed:
            raise denial(verdict, call)
        outcome = self.capability.handler(call)
        if session is None:
            if outcome.patch or outcome.handoff:
                raise InvalidToken
            return Answer(outcome.data, outcome.status)
        if outcome.handoff and not isinstance(outcome.data, dict):
            raise TypeError(f"{self.capability.name}: what is handed to a human is answered with a map.")
        after = state
        if outcome.patch or outcome.handoff:
            after = apply_patch(state, outcome.patch or {})
            objection = decide_after(offered.policies, call, after)
            if objection is not None and not objection.allowed:
                raise denial(objection, call)
            verdict = objection or verdict
        told = replace(told, policy_rule=verdict.rule, response_status=outcome.status)
        asked: list[Device] = []
        answer = self.writing(lambda: self._write(session, state, after, outcome, told, asked))
        # Afterwards: who has locked one session does not wait for another.
        tell_devices(session, asked)
        return answer

    def _write(
        self, session: SessionHead, state: State, after: State, outcome: Outcome, told: Call, asked: list[Device]
    ) -> Answer:
        kind = outcome.kind or self.capability.kind
        if outcome.handoff:
            what = f"Session {session.session_id}"
            version, link = _rows.in_transaction(
                what, lambda: self._hand_over(session, state, after, outcome, kind, told)
            )
            asked[:] = link.asked
            if not settings.site and self.ctx.request is not None:
                link = replace(link, url=self.ctx.request.build_absolute_uri(link.url))
            return Answer({**outcome.data, **_handoff_answer(link)}, outcome.status, version)
        if outcome.patch is not None:
            expected = session.version if self.expected_version is None else self.expected_version
            made = change_session(session, expected_version=expected, patch=outcome.patch, kind=kind, call=told)
            mark_if_overtaken(session, state, after, outcome.patch, since=self.started_at)
            return Answer(outcome.data, outcome.status, made.version)
        self._record(session, kind, told)
        return Answer(outcome.data, outcome.status, session.version)

    def _hand_over(
        self, session: SessionHead, state: State, after: State, outcome: Outcome, kind: str, told: Call
    ) -> tuple[int, Link]:
        """Write the cart that is handed over, its link and, where the site wants it so, the session's end: or none.

        ``state`` is the one that the call was carried out on, ``after`` what it makes of it.
        """
        require_nothing_stale(state)
        expected = session.version if self.expected_version is None else self.expected_version
        made = change_session(session, expected_version=expected, patch=outcome.patch or {}, kind=kind, call=told)
        version = use_approval(session, state, capability=self.capability.name, version=made.version)
        link = make_link(session, version=version)
        cart = cart_fingerprint(after)
        link = replace(link, asked=tuple(ask_devices(session, cart)))
        if settings.end_on_handoff:
            version = end_session(session.session_id, reason=EndReason.COMPLETED, expected_version=version).version
        return version, link

    def _require_expected(self, session: SessionHead) -> None:
        """Refuse what is based on another version before anything is done, and say what has changed since."""
        if self.expected_version not in (None, session.version):
            raise conflict_with(session, self.expected_version)

    def record_refusal(self, session: SessionHead | None, refusal: Exception) -> None:
        """Record what was refused and why; parameters are left out, since nobody has checked them."""
        error = refusal if isinstance(refusal, AgentSessionsError) else AgentSessionsError("")
        denied = error if isinstance(error, PolicyDenied) else None
        told = Call(
            self.capability.name,
            self.method,
            params={"code": error.code, **(told_of(error) if isinstance(error, PaymentDataRefused) else {})},
            policy_result="allow" if denied is None else "deny",
            policy_rule=DEFAULT if denied is None else denied.rule,
            response_status=error.status,
            started_at=self.started_at,
        )
        with suppress(SessionEnded):  # whoever is too late is not in the history
            self._record(session, REFUSED, told)

    def _record(self, session: SessionHead | None, kind: str, told: Call) -> None:
        if session is not None and settings.audit:
            record_event(session.session_id if kind == REFUSED else session, kind=kind, call=told)

    def _told(self, params: Mapping[str, Any]) -> Call:
        """Return the call as its event tells it: what was typed is sealed, defaults are left out.

        Made before the handler runs, so that what cannot be recorded is not done.
        """
        declared = self.capability.params
        sent = {name: recordable(value) for name, value in params.items() if value != declared[name].default}
        try:
            return Call(
                self.capability.name,
                self.method,
                params={name: value for name, value in sent.items() if declared[name].shown},
                private={name: value for name, value in sent.items() if not declared[name].shown},
                started_at=self.started_at,
                identifiers=self.capability.identifiers,
            )
        except InvalidValue as refused:
            raise InvalidParameter(max(sent, key=lambda name: len(repr(sent[name]))), refused.problem) from None


def _handoff_answer(link: Link) -> dict[str, Any]:
    """What a handoff answers, in the words of every dialect (contract item 46, section 2 row 16)."""
    answer: dict[str, Any] = {
        "handoff_url": link.url,
        "checkout_url": link.url,
        "human_handoff": True,
        "expires_at": format_time(link.expires_at),
        "message": "Give this link to the person who pays. They see the cart as it is then, and pay there.",
    }
    if link.asked:
        answer["confirmations"] = [device.agent_name for device in link.asked]
    return answer
