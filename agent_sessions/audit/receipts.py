"""What the receipt of a consumer's erasure says: pure, so that whoever was handed one can check it (A7).

A receipt is JSON of the type ``agent-session-erasure-receipt/v1``. ``sessions`` maps ids of sessions to what became of
each class: ``erased_at``, ``rule``, ``basis`` and ``unrecoverable_after``, or ``refused`` with a reason and, where it
is known, ``possible_at``. ``left`` counts what was refused. ``passes`` says when how much was, with ``digest``, the
SHA-256 of the canonical JSON of ``sessions`` then: the site's event ``erasure.finished`` names the same. A receipt
names nobody.
"""

from __future__ import annotations

import calendar
import hashlib
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any, Final

from agent_sessions.audit.events import format_time
from agent_sessions.crypto.canonical import canonical_bytes

RECEIPT_TYPE: Final = "agent-session-erasure-receipt/v1"
Receipt = dict[str, Any]
Outcome = dict[str, dict[str, Any]]
"""Class → what became of it."""


def month_after(moment: datetime) -> datetime:
    """Return the same day of the next month, or its last day: a period of a month (Regulation 1182/71 Art. 3)."""
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))


def left(receipt: Receipt) -> int:
    """Count the classes of sessions that had to be kept."""
    return sum("refused" in one for outcome in receipt["sessions"].values() for one in outcome.values())


def is_kept(outcome: Outcome) -> bool:
    """Tell whether something of a session had to be kept."""
    return any("refused" in one for one in outcome.values())


def is_possible(receipt: Receipt, now: datetime, holds: Set[str]) -> bool:
    """Tell whether something that was refused may be possible by now: its period is over, its ``holds`` were lifted.

    ``holds`` are the ids of those in force.
    """
    moment = format_time(now)
    refused = [one for outcome in receipt["sessions"].values() for one in outcome.values() if "refused" in one]
    return any(one.get("possible_at", "") <= moment and not holds & set(one.get("holds", ())) for one in refused)


def digest(receipt: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what a receipt says of sessions. Raises InvalidValue if JSON cannot hold it."""
    return hashlib.sha256(canonical_bytes(receipt["sessions"])).hexdigest()
