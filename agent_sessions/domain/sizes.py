"""How large a state is, kept by upper bounds so that a small change never has to encode a large state (S7).

Sizes are bytes of compact UTF-8 JSON. The bound of a slice grows by what a patch can add at most; only when a
bound passes a limit is the slice encoded to see whether it really does.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent_sessions.exceptions import LimitExceeded
from agent_sessions.types import Patch, State

_encode = msgspec.json.Encoder().encode
# A merge never adds more than the patch's own text: its braces pay for the comma that a non-empty map needs.
# The rest is slack, so that the bound does not hang on one byte of punctuation.
_SLACK = 2


def slice_sizes(state: State) -> dict[str, int]:
    """Return the exact size of every slice, bytes."""
    return {name: len(_encode(value)) for name, value in state.items()}


def state_size(sizes: Mapping[str, int]) -> int:
    """Return the size of a state whose slices have these ``sizes``, names and punctuation included, bytes."""
    return sum(sizes.values()) + sum(len(name.encode()) + 4 for name in sizes) + (1 if sizes else 2)


def patch_growth(patch: Patch) -> dict[str, int]:
    """Return by how many bytes at most ``patch`` makes each slice larger; 0 for a slice that it deletes."""
    return {name: 0 if change is None else len(_encode(change)) + _SLACK for name, change in patch.items()}


def check_sizes(
    sizes_before: Mapping[str, int],
    patch: Patch,
    state_after: State,
    *,
    max_slice: int,
    max_state: int,
) -> dict[str, int]:
    """Check ``state_after``, the result of ``patch``, against the limits; return upper bounds of its slices.

    ``sizes_before`` are such bounds from the state before (a slice missing there is measured). Limits are
    bytes. Only slices that the patch touches are held to ``max_slice``. Costs the patch, unless a bound
    passes a limit. Raises LimitExceeded if a slice or the whole state really is larger; what fits is never
    refused.
    """
    growth = patch_growth(patch)
    bounds: dict[str, int] = {}
    for name, value in state_after.items():
        before = sizes_before.get(name)
        bound = len(_encode(value)) if before is None else before + growth.get(name, 0)
        if bound > max_slice and name in growth:
            bound = len(_encode(value))
            if bound > max_slice:
                raise LimitExceeded(f"slice {name}", size=bound, limit=max_slice, setting="MAX_SLICE_BYTES")
        bounds[name] = bound
    if state_size(bounds) > max_state:
        bounds = slice_sizes(state_after)
        size = state_size(bounds)
        if size > max_state:
            raise LimitExceeded("the state", size=size, limit=max_state, setting="MAX_STATE_BYTES")
    return bounds
