"""The conversation: turns that are only ever added (S6)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db.models import Max

from agent_sessions.conf import settings
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor
from agent_sessions.domain.values import check_value
from agent_sessions.exceptions import InvalidValue, LimitExceeded
from agent_sessions.models import Message
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import DataKeys
from agent_sessions.selectors._states import MESSAGE, seal_document
from agent_sessions.services import _write
from agent_sessions.services._commit import commit
from agent_sessions.services._entries import Draft
from agent_sessions.types import JSONValue

_ROLE = re.compile(r"[a-z][a-z_]{0,15}")


@dataclass(frozen=True, slots=True)
class Added:
    """The turn that was added: its number in the conversation and the event that records it."""

    session_id: uuid.UUID
    number: int
    seq: int
    created_at: datetime


def add_message(
    session: SessionHead | uuid.UUID,
    *,
    role: str,
    content: JSONValue,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> Added:
    """Add one turn to the session's conversation, sealed, with an event that commits to it.

    ``role`` is a lower-case word such as user, agent or tool; ``content`` is text or any JSON value, up to the
    setting MAX_MESSAGE_BYTES of JSON. Needs no expected version: two who add at once both succeed.

    Raises what ``record_event`` raises.
    """
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        raise InvalidValue("/role", "A role is a lower-case word of at most 16 letters, such as user or agent.")
    check_value(content, "/content")
    body: dict[str, JSONValue] = {"role": role, "content": content}
    size = len(msgspec.json.encode(body))
    if size > settings.max_message_bytes:
        raise LimitExceeded("the message", size=size, limit=settings.max_message_bytes, setting="MAX_MESSAGE_BYTES")
    numbers: list[int] = []

    def message(head: SessionHead, keys: DataKeys) -> _write.MessageRow:
        rows = Message.objects.using(_rows.write_connection().alias).filter(session_id=head.session_id)
        number = (rows.aggregate(last=Max("number"))["last"] or 0) + 1
        numbers.append(number)
        return _write.MessageRow(number, role, seal_document(keys, head.session_id, MESSAGE, number, body))

    draft = Draft("conversation.message_added", actor, call, committed={"message": body})
    made = commit(session, draft, message=message)
    return Added(made.session_id, numbers[-1], made.seq, made.created_at)
