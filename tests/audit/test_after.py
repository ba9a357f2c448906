"""What an artifact says of the time after its session's end: what was erased since (A7)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.artifact import build_artifact
from agent_sessions.audit.events import ERASED
from agent_sessions.audit.verify import Erased, main, verify_artifact
from agent_sessions.crypto.signing import public_key_text
from agent_sessions.exceptions import SessionDamaged
from tests.audit.conftest import changed
from tests.golden.make import HERE, SITE_PUBLIC, Story, shopping

VERIFIER = HERE.parent / "independent" / "verify.mjs"
PERSONAL = {"classes": ["personal"], "rule": "personal", "basis": "GDPR Art. 5(1)(e)", "because": "retention"}
BOTH = {"classes": ["content", "personal"], "rule": "request", "basis": "GDPR Art. 17", "because": "erasure"}


def purged(*purges: dict[str, Any], opened: tuple[tuple[int, str], ...] = ()) -> bytes:
    """The shopping session's artifact, after these erasures."""
    story = shopping()
    seal = story.seal()
    for params in purges:
        story.add(ERASED, actor="system", params=params)
    openings = [story.opening(*place) for place in opened]
    return build_artifact(seal, story.events, openings, after=story.events[seal.event_count :])


def codes(raw: bytes) -> list[tuple[str, str]]:
    return [(problem.code, problem.where) for problem in verify_artifact(raw, [SITE_PUBLIC]).problems]


def test_the_verifier_says_what_was_erased_by_which_rule_and_when(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A7: the chain verifies, with "erased under rule X on date Y" where the content was."""
    raw = purged(PERSONAL, BOTH)
    found = verify_artifact(raw, [SITE_PUBLIC])
    assert found.ok
    assert found.trusted
    assert found.erased == [
        Erased("content", "request", "2026-11-21T09:30:49.123456Z"),
        Erased("personal", "personal", "2026-11-21T09:30:42.123456Z"),
    ]
    file = tmp_path / "artifact.json"
    file.write_bytes(raw)
    assert main([str(file), "--key", public_key_text(SITE_PUBLIC)]) == 0
    told = capsys.readouterr().out
    assert 'What it said of people: erased under rule "personal" on 2026-11-21, as the site says after the end.' in told
    assert 'Its content: erased under rule "request" on 2026-11-21' in told


def test_without_an_erasure_there_is_no_such_member() -> None:
    assert "after" not in json.loads(purged())
    assert verify_artifact(purged()).erased == []


def test_what_is_left_may_be_disclosed_and_what_was_erased_may_not() -> None:
    assert codes(purged(PERSONAL, opened=((2, "patch"),))) == []
    assert codes(purged(PERSONAL, opened=((1, "purpose"),))) == [("contradiction", "openings[0]")]
    assert codes(purged(BOTH, opened=((2, "patch"),))) == [("contradiction", "openings[0]")]


def _other_hash(event: dict[str, Any]) -> None:
    event["prev_hash"] = "0" * 64


TAMPERINGS: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[str, str]]] = {
    "not chained on": (lambda event: _other_hash(event), ("broken_chain", "after[0].prev_hash")),
    "moved": (lambda event: event.update(seq=9), ("wrong_seq", "after[0].seq")),
    "of another session": (lambda event: event.update(run_id="other"), ("wrong_run", "after[0].run_id")),
    "a second end": (lambda event: event.update(kind="session.ended"), ("wrong_place", "after[0].kind")),
    "a second start": (lambda event: event.update(kind="session.created"), ("wrong_place", "after[0].kind")),
    "no class": (lambda event: event["params"].update(classes=[]), ("wrong_value", "after[0].params.classes")),
    "no such class": (
        lambda event: event["params"].update(classes=["all"]),
        ("wrong_value", "after[0].params.classes"),
    ),
    "classes in text": (
        lambda event: event["params"].update(classes="all"),
        ("wrong_value", "after[0].params.classes"),
    ),
    "a rule that is no text": (lambda event: event["params"].update(rule=7), ("wrong_value", "after[0].params")),
    "an unknown member": (lambda event: event.update(more=1), ("unknown_member", "after[0].more")),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_cannot_follow_the_end_is_named(name: str, tmp_path: Path) -> None:
    """A3; the verifier in Node refuses the same."""
    change, expected = TAMPERINGS[name]
    raw = changed(json.loads(purged(PERSONAL)), lambda document: change(document["after"][0]))
    assert codes(raw)[0] == expected
    assert _node(raw, tmp_path) == 1


@pytest.mark.parametrize(("value", "code"), [([], "wrong_value"), ({}, "wrong_value"), ([7], "wrong_value")])
def test_the_member_holds_events(value: Any, code: str, tmp_path: Path) -> None:
    raw = changed(json.loads(purged(PERSONAL)), lambda document: document.update(after=value))
    assert codes(raw)[0][0] == code
    assert _node(raw, tmp_path) == 1


def test_the_verifier_in_node_agrees_on_good_ones_and_on_contradictions(tmp_path: Path) -> None:
    assert _node(purged(PERSONAL, BOTH), tmp_path) == 0
    assert _node(purged(PERSONAL, opened=((2, "patch"),)), tmp_path) == 0
    assert _node(purged(PERSONAL, opened=((1, "purpose"),)), tmp_path) == 1


def test_events_that_do_not_follow_are_not_written() -> None:
    story: Story = shopping()
    seal = story.seal()
    with pytest.raises(SessionDamaged, match="event 6"):
        build_artifact(seal, story.events, after=[story.events[1]])


def _node(raw: bytes, folder: Path) -> int:
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not on PATH: the independent verifier needs it")
    file = folder / "artifact.json"
    file.write_bytes(raw)
    arguments = [program, str(VERIFIER), str(file), "--key", public_key_text(SITE_PUBLIC)]
    return subprocess.run(arguments, capture_output=True, check=False, timeout=60).returncode
