"""When to store a whole state beside its patches."""

from __future__ import annotations

ROW_BYTES = 256
"""What one more row of history is taken to weigh, beside its patch, in bytes of state.

Reading a row takes as long as reading 300 to 900 bytes of state (measured on PostgreSQL: 6 to 11 µs, against
13 to 31 µs for a kilobyte, by the size of the state and the database options). Less is reckoned, because a
snapshot saves time but takes room.
"""
SMALLEST = 16 * 1024
"""Patches lighter than this in all are not worth a snapshot by their weight alone, bytes."""


def snapshot_due(*, patches: int, patch_bytes: int, state_bytes: int, every: int) -> bool:
    """Tell whether the version being written should carry a snapshot of its state.

    ``patches`` and ``patch_bytes`` are those since the last snapshot, the new one included; ``state_bytes``
    is the size of the state; ``every`` is the setting for the number of patches.

    A reader loads the last snapshot and the patches after it. Due by weight: once the patches weigh as much
    as the state, a snapshot takes no more room than they did. Due by number: rows cost too, but a large state
    is not written again for every ``every`` small patches, only when they and their rows weigh as much as the
    state itself: at 256 kB after about 760 changes of 90 sealed bytes. So a read takes at most two to three times
    as long as reading the state alone, or ``every`` rows, and all snapshots together weigh no more than the history
    that they stand for, rows included. (A state that has shrunk is read at its former size until the next snapshot.)
    """
    if patch_bytes >= max(state_bytes, SMALLEST):
        return True
    return patches >= every and patches * ROW_BYTES + patch_bytes >= state_bytes
