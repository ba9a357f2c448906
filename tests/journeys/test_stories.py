"""The stories that ``make demo STORY=`` plays, each over HTTP against a live server, with a clock that is turned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.services.staleness import connect_store
from shop_demo.stories import STORIES, Stage

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


@pytest.mark.parametrize("name", STORIES)
def test_the_story_ends_well(name: str, shop: str, configure: Callable[..., None], clock: Any) -> None:
    configure(END_ON_HANDOFF=False, POLICIES="shop_demo.policies.RULES", STEPS="shop_demo.steps.RULES")
    connect_store()  # as Django does when it starts with this store
    told: list[str] = []

    STORIES[name].play(Stage(shop, told.append, pass_time=lambda seconds: clock.shift(timedelta(seconds=seconds))))

    assert any(line.startswith("✓") for line in told), "a story shows something"
    assert told[-1].startswith("Every event and every version"), "and proves it"
    secrets = [word for line in told for word in line.split() if word.startswith(("ags_", "agc_"))]
    assert secrets == []


def test_every_story_is_told_in_the_docs() -> None:
    page = (DOCS / "demo.md").read_text()

    assert [name for name in STORIES if f"STORY={name}" not in page] == []
