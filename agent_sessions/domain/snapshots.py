"""When to store a whole state beside its patches."""

from __future__ import annotations

ROW_BYTES = 256
"""Reading one more row of history costs about as much as reading this many more bytes of state."""
SMALLEST = 16 * 1024
"""Patches lighter than this in all are not worth a snapshot by their weight alone, bytes."""


def snapshot_due(*, patches: int, patch_bytes: int, state_bytes: int, every: int) -> bool:
    """Tell whether the version being written should carry a snapshot of its state.

    ``patches`` and ``patch_bytes`` are those since the last snapshot, the new one included; ``state_bytes``
    is the size of the state; ``every`` is the setting for the number of patches.

    A reader loads the last snapshot and the patches after it. Due by weight: once the patches weigh as much
    as the state, reading costs twice the state and a snapshot takes no more room than they did. Due by
    number: rows cost too, about a kilobyte each, but a large state is not written again for every ``every``
    small patches, only when reading them costs as much as reading the state itself. So a read costs at most
    about twice the state, or ``every`` rows, and all snapshots together take no more than the history that
    they stand for. (A state that has shrunk is read at its former size until the next snapshot.)
    """
    if patch_bytes >= max(state_bytes, SMALLEST):
        return True
    return patches >= every and patches * ROW_BYTES + patch_bytes >= state_bytes
