"""A process that writes as fast as it can and says what it was told is stored: ``python -m tests.faults.writer SEED``.

Every line on standard input lets it write until the database fails it. It says every acknowledged write, and then
"down". What it does about the failure is what any client would do: throw the connection away, connect again, and read
where the session stands.
"""

from __future__ import annotations

import random
import sys

import django
from django.db import InterfaceError, OperationalError, connection

VERSIONS = 50
"""How many versions a session gets before the writer ends it and opens the next."""


def main(seed: int) -> None:
    from agent_sessions import selectors
    from tests.faults import support

    choice = random.Random(seed)
    session_id = None
    for _ in sys.stdin:
        try:
            if session_id is not None:
                head = selectors.read_head(session_id)
                version, session_id = head.version, session_id if head.is_live() else None
            while True:
                if session_id is None:
                    session_id, version = support.open_session(), 1
                    made = support.Stored("open", session_id, 1)
                elif version > VERSIONS:
                    made, session_id = support.end(session_id), None
                elif choice.random() < 0.6:
                    made = support.change(session_id, version)
                    version = made.number
                else:
                    made = choice.choice([support.add_message, support.record_event])(session_id)
                print(made, flush=True)
        except (OperationalError, InterfaceError):
            connection.close()
            print("down", flush=True)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))
