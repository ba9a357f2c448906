from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.snapshots import ROW_BYTES, SMALLEST, snapshot_due


@given(
    st.lists(st.integers(10, 5_000) | st.integers(10, 200_000), min_size=1, max_size=300),
    st.integers(1, 100),
    st.integers(0, 500_000),
    st.floats(0, 1),
)
def test_reads_and_storage_are_bounded(history, every, start, kept):
    """Write a history to a state that keeps a part of every patch; weigh what a reader and the disk carry."""
    state = snapshot = start
    snapshots = rows_since = bytes_since = 0
    for patch in history:
        state += int(patch * kept)
        rows_since += 1
        bytes_since += patch
        if snapshot_due(patches=rows_since, patch_bytes=bytes_since, state_bytes=state, every=every):
            assert state <= rows_since * ROW_BYTES + bytes_since  # never heavier than the history it stands for
            snapshots += state
            snapshot, rows_since, bytes_since = state, 0, 0
        read = snapshot + rows_since * ROW_BYTES + bytes_since
        assert read <= 2 * state + every * ROW_BYTES + SMALLEST
    assert snapshots <= len(history) * ROW_BYTES + sum(history)


@pytest.mark.parametrize("above", [False, True])
def test_due_from_the_very_bound_on(above):
    """By number: rows and patches weigh as much as the state. By weight: 16 KiB or the state, the larger."""
    rows = {"patches": 64, "patch_bytes": 1_000, "every": 64}
    assert snapshot_due(**rows, state_bytes=64 * 256 + 1_000 + above) is not above
    assert snapshot_due(patches=64 - above, patch_bytes=1, state_bytes=0, every=64) is not above
    assert snapshot_due(patches=1, patch_bytes=16 * 1024 - above, state_bytes=0, every=64) is not above
    assert snapshot_due(patches=1, patch_bytes=50_000 - above, state_bytes=50_000, every=64) is not above


def versions_until_due(*, patch: int, state: int, every: int) -> int:
    return next(
        number
        for number in range(1, 100_000)
        if snapshot_due(patches=number, patch_bytes=number * patch, state_bytes=state, every=every)
    )


@pytest.mark.parametrize(
    ("patch", "state", "every", "version"),
    [
        (100, 2_000, 64, 64),  # a small state: by number
        (84, 32_768, 64, 97),
        (100, 262_144, 64, 737),  # a large state is not written again for every 64 small patches
        (8_192, 2_000, 64, 2),  # heavy patches to a small state: by weight, from 16 KiB on
        (100_000, 262_144, 64, 3),  # heavy patches to a large state
        (1, 1, 1, 1),
    ],
)
def test_when_the_first_one_is_due(patch, state, every, version):
    assert versions_until_due(patch=patch, state=state, every=every) == version
