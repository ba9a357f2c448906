"""A store is connected when the site starts, and reports what changes (X2, O3)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.models import StoreChange
from agent_sessions.services.staleness import connect_failures, connect_store
from tests.services.staling import parts, with_item
from tests.store.shop import Shelf, Shop
from tests.test_checks import findings

pytestmark = pytest.mark.django_db


class Reporting(Shop):
    emit: Any = None

    def connect(self, emit: Any) -> None:
        type(self).emit = emit


class Failing(Shop):
    def connect(self, emit: Any) -> None:
        raise RuntimeError("the password is hunter2")


class Reading(Shop):
    def connect(self, emit: Any) -> None:
        StoreChange.objects.count()


def test_a_store_that_can_is_given_what_to_report_with(shop: Shelf, opened: Any, configure: Any) -> None:
    """X2: and connecting asks no database."""
    configure(STORE=f"{__name__}.Reporting")
    with CaptureQueriesContext(connection) as captured:
        connect_store()
    assert len(captured) == 0
    one = with_item(opened)
    Reporting.emit("item", ["mug"], "price")
    services.mark_stale()
    assert len(parts(one)) == 1


@pytest.mark.parametrize("store", ["", "tests.store.shop.Shop", "nowhere.Store"])
def test_a_store_that_cannot_report_or_be_made_keeps_nobody_from_starting(configure: Any, store: str) -> None:
    configure(STORE=store)
    connect_store()
    assert connect_failures == {}


def test_a_connect_that_fails_is_told_by_a_system_check(
    configure: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O3"""
    monkeypatch.setattr("agent_sessions.services.staleness.connect_failures", {})
    path = f"{__name__}.Failing"
    configure(STORE=path, SITE="https://shop.example")
    assert findings() == []
    connect_store()
    (finding,) = findings()
    assert (finding.id, finding.is_serious()) == ("agent_sessions.E014", True)
    assert "RuntimeError" in finding.msg
    assert "hunter2" not in f"{finding.msg}{finding.hint}{caplog.text}"
