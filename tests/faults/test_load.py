"""Many processes, mixed operations, some killed in the middle: what they were told fits what is stored (V1, V3, R3)."""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from django.db import connection

from tests.faults.history import Entry, Operation, check
from tests.faults.load import Load, Record
from tests.faults.operations import EXPECTED_REFUSALS, ITEM, read_stored
from tests.faults.support import half_done
from tests.store.calling import quantities

WRITERS, SESSIONS, SHORT = (8, 4, 6) if connection.vendor == "postgresql" else (3, 2, 3)
SECONDS = float(os.environ.get("LOAD_SECONDS") or SHORT)
"""How long: LOAD_SECONDS=60 for the long run."""


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.django_db(transaction=True)
def test_what_many_writers_were_told_fits_what_is_stored(
    shop: Any, configure: Callable[..., None], dice: random.Random
) -> None:
    configure(TTL={"standard": 86_400})
    load = Load(WRITERS, SESSIONS, SECONDS, dice)
    record = load.run()
    stored = {session_id: read_stored(session_id) for session_id in record}
    print(f"{load.killed} writers killed, {load.disconnected} disconnected")
    print_counts(record, stored)
    for session_id, operations in record.items():
        assert check(operations, stored[session_id])[:20] == []
        assert half_done(session_id) == []
        assert quantities(session_id).get(ITEM, 0) == times_stored(operations, stored[session_id], "add to cart")
    codes = {operation.code for operations in record.values() for operation in operations if operation.code}
    assert codes <= EXPECTED_REFUSALS


def times_stored(operations: Iterable[Operation], stored: Iterable[Entry], kind: str) -> int:
    """Count the stored writes whose kind begins so."""
    of_kind = {one.marker for one in operations if one.kind.startswith(kind) and not one.reads}
    return sum(entry.marker in of_kind for entry in stored)


def print_counts(record: Record, stored: Mapping[uuid.UUID, Sequence[Entry]]) -> None:
    """Print how many operations of each kind there were, by what they were told, and what the database says of them."""
    every = [operation for operations in record.values() for operation in operations]
    there = {entry.marker for entries in stored.values() for entry in entries}
    for kind in sorted({operation.kind for operation in every}):
        counts = Counter(one.code or one.outcome for one in every if one.kind == kind)
        print(f"  {kind}: {', '.join(f'{number} {told}' for told, number in sorted(counts.items()))}")
    unknown = [one.marker in there for one in every if one.outcome == "unknown" and not one.reads]
    print(f"{len(every)} operations; of {len(unknown)} writes without an answer {sum(unknown)} are stored")
