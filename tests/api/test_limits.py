"""Requests are counted exactly: by many threads, by many processes, and not at all when that cannot be done."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import RequestFactory

from agent_sessions.api import limits
from agent_sessions.api.callers import client_address
from agent_sessions.api.errors import LimitsUnavailable
from agent_sessions.exceptions import RateLimited
from tests.api.conftest import AgentClient

ROOT = Path(__file__).parents[2]
BROKEN = {"BACKEND": "tests.api.hosts.BrokenCache", "LOCATION": ""}


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A Redis of our own, without a port."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on PATH: counting over processes needs it")
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "ready to accept connections" in line.lower():
                    break
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.communicate()


def allowed(caller: str) -> bool:
    try:
        found = limits.count_request(caller)
        assert found is not None
        found.require()
    except RateLimited:
        return False
    return True


def test_sixteen_threads_together_get_no_more_than_the_limit(configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=100)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(allowed, ["192.0.2.1"] * 400))

    assert answers.count(True) == 100


COUNT = """
import sys
import django
from django.test import override_settings
django.setup()
from django.conf import settings
from agent_sessions.api import limits
redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": sys.argv[1]}
ours = {**settings.AGENT_SESSIONS, "MAX_REQUESTS_PER_MINUTE": 100}
limits.time.time = lambda: 1_800_000_000.0
with override_settings(CACHES={"default": redis}, AGENT_SESSIONS=ours):
    found = [limits.count_request("192.0.2.1") for _ in range(100)]
print(sum(one.number <= one.limit for one in found))
"""


def test_four_processes_together_get_no_more_than_the_limit(redis_url: str) -> None:
    command = [sys.executable, "-c", COUNT, redis_url]
    workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    counts = [worker.communicate(timeout=60)[0] for worker in workers]

    assert sum(map(int, counts)) == 100


def test_callers_do_not_take_each_others_places(configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)

    assert [allowed(caller) for caller in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [True, True, False]


def test_a_window_begins_with_the_minute(configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)
    clock.shift(59)
    assert allowed("192.0.2.1")
    with pytest.raises(RateLimited) as refused:
        limits.count_request("192.0.2.1").require()  # type: ignore[union-attr]
    assert refused.value.retry_after == 1

    clock.shift(1)

    assert allowed("192.0.2.1")


def test_addresses_are_not_readable_in_the_cache(configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)

    allowed("192.0.2.1")

    keys = list(caches["default"]._cache)  # type: ignore[attr-defined]
    assert len(keys) == 1
    assert "192.0.2.1" not in keys[0]


def test_without_a_limit_the_cache_is_not_asked(settings: Any, configure: Any) -> None:
    settings.CACHES = {"default": BROKEN}
    configure(MAX_REQUESTS_PER_MINUTE=0)

    assert limits.count_request("192.0.2.1") is None


@pytest.mark.django_db
def test_while_the_cache_is_down_requests_are_refused(
    agent: AgentClient, settings: Any, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = {"default": BROKEN}
    configure(MAX_REQUESTS_PER_MINUTE=5)

    assert agent.refused(503, "GET", "/search?q=mug")["code"] == "limits_unavailable"

    assert "'default' fails (ConnectionError)" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.django_db
def test_or_answered_uncounted(agent: AgentClient, settings: Any, configure: Any) -> None:
    settings.CACHES = {"default": BROKEN}
    configure(MAX_REQUESTS_PER_MINUTE=5, WITHOUT_LIMITS_CACHE="allow")

    answer = agent.send("GET", "/search?q=mug")

    assert answer.status_code == 200
    assert "X-RateLimit-Remaining" not in answer.headers


def test_a_cache_that_counts_nothing_is_one_that_is_down(settings: Any, configure: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    configure(MAX_REQUESTS_PER_MINUTE=5)

    with pytest.raises(LimitsUnavailable):
        limits.count_request("192.0.2.1")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "peer", "address"),
    [
        (0, "203.0.113.9", "192.0.2.1", "192.0.2.1"),
        (1, "203.0.113.9", "192.0.2.1", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "192.0.2.1", "203.0.113.9"),
        (2, "10.9.9.9, 198.51.100.1, 203.0.113.9", "192.0.2.1", "198.51.100.1"),
        (2, "203.0.113.9", "192.0.2.1", "192.0.2.1"),
        (1, "", "192.0.2.1", "192.0.2.1"),
        (1, "203.0.113.9:4711", "192.0.2.1", "203.0.113.9"),
        (1, "[2001:db8::7]:4711", "192.0.2.1", "2001:db8::/64"),
        (0, "", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (0, "", "fe80::1%eth0", "fe80::/64"),
        (0, "", "::ffff:192.0.2.1", "192.0.2.1"),
        (0, "", "", ""),
        (1, "unknown", "192.0.2.1", "unknown"),
    ],
)
def test_the_callers_address_is_the_one_that_the_last_proxy_of_ours_saw(
    configure: Any, proxies: int, forwarded: str, peer: str, address: str
) -> None:
    configure(PROXIES=proxies)
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}

    assert client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)) == address


@pytest.mark.django_db(transaction=True)
def test_the_limit_of_sessions_is_exact_under_a_race(make_agent: Callable[..., AgentClient], configure: Any) -> None:
    """T7 over HTTP: twelve openings at once, three places."""
    configure(MAX_SESSIONS=3)

    def open_one(_: int) -> int:
        try:
            return int(make_agent().send("POST", "/session").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(open_one, range(12)))

    assert sorted(statuses) == [201] * 3 + [429] * 9
