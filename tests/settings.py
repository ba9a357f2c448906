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
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "agent_sessions",
    "shop_demo",
]
MIDDLEWARE = [
    "agent_sessions.middleware.AgentEnvelopeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "shop_demo.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "shop_demo.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).resolve().parent.parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
SITE_URL = "https://shop.example"
# A file, not memory: threads and killed processes have to meet in the same database.
_SQLITE = Path(tempfile.gettempdir()) / "agent_sessions_tests.sqlite3"
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{_SQLITE}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(_SQLITE)}
else:
    # Nobody has to wait for the disk: tests that take a server down have one of their own.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("options", "-c synchronous_commit=off")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AGENT_SESSIONS = {
    "SITE": "https://shop.example",
    "MASTER_KEYS": {"test-1": base64.b64encode(bytes(range(32))).decode()},
    # All tests come from one address; those of the limits set one.
    "MAX_REQUESTS_PER_MINUTE": 0,
}
