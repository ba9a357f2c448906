"""Django settings of the server that the HTTP benchmark asks: the whole demo project on the benchmark's database."""

from __future__ import annotations

import os

from benchmarks import settings as bench
from shop_demo.settings import *  # noqa: F403
from shop_demo.settings import AGENT_SESSIONS as _DEMO

DEBUG = False
ROOT_URLCONF = "benchmarks.http_urls"
ALLOWED_HOSTS = ["*"]
DATABASES = bench.DATABASES
AGENT_SESSIONS = {
    **_DEMO,
    "STORE": os.environ.get("BENCH_STORE", _DEMO["STORE"]),
    "MASTER_KEYS": bench.AGENT_SESSIONS["MASTER_KEYS"],
    # Requests are counted as in any shop, but one client that sends thousands is not stopped.
    "MAX_REQUESTS_PER_MINUTE": 1_000_000_000,
    "MAX_SESSIONS": 0,
}
