"""How many queries a call costs, so that none is added unseen. Numbers in transactions count their savepoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from msgspec.structs import replace

from agent_sessions import selectors, services
from agent_sessions.selectors import _cache
from tests.shopping import variables

pytestmark = pytest.mark.django_db

READ_HEAD = READ_STATE = 1


def write(rows: int) -> int:
    """One statement on PostgreSQL; elsewhere the update and the inserted rows, in a savepoint."""
    return 1 if connection.vendor == "postgresql" else rows + 3


CHANGE, EVENT = 2, 1
"""Rows that each inserts."""


@contextmanager
def queries(expected: int) -> Iterator[None]:
    with CaptureQueriesContext(connection) as captured:
        yield
    told = "\n".join(query["sql"][:120] for query in captured)
    assert len(captured) == expected, f"{len(captured)} queries, not {expected}:\n{told}"


def test_a_change_from_a_head_is_one_write(opened: Any) -> None:
    """M1: one round trip on PostgreSQL."""
    one = opened()
    head = selectors.authenticate(one.token)

    with queries(write(CHANGE)):
        services.change_session(head, expected_version=1, patch=variables(a=1))


def test_a_repeated_change_in_one_process_is_one_write(opened: Any) -> None:
    """M1: by the id alone, where this process made the version that the change is based on."""
    one = opened()
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))

    with queries(write(CHANGE)):
        services.change_session(one.session_id, expected_version=2, patch=variables(a=2))


def test_a_change_in_another_process_reads_the_state_first(opened: Any) -> None:
    """M1"""
    one = opened(state=variables(a=1))
    head = selectors.authenticate(one.token)
    _cache.local.clear()

    with queries(READ_STATE + write(CHANGE)):
        services.change_session(head, expected_version=1, patch=variables(a=2))


def test_a_change_by_id_in_another_process_reads_the_head_too(opened: Any) -> None:
    """M1"""
    one = opened(state=variables(a=1))
    _cache.local.clear()

    with queries(READ_HEAD + READ_STATE + write(CHANGE)):
        services.change_session(one.session_id, expected_version=1, patch=variables(a=2))


def test_without_a_cache_every_change_reads_the_state(opened: Any, configure: Any) -> None:
    """M2"""
    one = opened(state=variables(a=1))
    configure(STORAGE="history")

    for version in (1, 2):
        with queries(READ_HEAD + READ_STATE + write(CHANGE)):
            services.change_session(one.session_id, expected_version=version, patch=variables(a=version))


def test_an_event_reads_no_state(opened: Any) -> None:
    """A1: an audited read costs one row more."""
    one = opened()
    head = selectors.authenticate(one.token)
    _cache.local.clear()

    with queries(write(EVENT)):
        services.record_event(head, kind="cart.viewed")
    with queries(READ_HEAD + write(EVENT)):
        services.record_event(one.session_id, kind="cart.viewed")


def test_reading_the_current_state_is_one_query_where_it_is_cached(opened: Any) -> None:
    """M1"""
    one = opened(state=variables(a=1))

    with queries(READ_HEAD):
        selectors.current_state(one.session_id)
    with queries(0):
        selectors.current_state(selectors_head := _cache.local.get(one.session_id)[0])
    assert selectors_head.session_id == one.session_id


def test_a_worker_reads_what_another_one_wrote_together_with_the_session(opened: Any) -> None:
    """M1: workers that take turns at a session; with the head on PostgreSQL, elsewhere by a query of its own."""
    one = opened(state={"shopping": {"instructions": "ring"}})
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))
    remembered = _cache.local.get(one.session_id)
    assert remembered is not None
    services.change_session(one.session_id, expected_version=2, patch=variables(a=2))
    services.change_session(one.session_id, expected_version=3, patch={"shopping": {"instructions": "knock"}})
    expected = {"agent": {"a": 2}, "shopping": {"instructions": "knock"}}
    read_on = 0 if connection.vendor == "postgresql" else 1

    _cache.local.put(*remembered, limit=10**6)
    with queries(READ_HEAD + read_on):
        assert selectors.current_state(one.session_id).state == expected
    with queries(READ_HEAD):
        assert selectors.current_state(one.session_id).state == expected

    # A worker goes on from nothing that is not of this history: it was rolled back, or somebody has changed it.
    head, _ = remembered
    false = _cache.measured(variables(a="false", b="false"))
    _cache.local.put(replace(head, head_hash="00" * 32), false, limit=10**6)
    with queries(READ_HEAD + read_on + READ_STATE):
        assert selectors.current_state(one.session_id).state == expected


def test_reading_a_state_of_the_past_is_two_queries(opened: Any, configure: Any) -> None:
    """V2, M2: however many versions there are."""
    configure(SNAPSHOT_EVERY=4)
    one = opened()
    for version in range(1, 11):
        services.change_session(one.session_id, expected_version=version, patch=variables(n=version))

    for version in (1, 3, 5, 10):
        with queries(READ_HEAD + READ_STATE):
            selectors.state_at_version(one.session_id, version)


def test_a_state_at_a_time_and_a_page_of_versions_are_few_queries(opened: Any) -> None:
    """V2: however many versions there are."""
    one = opened()
    for version in range(1, 11):
        made = services.change_session(one.session_id, expected_version=version, patch=variables(n=version))

    with queries(READ_HEAD + 1):
        selectors.state_at_time(one.session_id, made.created_at)
    with queries(2):
        assert len(selectors.versions(one.session_id)) == 11


def test_the_size_of_the_state_does_not_change_the_count(opened: Any) -> None:
    one = opened(state=variables(**{f"v{number}": "x" * 100 for number in range(500)}))

    with queries(write(CHANGE)):
        services.change_session(one.session_id, expected_version=1, patch=variables(v0="y"))


def test_changes_that_nobody_listens_to_cost_no_more(opened: Any) -> None:
    """A receiver is the host's own cost."""
    one = opened()
    head = selectors.authenticate(one.token)

    with queries(write(CHANGE)):
        made = services.change_session(head, expected_version=1, patch=variables(a=1), note="why", kind="a.changed")

    assert made.seq == 2
