"""The command: exit codes, what it prints, and where heads and keys come from (A4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from agent_sessions import services
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey
from agent_sessions.crypto.signing import new_signing_key
from agent_sessions.selectors.fsck import _chains, _trees
from agent_sessions.selectors.log import log_keys
from agent_sessions.services import OpenedSession
from agent_sessions.services.sequencing import sequence_log
from tests.management.running import run
from tests.superuser import delete_event

pytestmark = pytest.mark.django_db

ORIGIN = "shop.example/agent-sessions/1"


@pytest.fixture
def session(opened: Callable[..., OpenedSession], configure: Callable[..., None], tmp_path: Path) -> OpenedSession:
    """A session of three events in a log of three leaves, whose head a sink keeps."""
    configure(LOG_SINKS=[{"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": str(tmp_path)}])
    one = opened()
    for _ in range(2):
        services.record_event(one.session_id, kind="item.viewed")
    sequence_log()
    return one


def test_a_good_log(session: OpenedSession, tmp_path: Path) -> None:
    ran = run("audit_fsck", "--log-key", log_keys()[0].vkey, "--heads", str(tmp_path))

    assert ran.status == 0
    assert ran.out.splitlines() == [
        f"{ORIGIN}: 3 leaves",
        "the database: 1 heads",
        f"{tmp_path}: 1 heads",
        "disk: 1 heads",
        "1 sessions with 3 events, 1 of the site's own",
        "events in no leaf yet: 0",
        "leaves under no exported head yet: 0",
        "Good.",
    ]


def test_what_it_does_not_know_it_says(session: OpenedSession) -> None:
    """A4: keys and heads of the database alone show that it fits together, and no more."""
    ran = run("audit_fsck", "--no-sinks")

    assert ran.status == 0
    assert "The log's keys are those that the database names. Give the ones you know with --log-key.\n" in ran.out
    assert "No head from outside the database was there to compare" in ran.out


def test_a_damaged_log(session: OpenedSession) -> None:
    delete_event(session.session_id, 3)
    ran = run("audit_fsck")

    assert ran.status == 1
    first, *_, last = ran.out.splitlines()
    assert (
        first == f"{session.session_id}: event 3 is gone: leaf 1 of {ORIGIN} says that it went to event 3 [truncated]"
    )
    assert last == "1 findings"


def test_for_programs(session: OpenedSession) -> None:
    delete_event(session.session_id, 3)
    ran = run("audit_fsck", "--json")

    assert ran.status == 1
    finding, counted = map(json.loads, ran.out.splitlines())
    assert finding == {
        "code": "truncated",
        "about": str(session.session_id),
        "where": "event 3",
        "message": f"is gone: leaf 1 of {ORIGIN} says that it went to event 3",
        "session": str(session.session_id),
        "seq": 3,
    }
    assert (counted["findings"], counted["events"], counted["logs"]) == (1, 2, {ORIGIN: 3})
    assert counted["unsequenced"] == {"count": 0, "since": None}


def test_it_says_how_far_it_is(session: OpenedSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trees, "EVERY", 2)
    monkeypatch.setattr(_chains, "EVERY", 2)
    ran = run("audit_fsck")

    assert ran.err.splitlines() == [f"{ORIGIN}: 2 of 3 leaves", "1 sessions, 3 events"]


def test_what_waits_is_counted_and_too_long_is_a_finding(session: OpenedSession) -> None:
    services.record_event(session.session_id, kind="item.viewed")

    assert "events in no leaf yet: 1, the oldest for 0 s\n" in run("audit_fsck").out
    late = run("audit_fsck", "--max-age", "0")
    assert (late.status, "[unsequenced]" in late.out) == (1, True)


def test_a_witness_is_missed(session: OpenedSession) -> None:
    key = NoteKey("witness.example/w1", COSIGNS, new_signing_key()[1])

    ran = run("audit_fsck", "--witness-key", key.text)

    assert ran.status == 1
    assert f"{ORIGIN}: the witness witness.example/w1 has co-signed no head of this log" in ran.out
    assert "leaves not co-signed by witness.example/w1 yet: 3, the oldest for 0 s\n" in ran.out
    told = json.loads(run("audit_fsck", "--json", "--witness-key", key.text).out.splitlines()[-1])
    assert told["unwitnessed"]["witness.example/w1"]["count"] == 3


def test_keys_are_read_from_files_too(session: OpenedSession, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(log_keys()[0].vkey + "\n")

    assert run("audit_fsck", "--log-key", str(tmp_path / "key.txt")).status == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--log-key", "nonsense"), "name+key id"),
        (("--log-key", NoteKey("witness.example/w1", COSIGNS, new_signing_key()[1]).text), "key of a witness"),
        (("--witness-key", NoteKey(ORIGIN, SIGNS, new_signing_key()[1]).text), "key of a log"),
        (("--witness-key", "x" * 5000), "name too long"),
        (("--heads", "/nowhere"), "there are no files head-*.txt in /nowhere"),
        (("--max-age", "-1"), "0 or more"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(CommandError) as wrong:
        run("audit_fsck", *arguments)
    assert (wrong.value.returncode, told in str(wrong.value)) == (2, True)


def test_sinks_that_cannot_be_made_are_wrong_use(configure: Callable[..., None]) -> None:
    configure(LOG_SINKS=[{"name": "disk", "class": "nowhere.Sink"}])
    with pytest.raises(CommandError) as wrong:
        run("audit_fsck")
    assert wrong.value.returncode == 2


def test_a_generation_can_be_accepted(session: OpenedSession, tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "agent_sessions.management.commands.audit_fsck.check_log", lambda sources, *_, **__: seen.append(sources) or []
    )
    run("audit_fsck", "--accept", "2", "--accept", "4")
    assert seen[0].accepted == [2, 4]
