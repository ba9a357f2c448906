"""Celery is optional: without it everything works but the module that is made of its tasks (I1)."""

from __future__ import annotations

from agent_sessions.schedules import BEAT_SCHEDULE
from tests.test_package import run_without

HOST = """
import base64
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    SECRET_KEY="a host's",
    USE_TZ=True,
    INSTALLED_APPS=["agent_sessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    AGENT_SESSIONS={"MASTER_KEYS": {"k1": base64.b64encode(bytes(range(32))).decode()}},
)
django.setup()
call_command("migrate", verbosity=0)
import agent_sessions.services
from agent_sessions.schedules import BEAT_SCHEDULE
print(*BEAT_SCHEDULE)
call_command("expire_sessions")
"""

TASKS = """
try:
    import agent_sessions.tasks
except ImportError as error:
    print(error)
"""

DEMO = """
import shop_demo.settings
print(hasattr(shop_demo, "celery_app"))
"""


def test_the_command_and_the_schedule_need_no_celery() -> None:
    printed = run_without({"celery", "kombu", "redis"}, HOST)

    names, done = printed.splitlines()
    assert names.split() == list(BEAT_SCHEDULE)
    assert done == "0 ended, 0 sealed, 0 failed, 0 answers deleted"


def test_importing_the_tasks_says_what_to_install_and_what_to_do_without() -> None:
    printed = run_without({"celery"}, HOST + TASKS).splitlines()[-1]

    assert "Install agent-sessions[celery]" in printed
    assert "manage.py expire_sessions" in printed


def test_the_demo_project_starts_without_celery() -> None:
    assert run_without({"celery"}, DEMO) == "False\n"
