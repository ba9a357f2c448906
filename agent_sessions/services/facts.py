"""What the customer has not said and somebody knows: looked up when it is needed, kept while it holds (X3)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import msgspec
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.patch import diff
from agent_sessions.domain.slices.outside import Fact
from agent_sessions.domain.values import MAX_KEY_LENGTH, check_value
from agent_sessions.exceptions import FactUnavailable, InvalidValue, VersionConflict
from agent_sessions.selectors._heads import SessionHead, id_of, read_head, require_changeable
from agent_sessions.selectors.history import current_state
from agent_sessions.selectors.overview import entries
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.services._texts import check_text
from agent_sessions.types import JSONValue, Patch, State

LEARNED: Final = "fact.learned"
UNAVAILABLE: Final = "fact.unavailable"
MAX_SOURCE: Final = 200
_ATTEMPTS: Final = 8


def learn_fact(
    session: SessionHead | uuid.UUID,
    name: str,
    fetch: Callable[[], JSONValue | None],
    *,
    source: str,
    ttl: timedelta,
    actor: Actor = SYSTEM,
    call: Call = NO_CALL,
) -> JSONValue:
    """Return a fact: what the session knows of it while that holds, else what ``fetch`` says, which it then knows (X3).

    ``fetch`` is called without arguments and outside of any transaction of the package, at most once; it gives its own
    time-out. ``source`` says whom it asks (``crm``), ``ttl`` how long the answer holds. Name and source stand in
    the history for good; the value is sealed. If ``fetch`` raises, or knows nothing (None), that is recorded, and
    nothing is guessed: an answer that no longer holds is never returned.

    Raises FactUnavailable, InvalidValue, and what ``change_session`` raises.
    """
    _check(name, source, ttl)
    head = read_head(id_of(session))
    require_changeable(head, actor, timezone.now())
    known = _known(current_state(head).state, name)
    if known is not None:
        return known.value  # type: ignore[no-any-return]
    fetched_at = timezone.now()
    value = _fetched(head, name, fetch, source, actor, call)
    fact: State = {
        "value": value,
        "source": source,
        "fetched_at": format_time(fetched_at),
        "expires_at": format_time(fetched_at + ttl),
    }
    return _noted(head, name, fact, actor, _told(call, name, source))


def _fetched(
    head: SessionHead,
    name: str,
    fetch: Callable[[], JSONValue | None],
    source: str,
    actor: Actor,
    call: Call,
) -> JSONValue:
    failure: Exception | None = None
    value: JSONValue | None = None
    try:
        value = fetch()
    except Exception as problem:  # noqa: BLE001 - the host's own code, which may fail with anything
        failure = problem
    if value is None:
        commit(head.session_id, Draft(UNAVAILABLE, actor, _told(call, name, source)))
        raise FactUnavailable(name) from failure
    check_value(value, "/value")
    return value


def _noted(head: SessionHead, name: str, fact: State, actor: Actor, call: Call) -> JSONValue:
    """Write what was fetched. Who was fetched for at the same time, and came second, gets what the first one knows."""
    for number in range(_ATTEMPTS):
        before = current_state(head).state
        if number and (known := _known(before, name)) is not None:
            return known.value  # type: ignore[no-any-return]
        try:
            commit(head, Draft(LEARNED, actor, call, patch=_with(before, name, fact), expected_version=head.version))
        except VersionConflict:
            if number == _ATTEMPTS - 1:
                raise
            head = read_head(head.session_id)
        else:
            break
    return fact["value"]


def _with(state: State, name: str, fact: State) -> Patch:
    """Return the patch that puts a fact in the place of what was known: nothing of an older value stays in it."""
    facts: Any = state.get("facts", {})
    known = {**facts.get("known", {}), name: fact}
    return diff(state, {**state, "facts": {**facts, "known": known}})


def _known(state: State, name: str) -> Fact | None:
    """Return a fact that still holds, None without one."""
    entry = entries(state, "facts", "known").get(name)
    if entry is None:
        return None
    fact = msgspec.convert(entry, Fact)
    return fact if fact.expires_at is not msgspec.UNSET and fact.expires_at > timezone.now() else None


def _told(call: Call, name: str, source: str) -> Call:
    return replace(call, params={**call.params, "fact": name, "source": source})


def _check(name: str, source: str, ttl: timedelta) -> None:
    for path, text, most in (("/name", name, MAX_KEY_LENGTH), ("/source", source, MAX_SOURCE)):
        check_text(path, text, most)
        if not text:
            raise InvalidValue(path, "Send text that is not empty.")
    if not isinstance(ttl, timedelta) or ttl <= timedelta(0):
        raise InvalidValue("/ttl", "Send for how long the answer holds: a timedelta above 0.")
