"""What an agent writes into a session itself: its variables, what it knows of the customer, why it recommended (S6).

Agents that share a session's context see the same variables. What only one of them needs it keeps in a scope of its own
inside the session (C4): a part of the slice ``agent`` that goes by its name.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.merge import RULES, MergeRule, merge
from agent_sessions.domain.state import LOCAL, check_agent_patch
from agent_sessions.domain.values import check_patch
from agent_sessions.exceptions import MergeConflict, VersionConflict
from agent_sessions.selectors import StateView, current_state, state_at_version
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.history import local_name
from agent_sessions.services.sessions import change_session
from agent_sessions.types import Patch

WRITTEN: Final = "variables.written"
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Written:
    """The version that a write made. ``merged``: others had moved the session on, and the change went on top."""

    session_id: uuid.UUID
    version: int
    merged: bool


def write_variables(
    session: SessionHead | uuid.UUID,
    *,
    patch: Patch,
    expected_version: int | None = None,
    merging: bool = False,
    local: bool = False,
    rules: Iterable[MergeRule] = RULES,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> Written:
    """Change what is the agent's own (``AGENT_WRITABLE``) by an RFC 7396 merge patch.

    With ``expected_version`` the patch was made for that version: if the session has moved on, it is refused, or with
    ``merging`` merged into what there is now (V5). Without it, it is applied to whatever there is. With ``local`` the
    patch is one of the agent's own scope, which other agents do not see; it starts at the scope and not at the slices.

    Raises InvalidValue for what is not the agent's to write, MergeConflict, and what ``change_session`` raises.
    """
    head = session if isinstance(session, SessionHead) else read_head(session)
    check_patch(patch)
    if local:
        patch = {"agent": {LOCAL: {local_name(head): patch}}}
    check_agent_patch(patch, own=local_name(head))
    asked, rules = expected_version, tuple(rules)
    for attempt in range(_ATTEMPTS):
        change, merged = patch, False
        if merging and asked is not None and asked != head.version:
            base, now = state_at_version(head, asked), current_state(head)
            change, merged = _merged(base, now, patch, rules), True
        based_on = asked if asked is not None and not merging else head.version
        try:
            made = change_session(head, expected_version=based_on, patch=change, kind=WRITTEN, actor=actor, call=call)
        except VersionConflict:
            if (asked is not None and not merging) or attempt == _ATTEMPTS - 1:
                raise
            head = read_head(head.session_id)
        else:
            return Written(made.session_id, made.version, merged)
    raise AssertionError  # the last round returns or raises


def _merged(base: StateView, now: StateView, patch: Patch, rules: tuple[MergeRule, ...]) -> Patch:
    result = merge(base.state, now.state, patch, rules)
    if result.conflicts:
        paths = [conflict.path for conflict in result.conflicts]
        raise MergeConflict(now.session_id, expected=base.version, current=now.version, paths=paths)
    return result.patch
