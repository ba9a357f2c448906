"""The package asks for no more than it says: few dependencies, pure layers, one line to install (I1, I5)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import agent_sessions
from agent_sessions import selectors, services

ROOT = Path(agent_sessions.__file__).parent.parent

WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
"""

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
    AGENT_SESSIONS={"MASTER_KEYS": {"k1": base64.b64encode(bytes(range(32))).decode()}, "SITE": "https://a.example"},
)
django.setup()
call_command("check", "--fail-level", "WARNING", "--database", "default")
call_command("migrate", verbosity=0)

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.domain.identity import Agent

one = services.open_session(agent=Agent("a"), state={"agent": {"a": 1}})
services.change_session(selectors.authenticate(one.token), expected_version=1, patch={"agent": {"a": 2}})
services.add_message(one.session_id, role="user", content="hello")
print(selectors.current_state(one.session_id).state)
services.end_session(one.session_id)
print(verify_artifact(services.get_artifact(one.session_id)).ok, selectors.verify_session(one.session_id).ok)
"""

PURE = """
import importlib, pkgutil
import agent_sessions

for layer in ("domain", "crypto", "audit"):
    package = importlib.import_module(f"agent_sessions.{layer}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
import agent_sessions.exceptions, agent_sessions.types
"""


def run_without(missing: set[str], program: str) -> str:
    """Run a program in a process that lacks some modules; warnings are errors there too."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT.format(missing=missing) + program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_in_a_host_that_has_nothing_but_django() -> None:
    """I1, I5: no Celery, no DRF, no PostgreSQL driver, no environment reader, no contrib app."""
    printed = run_without({"celery", "psycopg", "psycopg2", "rest_framework", "environ", "redis"}, HOST)

    assert printed.splitlines()[-2:] == ["{'agent': {'a': 2}}", "True True"]


def test_the_pure_layers_run_without_django() -> None:
    """A3: the verifier and clients need none."""
    printed = run_without({"django", "psycopg"}, PURE)

    assert {"agent_sessions.audit.verify", "agent_sessions.crypto.tokens", "agent_sessions.domain.state"} <= set(
        printed.split()
    )


@pytest.mark.parametrize("module", [services, selectors], ids=["services", "selectors"])
def test_the_public_names_are_there_and_sorted(module: object) -> None:
    names: list[str] = module.__all__

    assert names == sorted(names, key=lambda name: (not name.isupper(), name)), "as the linter sorts them"
    assert [name for name in names if not getattr(module, name).__doc__ and name != "DISCLOSURES"] == []


def test_the_version_is_the_one_that_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert agent_sessions.__version__ == project["version"]
