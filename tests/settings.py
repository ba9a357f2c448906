"""Settings for the tests: SQLite by default, another database by DATABASE_URL."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import environ

env = environ.Env()

SECRET_KEY = "only-for-tests"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "agent_sessions"]
# A file, not memory: threads and killed processes have to meet in the same database.
_SQLITE = Path(tempfile.gettempdir()) / "agent_sessions_tests.sqlite3"
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{_SQLITE}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(_SQLITE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AGENT_SESSIONS = {
    "SITE": "https://shop.example",
    "MASTER_KEYS": {"test-1": base64.b64encode(bytes(range(32))).decode()},
}
