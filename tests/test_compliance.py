"""docs/compliance.md keeps what it says: the tests that it names are there, and its numbers are those of the code."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from agent_sessions.domain.retention import DEFAULT_RULES, RetentionRule, parse_rules

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/compliance.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
SOURCES = (
    "GDPR, Article 5", "GDPR, Article 15", "GDPR, Article 17", "GDPR, Article 30",
    "EU AI Act, Articles 12, 19 and 26(6)", "PCI DSS 4.0.1, requirements 3, 10 and 12.10.7", "FCA",
    "PSD2, RTS (EU) 2018/389, Article 5",
)  # fmt: skip


@cache
def named_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def sections() -> dict[str, str]:
    """The page by its headings."""
    _, *parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of all tables, without their headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    told = [one for one, after in pairwise([*lines, ""]) if not (one.startswith("|---") or after.startswith("|---"))]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in told]


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_is_named_is_there(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert name in {"", *named_in(path)}


def test_every_source_has_a_section_that_says_what_is_not_done() -> None:
    for source in SOURCES:
        (text,) = (text for title, text in sections().items() if title.split(":")[0] == source)
        assert re.search(r"^It does not |\. It does not |^An approval is no ", text, re.MULTILINE), source


def test_every_line_of_a_source_names_a_test() -> None:
    for title, text in sections().items():
        if title.split(":")[0] in SOURCES:
            assert rows(text), title
            assert [row[0] for row in rows(text) if len(row) != 3 or "`tests/" not in row[2]] == []


def days(period: timedelta) -> str:
    return f"{period.days} days" if period else "none"


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.name)
def test_the_page_names_the_defaults_as_they_are(rule: RetentionRule) -> None:
    """A5: each with where it comes from."""
    (row,) = (row for row in rows(sections()["Retention"]) if row[0] == f"`{rule.name}`")
    _, data_class, clock, minimum, maximum, source = row
    assert data_class.startswith(rule.data_class)
    assert rule.starts in clock
    assert (minimum, days(rule.maximum) in maximum) == (days(rule.minimum), True)
    assert source.startswith(rule.basis.split(" 10.")[0].split(" Art.")[0])


def test_the_rule_for_a_regulated_merchant_can_be_set() -> None:
    (example,) = re.findall(r"```python\nAGENT_SESSIONS = (.*?)```", PAGE, re.DOTALL)
    *_, rule = parse_rules(ast.literal_eval(example)["RETENTION"])
    assert rule.minimum >= timedelta(days=5 * 365 + 2)
    assert (rule.name, rule.merchants) == ("regulated", ("broker",))
