"""Logs with sinks: a directory, a sink in memory, and a witness."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witness import Handler, Server
from agent_sessions.audit.witnessing import Witness
from agent_sessions.services import _log_sinks
from agent_sessions.sinks import DirectorySink
from tests.sequenced import DISK
from tests.sinks.trees import serving

ORIGIN = "shop.example/agent-sessions/1"
FAKE = "tests.sequenced.FakeSink"


@pytest.fixture(autouse=True)
def nothing_fails_yet() -> Iterator[None]:
    _log_sinks._failing.clear()
    yield
    _log_sinks._failing.clear()


@pytest.fixture
def store(configure: Any) -> dict[str, Any]:
    """What the only sink keeps, in memory."""
    made: dict[str, Any] = {}
    configure(LOG_SINKS=[{"name": "fake", "class": FAKE, "store": made}])
    return made


@pytest.fixture
def disk(tmp_path: Path, configure: Any) -> DirectorySink:
    (tmp_path / "heads").mkdir()
    configure(LOG_SINKS=[{"name": "disk", "class": DISK, "directory": tmp_path / "heads"}])
    return DirectorySink("disk", tmp_path / "heads")


def errors(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness.create(tmp_path / "witness", "witness.example/w1")


@pytest.fixture
def witnessed(witness: Witness, configure: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Callable[[], Any]]:
    """A directory and a witness as sinks; what is yielded takes the witness off the network."""
    monkeypatch.setattr(Handler, "log_message", lambda *_: None)
    (tmp_path / "heads").mkdir()
    with Server(("127.0.0.1", 0), witness) as server, serving(server) as url:
        sinks = [
            {"name": "disk", "class": DISK, "directory": tmp_path / "heads"},
            {"name": "w1", "class": "agent_sessions.sinks.WitnessSink", "url": url, "key": witness.key.text},
        ]
        configure(LOG_SINKS=sinks)
        nowhere = {**sinks[1], "url": "http://127.0.0.1:1", "timeout": 1}
        yield lambda: configure(LOG_SINKS=[sinks[0], nowhere])


def follow(witness: Witness) -> None:
    for one in selectors.log_keys():
        witness.add_log(read_vkey(one.vkey))
