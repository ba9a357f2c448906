from __future__ import annotations

import pytest

from agent_sessions.audit.verify import verify_artifact
from tests.golden.make import HERE, SITE_PUBLIC, goldens


@pytest.mark.parametrize("name", sorted(goldens()))
def test_the_format_has_not_changed(name: str) -> None:
    assert (HERE / name).read_bytes() == goldens()[name]


@pytest.mark.parametrize(
    ("name", "events", "opened", "withheld"),
    [
        ("shopping.json", 5, 3, 0),
        ("withheld.json", 5, 1, 2),
        ("empty.json", 2, 0, 0),
        ("empty-answer.json", 2, 0, 0),
    ],
)
def test_goldens_verify(name: str, events: int, opened: int, withheld: int) -> None:
    found = verify_artifact((HERE / name).read_bytes(), [SITE_PUBLIC])
    assert found.problems == []
    assert found.ok
    assert found.trusted
    assert (found.event_count, found.opened, found.withheld) == (events, opened, withheld)


def test_the_shopping_golden_has_keys_that_sort_by_utf_16() -> None:
    raw = (HERE / "shopping.json").read_text(encoding="utf-8")
    assert raw.index('"😀"') < raw.index('"ﬁ"')
