"""The sink that is an HTTP endpoint (A4)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest

from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks import HttpSink, OtherHeadKept, Sink, SinkBehind, SinkFailed
from tests.sinks.trees import Answering, Tree, serving

PLAIN, SIZE = "text/plain", "text/x.tlog.size"


@pytest.fixture
def server() -> Iterator[Answering]:
    with (made := Answering()), serving(made):
        yield made


def test_each_head_is_posted_with_the_token(server: Answering) -> None:
    sink: Sink = HttpSink("auditor", f"{server.url}/heads?shop=1", token="s3cret")
    server.answers = [(201, PLAIN, b"")]

    assert list(sink.write(Tree().submission(0, 7))) == []

    ((path, headers, body),) = server.got
    assert (path, body) == ("/heads?shop=1", Tree().submission(0, 7).text.encode())
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


def test_without_a_token_none_is_sent(server: Answering) -> None:
    server.answers = [(204, PLAIN, b"")]
    HttpSink("auditor", server.url).write(Tree().submission(0, 7))
    assert "Authorization" not in server.got[0][1]


@pytest.mark.parametrize("status", [302, 400, 401, 404, 409, 500, 503])
def test_whatever_is_not_2xx_is_tried_again(server: Answering, status: int) -> None:
    """Redirects are not followed: the token is for the endpoint alone."""
    server.answers = [(status, PLAIN, b"7\n")]

    with pytest.raises(SinkFailed, match=str(status)):
        HttpSink("auditor", server.url).write(Tree().submission(0, 7))

    assert len(server.got) == 1


@pytest.mark.parametrize(
    ("old", "known", "error"),
    [(0, 5, OtherHeadKept), (0, 7, OtherHeadKept), (7, 7, SinkBehind), (0, 8, SinkBehind), (5, 5, SinkFailed)],
)
def test_the_size_that_it_knows_is_understood(server: Answering, old: int, known: int, error: type[Exception]) -> None:
    server.answers = [(409, f"{SIZE}; charset=utf-8", f"{known}\n".encode())]

    with pytest.raises(error) as refusal:
        HttpSink("auditor", server.url).write(Tree().submission(old, 7))

    assert getattr(refusal.value, "known", known) == known


@pytest.mark.parametrize("body", [b"", b"-1\n", b"seven\n", b"7\n7\n", b"9" * 30, "٧\n".encode()])
def test_a_size_that_is_none_is_a_failure(server: Answering, body: bytes) -> None:
    server.answers = [(409, SIZE, body)]
    with pytest.raises(SinkFailed):
        HttpSink("auditor", server.url).write(Tree().submission(0, 7))


def test_who_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = HttpSink("auditor", f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        with pytest.raises(SinkFailed, match="no answer in time"):
            sink.write(Tree().submission(0, 7))
    with pytest.raises(SinkFailed, match="refused"):
        sink.write(Tree().submission(0, 7))


@pytest.mark.parametrize("begin", [b"HTTP/1.1 500 No\r\nX: ", b"HTTP/1.1 500 No\r\nContent-Length: 60000\r\n\r\n"])
def test_who_answers_a_byte_at_a_time_is_not_waited_for_for_ever(begin: bytes) -> None:
    """A4: each byte comes in time, and the log would wait for days."""
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(begin)
                for _ in range(500):
                    stop.wait(0.02)
                    connection.sendall(b"x")
                told.append("all of it")

        thread = Thread(target=drip, daemon=True)
        thread.start()
        try:
            sink = HttpSink("auditor", f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.1)
            with pytest.raises(SinkFailed):
                sink.write(Tree().submission(0, 7))
        finally:
            stop.set()
            thread.join()
    assert told == []


def test_it_cannot_be_read() -> None:
    sink: Sink = HttpSink("auditor", "https://auditor.example/heads")
    assert (sink.readable, sink.newest("a"), sink.origins(), list(sink.heads("a"))) == (False, None, [], [])
    assert list(sink.cosignatures(Tree().submission(0, 7).note)) == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"url": "http://auditor.example/heads"}, "/url"),
        ({"url": "ftp://auditor.example"}, "/url"),
        ({"url": "https://"}, "/url"),
        ({"url": "https://auditor.example:http"}, "/url"),
        ({"url": "https://user:password@auditor.example"}, "/url"),
        ({"url": 7}, "/url"),
        ({"url": "https://auditor.example", "token": "two\nlines"}, "/token"),
        ({"url": "https://auditor.example", "token": 7}, "/token"),
        ({"url": "https://auditor.example", "timeout": 0}, "/timeout"),
        ({"url": "https://auditor.example", "timeout": "10"}, "/timeout"),
    ],
)
def test_wrong_options_are_told_with_their_place(options: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        HttpSink("auditor", **options)
    assert refusal.value.path == where
