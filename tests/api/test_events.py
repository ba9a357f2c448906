"""What happens in a session, as it happens (C5). Streams are followed look by look, so no test waits."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import AsyncClient

from agent_sessions import selectors, services
from agent_sessions.api import events
from agent_sessions.domain.lifecycle import EndReason
from tests.api.conftest import API, DEAD, AgentClient

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch: Any) -> None:
    monkeypatch.setattr(events, "_open_streams", events._Places())


def parsed(sent: bytes) -> list[tuple[int, str, Any]]:
    """Read server-sent events as a browser does: id, event and data of each."""
    found = []
    for block in sent.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            found.append((int(fields.get("id", 0)), fields["event"], json.loads(fields["data"])))
    return found


def looks(agent: AgentClient, after: int = 0) -> Iterator[bytes]:
    stream = events.follow(selectors.session_of_token(agent.token), after)
    assert next(stream) == b"retry: 1000\n\n"
    return stream


def test_events_are_listed_after_a_number(shopper: AgentClient) -> None:
    shopper.send("POST", "/cart", {"item_id": "mug"})

    listed = shopper.data("GET", "/session/events")

    assert [(one["seq"], one["kind"]) for one in listed] == [(1, "session.created"), (2, "cart.item_added")]
    assert shopper.data("GET", "/session/events?after=1") == listed[1:]
    assert shopper.data("GET", "/session/events?after=2") == []
    assert "a birthday gift" not in json.dumps(listed), "what is private is not in an event"


def test_a_stream_tells_what_happens_while_it_is_open(shopper: AgentClient) -> None:
    stream = looks(shopper)

    assert [(number, kind) for number, kind, _ in parsed(next(stream))] == [(1, "session.created")]
    assert next(stream) == b""
    shopper.send("POST", "/cart", {"item_id": "mug"})
    shopper.send("GET", "/cart")
    (second, third) = parsed(next(stream))
    assert (second[0], second[1], second[2]["version"]) == (2, "cart.item_added", 2)
    assert (third[0], third[1]) == (3, "cart.viewed")


def test_silence_is_broken_by_heartbeats(shopper: AgentClient) -> None:
    stream = looks(shopper, after=1)

    sent = [next(stream) for _ in range(2 * events.HEARTBEAT)]

    assert [number for number, one in enumerate(sent, 1) if one] == [events.HEARTBEAT, 2 * events.HEARTBEAT]
    assert sent[events.HEARTBEAT - 1] == b": still here\n\n"


def test_it_ends_with_the_session(shopper: AgentClient) -> None:
    stream = looks(shopper, after=1)
    services.end_session(selectors.session_of_token(shopper.token), reason=EndReason.DELETED)

    assert [kind for _, kind, _ in parsed(b"".join(stream))] == ["session.ended", "end"]


def test_it_ends_at_the_deadline_though_no_job_has_come_by(clock: Any, agent: AgentClient, db: None) -> None:
    agent.open()
    stream = looks(agent, after=1)
    assert next(stream) == b""
    clock.shift(1801)

    assert parsed(b"".join(stream)) == [(0, "end", {})]


def test_it_ends_by_itself_after_a_while(shopper: AgentClient) -> None:
    assert len(list(looks(shopper, after=1))) == events.LASTS


def test_over_http_it_goes_on_after_the_last_event_that_was_seen(shopper: AgentClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(events, "EVERY", events.LASTS)  # one look
    monkeypatch.setattr(events._slowly, "__defaults__", (lambda _: None,))
    shopper.send("POST", "/cart", {"item_id": "mug"})
    stream = {"Accept": "text/event-stream"}

    answer = shopper.send("GET", "/session/events", headers=stream | {"Last-Event-ID": "1"})
    sent = b"".join(answer.streaming_content)

    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
    assert [number for number, _, _ in parsed(sent)] == [2]
    refusal = shopper.refused(400, "GET", "/session/events", headers=stream | {"Last-Event-ID": "x"})
    assert refusal["code"] == "invalid_parameter"


@pytest.mark.django_db(transaction=True)  # closing an answer closes the connection of a test's transaction
def test_a_process_has_only_so_many_open(shopper: AgentClient, configure: Any) -> None:
    configure(MAX_STREAMS=1)
    stream = {"Accept": "text/event-stream"}
    first = shopper.send("GET", "/session/events", headers=stream)

    refusal = shopper.send("GET", "/session/events", headers=stream)
    assert (refusal.status_code, refusal.json()["code"]) == (503, "streams_exhausted")
    assert refusal.headers["Retry-After"] == "5"

    first.close()
    first.close()
    again = shopper.send("GET", "/session/events", headers=stream)
    assert again.status_code == 200
    again.close()
    assert events._open_streams.taken == 0


def test_without_a_session_there_is_nothing_to_follow(agent: AgentClient, db: None) -> None:
    assert agent.refused(401, "GET", "/session/events", headers={"Accept": "text/event-stream"})["error"] == DEAD
    assert events._open_streams.taken == 0


def test_an_answer_that_nobody_closes_gives_its_place_back(shopper: AgentClient) -> None:
    """An ASGI server drops the answer of a client that has gone before it was made."""
    answer = shopper.send("GET", "/session/events", headers={"Accept": "text/event-stream"})
    assert events._open_streams.taken == 1

    del answer
    gc.collect()

    assert events._open_streams.taken == 0


@pytest.mark.django_db(transaction=True)
def test_it_is_told_by_an_asgi_server_too(shopper: AgentClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(events, "LASTS", 1)

    async def listen() -> tuple[int, bytes]:
        headers = {"X-Agent-Session": shopper.token, "Accept": "text/event-stream"}
        answer = await AsyncClient().get(f"{API}/session/events", headers=headers)
        sent = b"".join([part async for part in answer.streaming_content])
        await sync_to_async(answer.close)()
        return answer.status_code, sent

    status, sent = async_to_sync(listen)()

    assert (status, [kind for _, kind, _ in parsed(sent)]) == (200, ["session.created"])
    assert events._open_streams.taken == 0
