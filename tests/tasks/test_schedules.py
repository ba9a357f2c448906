"""The schedule is plain data about jobs that exist, and the demo project runs by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from celery import current_app
from celery.schedules import maybe_schedule

from agent_sessions import tasks
from agent_sessions.schedules import BEAT_SCHEDULE

ROOT = Path(__file__).parents[2]

DEMO = """
import shop_demo

app = shop_demo.celery_app
app.loader.import_default_modules()
print(app.conf.broker_url)
print(*app.conf.beat_schedule)
print(set(entry["task"] for entry in app.conf.beat_schedule.values()) - set(app.tasks))
"""


def test_every_job_is_scheduled_under_the_name_it_has() -> None:
    ours = {name for name, task in current_app.tasks.items() if task.__module__ == tasks.__name__}

    assert ours == {entry["task"] for entry in BEAT_SCHEDULE.values()}


def test_jobs_run_often_enough_and_do_not_outlive_the_next_one() -> None:
    for name, entry in BEAT_SCHEDULE.items():
        every = maybe_schedule(entry["schedule"]).run_every.total_seconds()
        assert 10 <= every <= (600 if name == "agent_sessions.finish_erasures" else 60), name
        assert entry["options"]["expires"] <= entry["schedule"]


def test_the_demo_project_knows_the_jobs_it_schedules() -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "shop_demo.settings",
        "BROKER_URL": "redis://broker.example/3",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DEMO],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["redis://broker.example/3", " ".join(BEAT_SCHEDULE), "set()"]
