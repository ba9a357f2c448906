"""Settings of the demo project. Everything a deployer would change comes from the environment: see docs/demo.md."""

from __future__ import annotations

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from agent_sessions.schedules import BEAT_SCHEDULE

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
_UNSAFE_KEY = "only-for-the-demo-on-this-machine"

DEBUG = env.bool("DEBUG", default=True)
SECRET_KEY = env("SECRET_KEY", default=_UNSAFE_KEY)
if not DEBUG and (SECRET_KEY == _UNSAFE_KEY or len(SECRET_KEY) < 32):
    raise ImproperlyConfigured(
        "With DEBUG off, SECRET_KEY has to be at least 32 characters that nobody else knows. Make one with "
        '`python -c "import secrets; print(secrets.token_urlsafe(48))"` and set it in the environment.'
    )
SITE_URL = env("SITE_URL", default="http://localhost:8000")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SITE_URL.startswith("https://")

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
WSGI_APPLICATION = "shop_demo.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A transaction takes the write lock when it begins, so that two of them wait instead of failing halfway.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://")}
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATIC_ROOT = env.path("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))()

# Where the tree heads of the log go besides the database.
LOG_DIRECTORY = env("LOG_DIRECTORY", default="")
AGENT_SESSIONS = {
    "SITE": SITE_URL,
    "SITE_NAME": "Fern & Kiln",
    "SITE_DESCRIPTION": "Loose tea and the ceramics to drink it from.",
    "SITE_CONTACT": env("SITE_CONTACT", default=""),
    "DOCS_URL": f"{SITE_URL}/agents",
    "MASTER_KEYS": env.dict("AGENT_SESSIONS_MASTER_KEYS", default={}),
    "STORE": "shop_demo.store.DemoStore",
    "POLICIES": "shop_demo.policies.RULES",
    "STEPS": "shop_demo.steps.RULES",
    "MANIFEST_PROFILE": env("MANIFEST_PROFILE", default="spec"),
    "AUDIT": env.bool("AUDIT", default=True),
    "END_ON_HANDOFF": env.bool("END_ON_HANDOFF", default=False),
    "TTL": {"standard": env.int("SESSION_TTL", default=1800)},
    "HANDOFF_TTL": env.int("HANDOFF_TTL", default=10800),
    "MAX_REQUESTS_PER_MINUTE": env.int("MAX_REQUESTS_PER_MINUTE", default=120),
    "MAX_SESSIONS": env.int("MAX_SESSIONS", default=20),
    "PROXIES": env.int("PROXIES", default=0),
    "SIGNATURES": env("SIGNATURES", default="record"),
    "SIGNATURE_DIRECTORIES": env.list("SIGNATURE_DIRECTORIES", default=[]),
    "LOG_SINKS": [{"name": "directory", "class": "agent_sessions.sinks.DirectorySink", "directory": LOG_DIRECTORY}]
    if LOG_DIRECTORY
    else [],
}

CELERY_BROKER_URL = env("BROKER_URL", default="redis://127.0.0.1:6379/0")
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}
