"""manage.py sequence_log, log_proof, begin_log_generation and rotate_signing_key --log (A4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from agent_sessions import selectors, services
from agent_sessions.audit.merkle import verify_consistency
from agent_sessions.audit.notes import open_checkpoint, read_hashes
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.models import LogGeneration
from agent_sessions.services import _log_sinks
from tests.management.running import run
from tests.sequenced import DISK
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db

LOG = "shop.example/agent-sessions/1"


@pytest.fixture
def sink(configure: Any, monkeypatch: Any) -> dict[str, Any]:
    monkeypatch.setattr(_log_sinks, "_failing", set())
    store: dict[str, Any] = {}
    configure(LOG_SINKS=[{"name": "fake", "class": "tests.sequenced.FakeSink", "store": store}])
    return store


def test_it_appends_and_says_where_the_log_stands(opened: Any, sink: dict[str, Any]) -> None:
    opened()
    ran = run("sequence_log")
    assert ran.out.splitlines() == [
        "2 leaves appended", f"{LOG}: 3 leaves, 3 in the newest head that counts", "0 events are in no leaf",
    ]  # fmt: skip
    assert ran.status == 0


def test_it_goes_on_until_nothing_is_left(opened: Any, sink: dict[str, Any]) -> None:
    for _ in range(5):
        opened()
    ran = run("sequence_log", "--batch", "2")
    assert ran.out.startswith("6 leaves appended\n")
    assert ran.err.splitlines() == ["2 leaves so far"] * 3
    assert len(sink["kept"]) == 3


def test_a_dry_run_counts_and_changes_nothing(opened: Any, sink: dict[str, Any], clock: Any) -> None:
    assert run("sequence_log", "--dry-run").out == "No log yet: the first run begins it.\n"
    services.sequence_log()
    sink["down"] = True
    opened()
    services.sequence_log()
    opened()
    clock.shift(8)
    before = everything_stored()

    ran = run("sequence_log", "--dry-run")

    assert ran.out.splitlines() == [
        f"{LOG}: 3 leaves, 2 in the newest head that counts",
        "1 events are in no leaf, the oldest 8 s old",
        "1 leaves wait for the sinks, the oldest for 8 s",
    ]
    assert everything_stored() == before


def test_while_sinks_fail_the_status_is_1(opened: Any, sink: dict[str, Any]) -> None:
    run("sequence_log")
    opened()
    sink["down"] = True
    assert run("sequence_log").status == 1
    sink["down"] = False
    assert run("sequence_log").status == 0


def test_proofs_are_written_as_verifiers_read_them(opened: Any, ended: Any) -> None:
    services.sequence_log()
    opened()
    services.sequence_log()
    keys = [read_vkey(line.split()[1]) for line in run("log_proof", "--keys").out.splitlines()]
    newest = open_checkpoint(run("log_proof", "--head").out, keys).checkpoint
    first = open_checkpoint(run("log_proof", "--head", "3", "--generation", "1").out, keys).checkpoint

    text = run("log_proof", str(ended.session_id), "--text").out
    document = json.loads(run("log_proof", str(ended.session_id)).out)
    hashes = read_hashes(run("log_proof", "--consistency", "3", "4").out.splitlines())

    assert (first.size, newest.size) == (3, 4)
    proof = selectors.log_inclusion(ended.session_id).proof
    assert text == proof.to_text()
    assert proof.head == newest
    assert document == json.loads(services.get_artifact(ended.session_id))["inclusion"]
    assert verify_consistency(3, 4, first.root, newest.root, hashes)


def test_what_cannot_be_proven_is_told_in_a_sentence(opened: Any) -> None:
    one = opened()
    for arguments in ([str(one.session_id)], ["--head"], ["--consistency", "1", "2"]):
        with pytest.raises(CommandError, match="The sequencer has to run"):
            run("log_proof", *arguments)
    assert run("log_proof", "--keys").out == ""


def test_a_new_generation_is_begun_by_hand(sink: dict[str, Any]) -> None:
    services.sequence_log()
    ran = run("begin_log_generation", "--reason", "Restored from the backup of 2026-11-20.")
    assert ran.out == "shop.example/agent-sessions/2 begins: Restored from the backup of 2026-11-20.\n"
    assert LogGeneration.objects.get(closed_at=None).number == 2


def test_the_key_of_the_log_is_rotated_apart_from_that_of_artifacts() -> None:
    services.sequence_log()
    before = services.signing_keys()

    rotated = run("rotate_signing_key", "--log").out.splitlines()
    listed = run("rotate_signing_key", "--log", "--list").out.splitlines()

    assert [line.split()[0] for line in rotated] == ["active", "retired"]
    assert listed == rotated
    assert services.signing_keys() == before


def test_sinks_that_cannot_be_made_are_told_in_a_sentence(configure: Any, tmp_path: Path) -> None:
    configure(LOG_SINKS=[{"name": "disk", "class": DISK, "folder": tmp_path}])
    with pytest.raises(CommandError, match="LOG_SINKS/0"):
        run("sequence_log")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--keys", "--generation", "1"), "--generation goes with"),
        (("01a1ff0d-63f7-70bd-b4c4-0a8c16916874", "--generation", "1"), "--generation goes with"),
        (("--head", "--text"), "--text goes with"),
    ],
)
def test_what_an_option_does_not_go_with_is_refused_and_not_passed_over(arguments: Any, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        run("log_proof", *arguments)
