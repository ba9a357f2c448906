"""Django settings of the benchmark: PostgreSQL from ``DATABASE_URL``, always a database of its own.

``BENCH_DB_OPTIONS`` chooses the database options: ``default``, or ``prepared`` for prepared statements with
server-side binding.
"""

from __future__ import annotations

import base64
import os

import environ

env = environ.Env()

DB_OPTIONS = {
    "default": {},
    # psycopg's own threshold; with 0 Django's migrations fail (they send several commands as one).
    "prepared": {"server_side_binding": True, "prepare_threshold": 5},
}
OPTIONS_NAME = os.environ.get("BENCH_DB_OPTIONS", "default")

SECRET_KEY = "only-for-benchmarks"  # noqa: S105
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "agent_sessions", "benchmarks"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_database = env.db("DATABASE_URL", default="postgres://postgres@127.0.0.1:5432/agent_sessions_bench")
# The database is dropped and made anew by each run, so it is never the one that DATABASE_URL names for other uses.
_database["NAME"] = _database["NAME"].removesuffix("_bench") + "_bench"
_database["OPTIONS"] = DB_OPTIONS[OPTIONS_NAME]
_database["CONN_MAX_AGE"] = None
DATABASES = {"default": _database}

AGENT_SESSIONS = {
    "SITE": "https://shop.example",
    "MASTER_KEYS": {"bench-1": base64.b64encode(bytes(range(32))).decode()},
    "STORAGE": "hybrid",
    # A run takes minutes and measures at 256 kB; the rest is as a shop gets it.
    "TTL": {"standard": 86_400},
    "MAX_SLICE_BYTES": 2 * 1024 * 1024,
    "MAX_STATE_BYTES": 4 * 1024 * 1024,
}
