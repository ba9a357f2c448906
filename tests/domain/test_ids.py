from __future__ import annotations

import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain import ids
from agent_sessions.domain.ids import _uuid7, new_id

MILLISECONDS = st.integers(0, 2**48 - 1)
RANDOM = st.integers(0, 2**74 - 1)


def test_layout_of_rfc_9562_appendix_a6():
    made = _uuid7(0x017F22E279B0, 0xCC3 << 62 | 0x18C4DC0C0C07398F)
    assert made == uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@given(MILLISECONDS, RANDOM)
def test_version_variant_time_and_random_bits(milliseconds, random_bits):
    made = _uuid7(milliseconds, random_bits)
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == milliseconds
    assert (made.int >> 64 & 0xFFF) << 62 | made.int & (1 << 62) - 1 == random_bits


@given(MILLISECONDS, MILLISECONDS, RANDOM, RANDOM)
def test_ids_sort_by_millisecond(one, other, one_random, other_random):
    if one < other:
        assert _uuid7(one, one_random) < _uuid7(other, other_random)
        assert str(_uuid7(one, one_random)) < str(_uuid7(other, other_random))


def test_new_ids_are_of_version_7_and_differ():
    made = {new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the standard library makes them")
def test_a_new_id_holds_the_time_in_milliseconds(monkeypatch):
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_777_631_415_250_999_999)
    assert new_id().int >> 80 == 1_777_631_415_250
