"""An approval is of the cart as it was shown: whatever changes that cart makes it void, in the same write (L5)."""

from __future__ import annotations

import uuid
from dataclasses import replace

from agent_sessions.domain.approvals import NOTED, OPEN, ApprovalStatus, asked_id, is_open, noted, voiding
from agent_sessions.domain.calls import APPROVAL_KINDS, APPROVAL_VOIDED, Call
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.models import Approval
from agent_sessions.selectors import _rows
from agent_sessions.services._entries import Draft
from agent_sessions.types import JSONValue, State


def voided_by(draft: Draft, before: State) -> tuple[Draft, Draft | None]:
    """Return the change as it has to be, and the event of the approval that it makes void, if it does.

    ``before`` is the state that the change is of. What happens to approvals themselves is left as it is.
    """
    if draft.patch is None or draft.kind in APPROVAL_KINDS:
        return draft, None
    patch = voiding(before, draft.patch)
    if patch is None:
        return draft, None
    approval_id = asked_id(before)
    told = void_event(before, approval_id, "cart_changed") if is_open(before, approval_id) else None
    return replace(draft, patch=patch), told


def void_event(state: State, approval_id: str, cause: str) -> Draft:
    """Return the event of an approval's becoming void, as the state notes it; ``cause`` is a word that says why."""
    note = noted(state, approval_id)
    params: dict[str, JSONValue] = {"approval": approval_id, "cause": cause}
    params |= {name: note[name] for name in NOTED if name in note}
    return Draft(APPROVAL_VOIDED, SYSTEM, Call(params=params))


def void_stored(session_id: uuid.UUID, told: Draft) -> bool:
    """Close the approval that ``told`` is about; return whether it was open and is this session's.

    Call it in the transaction of the change, after it: the session's row is locked then.
    """
    try:
        approval_id = uuid.UUID(str(told.call.params["approval"]))
    except ValueError:
        return False
    rows = Approval.objects.using(_rows.write_connection().alias).filter(pk=approval_id, session_id=session_id)
    return bool(rows.filter(status__in=OPEN).update(status=ApprovalStatus.VOID.value))
