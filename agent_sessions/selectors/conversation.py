"""Reads of a conversation, and of those that it goes on from (S6).

A session that was renewed, transferred or forked goes on with what was said before: its ancestors' turns stay where
they are and are read through the lineage, up to the moment at which this session began.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent_sessions.exceptions import InvalidValue, SessionDamaged, SessionNotFound
from agent_sessions.models import Message, Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head, require_open
from agent_sessions.selectors.history import Turn, opened_turn
from agent_sessions.types import JSONValue

MAX_ANCESTORS: Final = 100
MAX_SEARCHED: Final = 2000
"""Turns that one search opens at most, the latest first."""
_CHUNK: Final = 100


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A session that this one came from, and until when what it said belongs to this one's past (UTC)."""

    session_id: uuid.UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a search found, and the session it was said in."""

    session_id: uuid.UUID
    turn: Turn


def ancestors(head: SessionHead) -> list[Ancestor]:
    """Return the sessions that this one came from, the nearest first; one query each, none for a first session."""
    if head.family == head.session_id:
        return []
    rows = Session.objects.using(_rows.write_connection().alias)
    found: list[Ancestor] = []
    session_id, until = head.session_id, head.created_at
    while len(found) < MAX_ANCESTORS:
        row = rows.filter(pk=session_id).values_list("parent", "created_at").first()
        if row is None or row[0] is None:
            break
        session_id, until = row[0], min(until, row[1])
        found.append(Ancestor(session_id, until))
    return found


def search_messages(head: SessionHead, words: str, *, limit: int = 20) -> list[Found]:
    """Return the latest turns, here and in the ancestors, in which all the words occur, whatever their case.

    Turns are sealed, so they are opened one by one: at most ``MAX_SEARCHED``. Where they were erased nothing is found.
    The search goes back no further than to an ancestor that was erased or is damaged. Raises InvalidValue without a
    word, and what ``messages`` raises.
    """
    require_open(head)
    wanted = words.casefold().split()
    if not wanted:
        raise InvalidValue("/q", "Send at least one word to look for.")
    limit = _rows.checked_limit(limit)
    found: list[Found] = []
    for searched, (session_id, turn) in enumerate(_from_the_end(head)):
        if len(found) == limit or searched == MAX_SEARCHED:
            break
        text = " ".join(_texts(turn.content)).casefold()
        if all(word in text for word in wanted):
            found.append(Found(session_id, turn))
    return found


def _from_the_end(head: SessionHead) -> Iterator[tuple[uuid.UUID, Turn]]:
    if not head.data_keys().has_personal:
        return
    yield from ((head.session_id, turn) for turn in _turns(head, None))
    for ancestor in ancestors(head):
        try:
            head = read_head(ancestor.session_id)
            require_open(head)
            if not head.data_keys().has_personal:
                return  # what came before has been erased, or will have been
            yield from ((ancestor.session_id, turn) for turn in _turns(head, ancestor.until))
        except (SessionDamaged, SessionNotFound):
            return  # what is damaged shows nothing


def _turns(head: SessionHead, until: datetime | None) -> Iterator[Turn]:
    """Yield the turns of one session from the last one on, a chunk per query."""
    keys = head.data_keys()
    rows = Message.objects.using(_rows.write_connection().alias).filter(session_id=head.session_id)
    if until is not None:
        rows = rows.filter(created_at__lte=until)
    rows = rows.order_by("-number")
    chunk = list(rows.values_list("number", "role", "body", "created_at")[:_CHUNK])
    while chunk:
        yield from (opened_turn(head, keys, row) for row in chunk)
        chunk = list(rows.filter(number__lt=chunk[-1][0]).values_list("number", "role", "body", "created_at")[:_CHUNK])


def _texts(content: JSONValue | None) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
