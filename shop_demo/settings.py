"""Settings of the demo project. Everything a deployer would change comes from the environment (docs/settings.md)."""

from __future__ import annotations

from pathlib import Path

import environ

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = env("SECRET_KEY", default="only-for-the-demo-on-this-machine")
DEBUG = env.bool("DEBUG", default=True)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "agent_sessions"]
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

AGENT_SESSIONS = {
    "SITE": env("SITE_URL", default="http://localhost:8000"),
    "MASTER_KEYS": env.dict("AGENT_SESSIONS_MASTER_KEYS", default={}),
}
