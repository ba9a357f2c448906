"""What happens in a session, as it happens: server-sent events, or the same by asking again and again (C5).

A stream keeps a thread of a synchronous server, so a process has a few at most and each ends after a while; the client
comes back by itself with Last-Event-ID and misses nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import msgspec
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from rest_framework.request import Request

from agent_sessions import selectors
from agent_sessions.api.errors import StreamsExhausted
from agent_sessions.api.history import LIST_QUERY
from agent_sessions.api.resource import Operation, SessionResource
from agent_sessions.conf import settings
from agent_sessions.exceptions import AgentSessionsError, InvalidParameter
from agent_sessions.selectors import SessionHead

LASTS: Final = 55
"""Seconds that a stream lasts; proxies close what is silent or open for longer than a minute."""
EVERY: Final = 1
"""Seconds between two looks at the session."""
HEARTBEAT: Final = 15
"""Seconds of silence after which a comment is sent, so that a client that has gone is noticed."""
_BATCH: Final = 100


class EventsView(SessionResource):
    """``GET`` the session's events after a number; as a stream to whoever accepts ``text/event-stream``."""

    operations = {
        "GET": Operation(
            "session.events",
            "The events of the session after a number. Accept: text/event-stream gives them as they happen, from "
            "Last-Event-ID on.",
            {"type": "array", "items": {"type": "object"}},
            query=LIST_QUERY,
        )
    }

    def get(self, request: Request) -> Any:
        head = self.required_session()
        after = self.number("after", 0)
        if "text/event-stream" not in self.http.META.get("HTTP_ACCEPT", ""):
            limit = self.number("limit", 100, least=1, most=500)
            return self.answered(selectors.events(head.session_id, after=after, limit=limit), version=head.version)
        return self._stream(head, self._last_event_id(after))

    def _last_event_id(self, after: int) -> int:
        text = self.http.META.get("HTTP_LAST_EVENT_ID", "").strip()
        if not text:
            return after
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidParameter("Last-Event-ID", "Send the id of the last event as the stream gave it.")
        return int(text)

    def _stream(self, head: SessionHead, after: int) -> HttpResponse | StreamingHttpResponse:
        if not _open_streams.take(settings.max_streams):
            raise StreamsExhausted
        ticks = follow(head, after)
        content = _slowly_async(ticks) if isinstance(self.http, ASGIRequest) else _slowly(ticks)
        response = _Stream(content, content_type="text/event-stream; charset=utf-8")
        response["X-Accel-Buffering"] = "no"
        return response


class _Stream(StreamingHttpResponse):
    """Gives its place back when it is closed, or dropped: an ASGI server does not close the answer of who has gone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._give_back = weakref.finalize(self, _open_streams.give_back)

    def close(self) -> None:
        self._give_back()  # the first time only
        super().close()


def follow(head: SessionHead, after: int) -> Iterator[bytes]:
    """Yield, once per look at the session, what is to be sent: events, a heartbeat, or nothing.

    Ends after ``LASTS`` looks, or when the session has ended. The caller waits ``EVERY`` seconds between two.
    """
    yield b"retry: 1000\n\n"
    silent = 0
    for _ in range(LASTS // EVERY):
        try:
            head = selectors.read_head(head.session_id)
            events = selectors.events(head.session_id, after=after, limit=_BATCH) if head.head_seq > after else []
        except AgentSessionsError:
            yield b"event: end\ndata: {}\n\n"
            return
        if events:
            after += len(events)
            silent = 0
            yield b"".join(_message(event) for event in events)
        elif not head.is_live(timezone.now()):
            yield b"event: end\ndata: {}\n\n"
            return
        else:
            silent += EVERY
            yield b": still here\n\n" if silent % HEARTBEAT == 0 else b""


def _message(event: Any) -> bytes:
    # Canonical JSON has no raw line break, so one line of data holds the whole event.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event["seq"], event["kind"].encode(), msgspec.json.encode(event))


def _slowly(ticks: Iterator[bytes], wait: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    for sent in ticks:
        if sent:
            yield sent
        wait(EVERY)


async def _slowly_async(ticks: Iterator[bytes]) -> AsyncIterator[bytes]:
    look = sync_to_async(lambda: next(ticks, None))
    while (sent := await look()) is not None:
        if sent:
            yield sent
        await asyncio.sleep(EVERY)


class _Places:
    """How many streams this process has open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def take(self, most: int) -> bool:
        with self._lock:
            if self.taken >= most:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self.taken -= 1


_open_streams = _Places()
