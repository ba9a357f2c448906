"""Wrapping data keys and the site's keys anew, from older master keys to the active one, while traffic goes on (A8).

Nothing waits for it and it waits for nobody: a row that somebody else is writing is left for the next round. Each is
replaced only if it is still what was read, both of its keys, so a key that was destroyed meanwhile stays destroyed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from agent_sessions.conf import settings
from agent_sessions.crypto.keys import UnknownMasterKey, WrappedKeyBroken
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import SessionKey, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._keys import data_key_context, wrapped_keys
from agent_sessions.selectors._master_keys import is_superseded
from agent_sessions.selectors.master_keys import count_wrapped_by_others, old_masters
from agent_sessions.services.keys import rewrapped_site_key
from agent_sessions.services.master_keys import note_active_master_key

logger = logging.getLogger("agent_sessions")

_CHUNK: Final = 100
"""Rows of one transaction: so long does whoever erases one of them wait at most."""


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many rows (sessions and site keys) were wrapped anew, how many still hang on an older master key, and how
    many of those were tried and could not be.
    """

    done: int
    left: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Change:
    row: SessionKey
    master_key_id: str
    wrapped: bytes
    personal: bytes | None


def rewrap(*, limit: int = 1000) -> Rewrapped:
    """Wrap up to ``limit`` rows anew with the active master key, in transactions of a hundred.

    Safe to run twice at once, to stop anywhere and to repeat. A row that does not unwrap is logged and holds up no
    other, up to ``limit`` of them. The first run under a new master key records that in the site's events
    (``keys.rotated``). Where a key is active that the events say was replaced, nothing is done: this machine has an old
    file of keys, and others would wrap everything back.

    Raises InvalidValue for a limit below 1, KeyProblem if the provider is out of reach; what was done stays.
    """
    if type(limit) is not int or limit < 1:
        raise InvalidValue("/limit", "Send how many keys one run wraps anew: a whole number, 1 or more.")
    active = settings.key_provider.active_id
    if is_superseded(active):
        logger.warning(
            "Master key %r is active here, and another was made active after it. Give this machine the keys that the "
            "others have; to go back to it for good, run rotate_master_key.",
            active,
        )
        return Rewrapped(0, count_wrapped_by_others(active))
    note_active_master_key()
    done, failed = _site_keys(active, limit)
    for master_id in old_masters(active):
        if done < limit:
            more, lost = _data_keys(master_id, limit - done)
            done, failed = done + more, failed + lost
    return Rewrapped(done, count_wrapped_by_others(active), failed)


def _data_keys(master_id: str, most: int) -> tuple[int, int]:
    """Wrap anew what one older master key wraps; return how many were, and how many could not be."""
    done = failed = 0
    try:
        for chunk in _chunks(master_id, most):
            changes = [change for row in chunk if (change := _rewrapped(row)) is not None]
            failed += len(chunk) - len(changes)
            done += _rows.with_retries("Data keys", lambda changes=changes: _store(changes))  # type: ignore[misc]
            if max(done, failed) >= most:
                break
    except UnknownMasterKey as gone:
        logger.error("What master key %r wraps cannot be wrapped anew. %s", master_id, gone.message)
        failed += SessionKey.objects.using(_alias()).filter(master_key_id=master_id).count()
    return done, failed


def _site_keys(active: str, limit: int) -> tuple[int, int]:
    done = failed = 0
    keys = SiteKey.objects.using(_alias())
    for key in list(keys.exclude(master_key_id__in=(active, "")).order_by("-pk")[:limit]):
        try:
            master_id, wrapped = rewrapped_site_key(key)
        except (UnknownMasterKey, WrappedKeyBroken) as problem:
            logger.error("The %s key %s of the site cannot be wrapped anew. %s", key.purpose, key.pk, problem.message)
            failed += 1
            continue
        same = keys.filter(pk=key.pk, master_key_id=key.master_key_id, wrapped=key.wrapped)
        done += same.update(master_key_id=master_id, wrapped=wrapped)
    return done, failed


def _chunks(master_id: str, most: int) -> Iterator[list[SessionKey]]:
    size = min(_CHUNK, most)
    rows = SessionKey.objects.using(_alias()).filter(master_key_id=master_id).order_by("pk")
    chunk = list(rows[:size])
    while chunk:
        yield chunk
        chunk = list(rows.filter(pk__gt=chunk[-1].pk)[:size])


def _rewrapped(row: SessionKey) -> _Change | None:
    """Unwrap and wrap, with no transaction open: a key service may take its time. None if the row is damaged."""
    session, old = row.pk, row.master_key_id
    unwrap = settings.key_provider.unwrap
    try:
        content = unwrap(old, bytes(row.wrapped), context=data_key_context(session, "content"))
        said = row.personal
        personal = None if said is None else unwrap(old, bytes(said), context=data_key_context(session, "personal"))
    except WrappedKeyBroken as problem:
        logger.error("The data keys of session %s cannot be wrapped anew. %s", session, problem.message)
        return None
    # Wrapping two costs no more than knowing how to wrap one.
    master_id, wrapped, wrapped_personal = wrapped_keys(session, content, personal or content)
    return _Change(row, master_id, wrapped, None if personal is None else wrapped_personal)


def _store(changes: list[_Change]) -> int:
    """Replace rows that are still what was read and that nobody else is writing; return how many."""
    connection = _rows.write_connection()
    keys = SessionKey.objects.using(connection.alias)
    with transaction.atomic(using=connection.alias):
        free: set[Any] = {change.row.pk for change in changes}
        if connection.features.has_select_for_update_skip_locked:
            locked = keys.filter(pk__in=free).select_for_update(skip_locked=True)
            free = set(locked.values_list("pk", flat=True))
        return sum(_replace(change) for change in changes if change.row.pk in free)


def _replace(change: _Change) -> int:
    row = change.row
    same = SessionKey.objects.using(_alias()).filter(pk=row.pk, master_key_id=row.master_key_id, wrapped=row.wrapped)
    same = same.filter(personal__isnull=True) if row.personal is None else same.filter(personal=row.personal)
    return same.update(master_key_id=change.master_key_id, wrapped=change.wrapped, personal=change.personal)


def _alias() -> str:
    return _rows.write_connection().alias
