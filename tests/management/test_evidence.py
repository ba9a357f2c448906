"""manage.py evidence and export_evidence: what was decided on, in a file that somebody else can check (A2, A9)."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError

from agent_sessions import selectors, services
from tests.buying import CUSTOMER, PURPOSE, REASON, Bought
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.management.running import run
from tests.management.test_export_artifact import verified
from tests.store.calling import counting as counting
from tests.store.calling import shop as shop
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        ([], selectors.Subject()),
        (["--order", "A-1"], selectors.Subject("order", "A-1")),
        (["--payment", "p2"], selectors.Subject("payment", "p2")),
        (["--decision", "5"], selectors.Subject("decision", "5")),
    ],
)
def test_it_prints_the_document(bought: Bought, arguments: list[str], subject: selectors.Subject) -> None:
    """A2"""
    printed = run("evidence", str(bought.session_id), *arguments).out
    assert printed.encode() == services.evidence_bytes(services.get_evidence(bought.session_id, subject))
    assert REASON not in printed


def test_it_writes_a_file_for_its_owner_with_what_is_personal(bought: Bought, tmp_path: Path) -> None:
    """A9"""
    file = tmp_path / "evidence.json"
    run(
        "evidence", str(bought.session_id), "--personal", "--reason", "Case 4", "--by", "17", "--output", str(file)
    )  # fmt: skip
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_bytes())["approvals"][0]["reason"] == REASON


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--order", "B-9"], "has the orders A-1, not 'B-9'"),
        (["--personal"], "Say in 1 to 200 characters why"),
        (["--order", "A-1", "--payment", "p1"], "not allowed with argument"),
        (["--output", "/nowhere/evidence.json"], "No such file"),
    ],
)
def test_what_is_wrong_is_said(bought: Bought, arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run("evidence", str(bought.session_id), *arguments)


def test_a_session_that_there_is_not_is_an_error() -> None:
    with pytest.raises(CommandError, match="There is no session"):
        run("evidence", str(uuid4()))


def test_a_bundle_of_one_customer_verifies_without_django(
    bought: Bought, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A2, A3: the customer's id is read from standard input, and stands nowhere in it."""
    file = tmp_path / "bundle.zip"
    (tmp_path / "customer").write_text(f"{CUSTOMER}\n")
    with (tmp_path / "customer").open() as source:
        monkeypatch.setattr("sys.stdin", source)
        done = run("export_evidence", str(file), "--consumer", "--personal", "--reason", "GDPR Art. 15", "--by", "17")
    assert done.status == 0
    assert "1 sessions: 1 sealed, 0 live, 0 unreadable, 0 that do not verify" in done.out
    with zipfile.ZipFile(file) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert PURPOSE.encode() in everything
    assert CUSTOMER.encode() not in everything

    status, printed = verified(file, "--key", services.signing_keys()[0].public_key)
    assert status == 0, printed
    assert "Good: bundle" in printed
    file.write_bytes(file.read_bytes().replace(b"artifact.json", b"artifakt.json"))
    assert verified(file, "--key", services.signing_keys()[0].public_key)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--reason"),
        (["--reason", "Audit"], "Name sessions, a consumer"),
        (["--reason", "Audit", "--order", "B-9"], "No session fits"),
        (["--reason", "Audit", "--from", "yesterday"], "--from: write a day"),
        (["--reason", "Audit", "--from", "2026-02-01", "--until", "2026-01-01"], "ends before it begins"),
        (["--reason", " ", "--order", "A-1"], "Say in 1 to 200 characters"),
    ],
)
def test_a_wrong_selection_is_said_and_leaves_no_file(
    bought: Bought, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    with pytest.raises(CommandError, match=problem):
        run("export_evidence", str(tmp_path / "bundle.zip"), *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_period_and_a_session_that_is_unreadable(bought: Bought, tmp_path: Path) -> None:
    """R5: exit status 1, and the rest is there."""
    Tamper(bought.session_id).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(bought.session_id))
    file = tmp_path / "bundle.zip"
    done = run("export_evidence", str(file), "--reason", "Audit", "--from", "2026-03-01", "--until", "2026-03-31")
    assert done.status == 1
    assert "0 sealed, 0 live, 1 unreadable" in done.out
    assert file.exists()
