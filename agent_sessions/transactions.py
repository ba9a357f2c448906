"""What this package's views have to do with a host's transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connections, transaction


def outside_transactions(view: Callable[..., Any], aliases: Iterable[str] | None = None) -> Callable[..., Any]:
    """Keep a host's ATOMIC_REQUESTS from rolling back the record of what was refused, and done before it failed.

    What waits for a commit, such as a link that is sent, has then happened when the view says so.
    """
    for alias in connections if aliases is None else aliases:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
