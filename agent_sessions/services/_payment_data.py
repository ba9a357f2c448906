"""The gate that nothing passes with a card's number, track data, a security code or a PIN in it (S8).

What is written to a history passes it in ``_commit`` and ``_opening``; what is written elsewhere, where it is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from agent_sessions.audit.events import ENDED
from agent_sessions.conf import settings
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent, Scope
from agent_sessions.domain.payment_data import find_payment_data
from agent_sessions.exceptions import PaymentDataRefused
from agent_sessions.services._entries import Draft
from agent_sessions.types import State

_NONE: Final[frozenset[str]] = frozenset()


def require_no_payment_data(value: object, *, exempt: Set[str] = _NONE, where: str = "") -> None:
    """Refuse a JSON value that holds raw payment data, but for card-like identifiers where they are declared.

    ``exempt`` are JSON pointers in addition to the setting PAYMENT_DATA_EXEMPT. Raises PaymentDataRefused.
    """
    found = find_payment_data(value)
    if found is not None and (declared := settings.payment_data_exempt | exempt):
        found = find_payment_data(value, exempt=declared)
    if found is not None:
        raise PaymentDataRefused(found.pointer, found.rule.value, where)


def check_draft(draft: Draft) -> None:
    """Refuse what is to be written to a history, as a whole: the patch, the call, what is sealed, and what is shown.

    Pointers are those of the state (``/shopping/lines/l1/title``), ``/params/…`` for the call's parameters, ``/note``,
    ``/reason`` and ``/message/…`` for what people said. Raises PaymentDataRefused.
    """
    call = draft.call
    exempt = {f"/params/{name}" for name in call.identifiers}
    if draft.kind == ENDED:
        # The shop's own name for an order that has just been paid: never to be lost to a coincidence.
        exempt.add("/params/order")
    patch: Mapping[str, object] = draft.patch or {}
    require_no_payment_data(
        {
            **patch,
            **draft.private,
            **draft.committed,
            "params": {**call.params, **call.private},
            "kind": draft.kind,
            "capability": call.capability,
            "method": call.method,
            "policy_rule": call.policy_rule,
        },
        exempt=exempt,
    )


def check_opening(
    *, agent: Agent, merchant: str, scope: Scope, purpose: str, parent_request: str, state: State, call: Call
) -> None:
    """Refuse what a session would be opened with; pointers as in ``check_draft``. Raises PaymentDataRefused."""
    require_no_payment_data(
        {
            **state,
            "agent_name": agent.name,
            "agent_version": agent.version,
            "agent_operator": agent.operator,
            "agent_key": agent.key,
            "merchant": merchant,
            "scope": scope.as_json(),
            "purpose": purpose,
            "parent_request": parent_request,
            "params": {**call.params, **call.private},
        }
    )


def told_of(refused: PaymentDataRefused) -> Mapping[str, str]:
    """Return what an event may say of a refusal: where and why, never what."""
    return {"pointer": refused.pointer, "rule": refused.rule, **({"where": refused.where} if refused.where else {})}
