"""The demo's settings, read by a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def read(expression: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    program = f"from shop_demo import settings; print({expression})"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_runs_with_nothing_set() -> None:
    done = read("settings.DEBUG, settings.DATABASES['default']['ENGINE'], settings.DATABASES['default']['OPTIONS']")

    assert done.returncode == 0, done.stderr
    assert "sqlite3" in done.stdout
    assert "IMMEDIATE" in done.stdout


@pytest.mark.parametrize("key", [{}, {"SECRET_KEY": "short"}, {"SECRET_KEY": "only-for-the-demo-on-this-machine"}])
def test_without_debug_an_unsafe_secret_key_is_refused(key: dict[str, str]) -> None:
    done = read("1", DEBUG="off", **key)

    assert done.returncode != 0
    assert "ImproperlyConfigured: With DEBUG off, SECRET_KEY has to be" in done.stderr


def test_the_environment_is_read() -> None:
    done = read(
        "settings.AGENT_SESSIONS['HANDOFF_TTL'], settings.AGENT_SESSIONS['TTL'], settings.SESSION_COOKIE_SECURE, "
        "settings.DATABASES['default']['ENGINE']",
        DEBUG="off",
        SECRET_KEY="x" * 40,
        HANDOFF_TTL="60",
        SESSION_TTL="90",
        SITE_URL="https://tea.example",
        DATABASE_URL="postgres://a@127.0.0.1/b",
    )

    assert done.stdout.strip() == "60 {'standard': 90} True django.db.backends.postgresql"


def test_every_variable_is_in_the_docs() -> None:
    source = (ROOT / "shop_demo" / "settings.py").read_text()
    documented = (ROOT / "docs" / "demo.md").read_text()
    names = set(re.findall(r'env(?:\.[a-z]+)?\(\s*"([A-Z_]+)"', source)) | {
        "DEMO_ADMIN_PASSWORD",
        "DEMO_CUSTOMER_PASSWORD",
    }

    assert {name for name in names if f"`{name}`" not in documented} == set()
