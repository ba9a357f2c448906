"""A process that compares the database with what was acknowledged: ``python -m tests.faults.checker``.

Every line on standard input is a round: the writes that were acknowledged in it, separated by commas. It looks at the
sessions of this round and the last, and at those that nobody was told of; at all of them when the line is "all". It
answers with one line: what is wrong, or "right".
"""

from __future__ import annotations

import sys
import uuid

import django
from django.db import connection


def main() -> None:
    from agent_sessions import selectors
    from tests.faults.support import Stored, wrong

    known: set[uuid.UUID] = set()
    last: set[uuid.UUID] = set()
    for words in map(str.strip, sys.stdin):
        every = set(selectors.session_ids())
        writes = [] if words == "all" else [Stored.parse(write) for write in words.split(",")]
        found = wrong(writes, also=every if words == "all" else last | every - known)
        connection.close()
        known, last = every, {write.session_id for write in writes}
        print("; ".join(found).replace("\n", " ") or "right", flush=True)


if __name__ == "__main__":
    django.setup()
    main()
