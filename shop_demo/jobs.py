"""The jobs that a clock runs in a real shop, for a demo without one: in a thread, every few seconds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connections

from agent_sessions import services

EVERY: Final = 5
"""Seconds."""
logger = logging.getLogger("shop_demo")


def run_jobs() -> None:
    """Mark what is stale, let go what was held too long, find out what became of steps, end what is over, and put
    into the log what happened.

    It is what Celery's beat does elsewhere.
    """
    services.mark_stale()
    services.release_expired_holds()
    services.resolve_unknown_steps()
    services.expire_sessions()
    services.sequence_log()


@contextmanager
def running_jobs() -> Iterator[None]:
    """Run the jobs again and again until the end of the block."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(EVERY):
            try:
                run_jobs()
            except Exception:  # whatever it was, the next run is not given up for it
                logger.exception("The jobs failed; they are run again in %s seconds.", EVERY)
            finally:
                connections.close_all()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
