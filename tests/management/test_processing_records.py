"""manage.py processing_records: the records of processing, to read and for programs (A5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_sessions import services
from agent_sessions.domain.processing import CATEGORIES
from agent_sessions.selectors.processing import AT_THE_END, TO_COMPLETE, processing_records
from tests.conftest import MORNING
from tests.management.running import run

pytestmark = pytest.mark.django_db


def test_the_json_is_the_document(opened: Any, clock: Any) -> None:
    services.end_session(opened().session_id)
    assert json.loads(run("processing_records", "--json").out) == processing_records()


def test_the_text_says_all_that_the_document_says(opened: Any, clock: Any, configure: Any) -> None:
    configure(SITE_NAME="Pots", SITE_CONTACT="privacy@shop.example")
    services.end_session(opened().session_id)
    status, out, err = run("processing_records")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [
        f"Records of processing, {MORNING:%Y-%m-%d}",
        "Controller: Pots, https://shop.example, privacy@shop.example",
    ]
    assert {f"{one.name}: {one.what}" for one in CATEGORIES} <= set(lines)
    assert (
        "  personal: personal, 30 days after the end (GDPR Art. 5(1)(e), EU): 1 sessions, 0 due, 0 held, "
        "0 in quarantine; next due: 2026-04-01"
    ) in lines
    for one in processing_records()["categories"]:
        assert all(column in out for column in (*one["columns"], *one["parts_of_the_state"]))
    assert {*(f"  {one}" for one in TO_COMPLETE), f"  at the end: {AT_THE_END}"} <= set(lines)
