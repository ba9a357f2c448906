"""The players of the stories, with whatever lies between them and the shop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.models import Session
from shop_demo import agent as shopper
from shop_demo import human
from shop_demo.models import Variant
from shop_demo.stories import STORIES, Stage
from shop_demo.stories import stage as theatre
from shop_demo.web import Answer, fetch
from tests.journeys.outcomes import Outcome, Watch, run_all_jobs

HOUR = timedelta(hours=1)
WRITES = ("POST", "PUT", "PATCH", "DELETE")
Fetch = Callable[..., Answer]
_PLAIN: dict[str, Outcome] = {}


class Company:
    """Plays stories in one shop, one after the other; each finds it as full, and nothing of the others going on."""

    def __init__(self, site: str, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._site = site
        self._monkeypatch = monkeypatch
        self.clock = clock

    def plain(self, name: str) -> Outcome:
        """Return what comes of a story that nothing disturbs."""
        if name not in _PLAIN:
            _PLAIN[name] = self.play(name)
        return _PLAIN[name]

    def play(
        self, name: str, *, by_agents: Fetch = fetch, by_people: Fetch = fetch, jobs: Callable[[], None] = run_all_jobs
    ) -> Outcome:
        """Play a story to its end; return what each of its sessions has come to, and which rows it has added.

        What agents and people send goes through the functions that are given.
        """
        for session_id in Session.objects.filter(ended_at=None).values_list("pk", flat=True):
            services.end_session(session_id)
        Variant.objects.update(stock=100)
        run_all_jobs()
        self.clock.shift(2 * HOUR)  # whatever is set back stays after the stories before this one
        stage = Stage(self._site, lambda _: None, lambda seconds: self.clock.shift(timedelta(seconds=seconds)))
        watch = Watch()
        with self._monkeypatch.context() as patch:
            for module, send in ((shopper, by_agents), (theatre, by_agents), (human, by_people)):
                patch.setattr(module, "fetch", send)
            patch.setattr(stage, "jobs", jobs)
            STORIES[name].play(stage)
        return watch.outcome
