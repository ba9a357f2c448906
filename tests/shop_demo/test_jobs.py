"""The jobs of a demo that has no clock of its own go on, whatever becomes of one run."""

from __future__ import annotations

import threading

import pytest

from shop_demo import jobs


def test_a_run_that_fails_is_not_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, again = [], threading.Event()

    def run() -> None:
        runs.append(len(runs))
        if len(runs) == 2:
            again.set()
        raise LookupError

    monkeypatch.setattr(jobs, "EVERY", 0)
    monkeypatch.setattr(jobs, "run_jobs", run)
    with jobs.running_jobs():
        assert again.wait(10)

    assert runs[:2] == [0, 1]
