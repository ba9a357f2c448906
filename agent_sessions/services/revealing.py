"""Showing one of the staff, for some minutes, what a session says of people: its history says so first (A9)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Literal

from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.exceptions import ContentErased, InvalidValue
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors.erasures import erased
from agent_sessions.selectors.reveals import MASKED, REVEALED, reveals
from agent_sessions.services._commit import Committed, commit, in_any_standing
from agent_sessions.services._entries import Draft
from agent_sessions.services._write import RowChange
from agent_sessions.services.evidence import DISCLOSED, check_reason


def reveal_content(session_id: uuid.UUID, *, groups: Collection[str], reason: str, actor: Actor) -> Committed:
    """Let one of the staff see groups of a session's content (``domain.privacy.GROUPS``) for REVEAL_MINUTES.

    ``reason`` (1 to 200 characters) is sealed with the session's personal data. ``selectors.reveals`` tells who sees
    what; whoever shows content asks it, and whether the person has the permission still.

    Raises InvalidValue, PaymentDataRefused, SessionNotFound, SessionQuarantined, ContentErased once what it says of
    people is erased, KeyProblem, SessionBusy; then nothing is revealed.
    """
    _require_somebody(actor)
    chosen = [group for group in GROUPS if group in groups]
    if not chosen or len(chosen) != len(set(groups)):
        raise InvalidValue("/groups", f"Choose at least one of {', '.join(GROUPS)}.")
    check_reason(reason)

    def tell(head: SessionHead, _now: datetime) -> RowChange:
        require_open(head)
        if gone := erased(head):
            note = gone.get("personal") or gone["content"]
            raise ContentErased(session_id, rule=note.rule, at=note.at)
        until = timezone.now() + settings.reveal_time
        return in_any_standing(head, {"groups": [*chosen], "until": format_time(until)})

    return commit(session_id, Draft(REVEALED, actor, private={"reason": reason}), row=tell)


def mask_content(session_id: uuid.UUID, *, actor: Actor) -> Committed | None:
    """End at once all that is revealed to one of the staff; None if nothing is.

    Raises InvalidValue, SessionNotFound, SessionQuarantined, SessionBusy.
    """
    _require_somebody(actor)
    if all(one.actor != str(actor) for one in reveals(read_head(session_id))):
        return None
    return commit(session_id, Draft(MASKED, actor), row=lambda head, _now: in_any_standing(head, {}))


def note_download(session_id: uuid.UUID, *, file: Literal["artifact", "evidence"], actor: Actor) -> Committed:
    """Say in the session's history that one of the staff gets a file with what was revealed to them; then send it.

    Raises InvalidValue, SessionNotFound, SessionQuarantined, SessionBusy.
    """
    _require_somebody(actor)
    return commit(session_id, Draft(DISCLOSED, actor), row=lambda head, _now: in_any_standing(head, {"file": file}))


def _require_somebody(actor: Actor) -> None:
    if actor.kind != "staff" or not actor.ref:
        raise InvalidValue("/actor", "Name who of the staff sees it, such as Actor('staff', '17').")
