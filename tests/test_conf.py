"""Settings are read when they are needed, over defaults that work (I1, L1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.conf import DEFAULTS
from agent_sessions.conf import settings as package_settings
from agent_sessions.crypto.keys import KeyProvider, LocalKeyProvider
from agent_sessions.domain.identity import Agent

COUNTED: list[str] = []


class CountingProvider(LocalKeyProvider):
    """A provider of the host's own, which notes what it is asked for."""

    def unwrap(self, master_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        COUNTED.append("unwrap")
        return super().unwrap(master_id, wrapped, context=context)


def host_provider() -> KeyProvider:
    return CountingProvider({"host-key": bytes(range(7, 39))})


@pytest.fixture
def counted() -> Iterator[list[str]]:
    COUNTED.clear()
    yield COUNTED
    COUNTED.clear()


def test_without_any_setting_there_are_defaults(settings: Any) -> None:
    """I1: one line in INSTALLED_APPS."""
    del settings.AGENT_SESSIONS

    assert (package_settings.site, package_settings.merchant) == ("", "default")
    assert package_settings.kinds == ("standard", "quote", "approval", "payment", "consumer")
    minutes = [package_settings.ttl(kind) for kind in package_settings.kinds]
    assert minutes == [timedelta(minutes=each) for each in (30, 10, 30, 180, 1440)], "L1"
    assert (package_settings.caches_state, package_settings.state_cache) == (True, "")
    assert package_settings.snapshot_every == DEFAULTS["SNAPSHOT_EVERY"]
    assert package_settings.max_slice_bytes <= package_settings.max_state_bytes


def test_kinds_are_added_to_the_default(configure: Any) -> None:
    """L1"""
    configure(TTL={"quote": 300, "rental": 1800})

    assert package_settings.kinds == ("standard", "quote", "approval", "payment", "consumer", "rental")
    assert package_settings.ttl("quote") == timedelta(minutes=5)
    assert package_settings.ttl("standard") == timedelta(minutes=30)
    assert package_settings.ttl("unknown") is None


def test_the_default_kind_can_have_another_time_to_live(configure: Any) -> None:
    """L1"""
    configure(TTL={"standard": 900})

    assert package_settings.ttl("standard") == timedelta(minutes=15)


def test_settings_are_not_remembered(configure: Any) -> None:
    """So that tests and running servers see a change."""
    before = package_settings.max_slice_bytes
    configure(MAX_SLICE_BYTES=before + 1)

    assert package_settings.max_slice_bytes == before + 1


def test_the_key_provider_is_made_once_for_the_same_keys(configure: Any) -> None:
    first = package_settings.key_provider

    assert package_settings.key_provider is first
    configure(MASTER_KEYS={**package_settings.master_keys, "other": package_settings.master_keys["test-1"]})
    assert package_settings.key_provider is not first


@pytest.mark.django_db
def test_a_host_can_bring_its_own_key_provider(configure: Any, counted: list[str]) -> None:
    """A8: keys may live in an outside key service."""
    configure(KEY_PROVIDER=f"{__name__}.host_provider", MASTER_KEYS={})

    one = services.open_session(agent=Agent("a"), state={"agent": {"a": 1}})
    head = selectors.authenticate(one.token)

    assert head.master_key_id == "host-key"
    assert selectors.current_state(head).state == {"agent": {"a": 1}}
    assert counted
