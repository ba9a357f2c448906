"""manage.py export_artifact: the proof in a file, checked by somebody without Django (A3)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError

from agent_sessions import services
from agent_sessions.services import OpenedSession
from tests.management.running import run

pytestmark = pytest.mark.django_db

WITHOUT_DJANGO = """
import runpy, sys

class NoDjango:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("django", "psycopg"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, NoDjango())
sys.argv[0] = "agent-sessions-verify"
runpy.run_module("agent_sessions.audit.verify", run_name="__main__")
"""


def verified(file: Path, *arguments: str) -> tuple[int, str]:
    """Check an artifact in a process that has no Django; return its exit status and what it printed."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT_DJANGO, str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_file_verifies_without_django(ended: OpenedSession, tmp_path: Path) -> None:
    """A3"""
    file = tmp_path / "artifact.json"
    run("export_artifact", str(ended.session_id), "--output", str(file))
    (key,) = services.signing_keys()

    status, printed = verified(file, "--key", key.public_key)

    assert status == 0
    assert f"Good: session {ended.session_id}." in printed
    assert "8 events, unbroken from creation to end" in printed
    assert f"Signed with key {key.key_id}, which you gave" in printed
    assert file.read_bytes() == services.get_artifact(ended.session_id)


def test_a_file_that_was_changed_does_not(ended: OpenedSession, tmp_path: Path) -> None:
    """A3: and it is told where."""
    file = tmp_path / "artifact.json"
    run("export_artifact", str(ended.session_id), "--output", str(file))
    file.write_bytes(file.read_bytes().replace(b'"merchant":"default"', b'"merchant":"defauls"'))

    status, printed = verified(file, "--key", services.signing_keys()[0].public_key)

    assert status == 1
    assert "NOT GOOD" in printed
    assert "events[1].prev_hash" in printed


def test_by_default_it_is_written_to_standard_output(ended: OpenedSession) -> None:
    assert run("export_artifact", str(ended.session_id)).out.encode() == services.get_artifact(ended.session_id)


@pytest.mark.parametrize("disclose", ["purpose", "all", "none"])
def test_it_discloses_what_was_asked_for(ended: OpenedSession, disclose: str) -> None:
    """A7"""
    printed = run("export_artifact", str(ended.session_id), "--disclose", disclose).out

    assert printed.encode() == services.get_artifact(ended.session_id, disclose=disclose)
    assert len(json.loads(printed)["openings"]) == {"purpose": 1, "none": 0, "all": 9}[disclose]


def test_of_a_live_session_there_is_none_and_no_file_is_touched(opened: Any, tmp_path: Path) -> None:
    """A3: what was exported before stays."""
    file = tmp_path / "artifact.json"
    file.write_text("the artifact of another session")

    with pytest.raises(CommandError, match="still active"):
        run("export_artifact", str(opened().session_id), "--output", str(file))

    assert file.read_text() == "the artifact of another session"


def test_a_session_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CommandError, match="There is no session"):
        run("export_artifact", str(uuid4()))


def test_a_file_that_cannot_be_written_is_an_error(ended: OpenedSession, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no-such-folder"):
        run("export_artifact", str(ended.session_id), "--output", str(tmp_path / "no-such-folder" / "a.json"))


@pytest.mark.parametrize("arguments", [["seven"], [str(uuid4()), "--disclose", "everything"]])
def test_wrong_arguments_are_an_error(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match=r"invalid (UUID|choice)"):
        run("export_artifact", *arguments)
