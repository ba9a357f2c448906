"""The table in docs/audit.md says what the tests of the attacks say."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from tests.attacks import test_attacks
from tests.attacks.conftest import EXPECTED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def rows() -> list[list[str]]:
    """The cells of each row of the table."""
    lines = iter(PAGE.read_text().splitlines())
    next(line for line in lines if line.startswith("| attack | chain | artifact | heads | witness |"))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_each_row_is_a_test_and_says_who_finds_it() -> None:
    """A4"""
    told = {}
    for attack, *verdicts, test in rows():
        for verdict in verdicts:
            assert verdict.startswith(("yes", "no", "–")), attack
        told[f"test_{test.strip('`')}"] = tuple(verdict.startswith("yes") for verdict in verdicts)

    assert told == {name: astuple(found) for name, found in EXPECTED.items()}
    assert all(hasattr(test_attacks, name) for name in told)
