"""The commands that erase a consumer and finish what had to wait (A7)."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from agent_sessions import selectors, services
from agent_sessions.models import Erasure, Session
from tests.conftest import MORNING
from tests.management.running import run

pytestmark = pytest.mark.django_db

WHO = "customer-4711"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the command something to read, as a pipe does."""

    def give(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return give


def test_the_reference_is_read_and_the_receipt_printed(opened: Any, typed: Any) -> None:
    """A7: what is printed can be handed out; the reference stands in none of it."""
    one = opened(consumer=services.consumer_pseudonym(WHO))
    typed(f"{WHO}\n")
    done = run("erase_consumer", "--by", "7")
    document = json.loads(done.out)
    assert (done.status, document["requested_by"], list(document["sessions"])) == (0, "staff:7", [str(one.session_id)])
    assert f"erasure {document['erasure']}: 1 sessions, nothing had to be kept" in done.err
    assert WHO not in done.out + done.err
    assert Session.objects.get().content_erased_at is not None
    assert json.loads(run("erase_consumer", "--receipt", document["erasure"]).out) == document


def test_a_receipt_is_checked(opened: Any, typed: Any, tmp_path: Path) -> None:
    """A7: whoever is shown one can ask the site whether it gave it."""
    opened(consumer=services.consumer_pseudonym(WHO))
    typed(WHO)
    path = tmp_path / "receipt.json"
    path.write_text(run("erase_consumer").out)
    assert run("erase_consumer", "--check", str(path)).out.startswith("genuine")
    path.write_text(path.read_text().replace("GDPR Art. 17", "GDPR Art. 18"))
    done = run("erase_consumer", "--check", str(path))
    assert (done.status, "no such receipt" in done.out) == (1, True)
    path.write_text("[]")
    assert run("erase_consumer", "--check", str(path)).status == 1
    with pytest.raises(CommandError, match="cannot be read"):
        run("erase_consumer", "--check", str(tmp_path / "nothing"))


def test_at_a_terminal_it_asks_without_showing_what_is_typed(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(consumer=services.consumer_pseudonym(WHO))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("agent_sessions.management.base.getpass", lambda _: WHO)
    assert len(json.loads(run("erase_consumer").out)["sessions"]) == 1


def test_it_takes_no_reference_as_an_argument(typed: Any) -> None:
    """It would stand in the shell's history and in the list of processes."""
    with pytest.raises(CommandError, match="unrecognized arguments"):
        run("erase_consumer", WHO)


def test_nothing_read_erases_nothing(typed: Any) -> None:
    typed("")
    with pytest.raises(CommandError, match="Nothing was read"):
        run("erase_consumer")
    assert not Erasure.objects.exists()


def test_finishing_erases_what_was_kept(opened: Any, typed: Any, clock: Any) -> None:
    one = opened(consumer=services.consumer_pseudonym(WHO))
    Session.objects.filter(pk=one.session_id).update(ordered_at=MORNING)
    typed(WHO)
    assert "1 classes of content had to be kept" in run("erase_consumer").err
    clock.shift(timedelta(days=380))
    assert run("finish_erasures") == (0, "1 finished, 0 with something left, 0 failed\n", "")
    assert Session.objects.get().content_erased_at is not None


def test_finishing_names_what_is_overdue(db: None, clock: Any) -> None:
    """GDPR Art. 12(3)"""
    row = Erasure.objects.create(
        merchant="default", consumer="p", requested_by="staff:7", requested_at=MORNING, due_at=MORNING, receipt={}
    )
    done = run("finish_erasures", "--dry-run")
    assert done.status == 1
    assert done.out == f"OVERDUE: erasure {row.pk}, asked for on 2026-03-02, was due on 2026-03-02\n"
    assert selectors.get_receipt(row.pk).finished_at is None
