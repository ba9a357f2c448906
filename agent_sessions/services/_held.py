"""The count of what is held of each item: one row, raised only while there is enough, so that it decides races (X1).

Rows of several items are always written in the order of the items, and after the session's own row, so that two
transactions never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db.models import F, QuerySet

from agent_sessions.models import HeldItem
from agent_sessions.selectors import _rows


def times_taken(merchant: str, item: str) -> int:
    """Return how often orders have taken pieces of an item. Read it before the store is asked how many there are."""
    return _rows_of(merchant, item).values_list("taken", flat=True).first() or 0


def count_of(merchant: str, item: str) -> int:
    """Return how many are held, by all sessions together, also by holds past their deadline that are not released."""
    return _rows_of(merchant, item).values_list("quantity", flat=True).first() or 0


def raise_held(merchant: str, item: str, by: int, *, there_are: int | None, taken: int) -> bool:
    """Hold ``by`` more pieces if ``there_are`` enough (None: they are not counted); return whether they are held now.

    Not if an order has taken pieces since ``taken`` was read: what the store said may be from before that.
    """
    rows = _rows_of(merchant, item)
    if there_are is not None:
        if there_are < by:
            return False
        rows = rows.filter(taken=taken, quantity__lte=there_are - by)
    if rows.update(quantity=F("quantity") + by):
        return True
    _add_rows(merchant, [item])
    return bool(rows.update(quantity=F("quantity") + by))


def lower_held(merchant: str, amounts: Mapping[str, int], *, taken: bool = False) -> None:
    """Hold so many fewer of each item; ``taken`` says that an order takes them from the stock."""
    for item in sorted(amounts):
        _rows_of(merchant, item).update(quantity=F("quantity") - amounts[item], taken=F("taken") + int(taken))


def mark_taken(merchant: str, items: Iterable[str]) -> None:
    """Say that an order is about to take pieces of these: nobody holds more of them until its transaction ends."""
    wanted = sorted(set(items))
    _add_rows(merchant, wanted)
    for item in wanted:
        _rows_of(merchant, item).update(taken=F("taken") + 1)


def _add_rows(merchant: str, items: Iterable[str]) -> None:
    """Add the rows of items that nobody has held before; whoever adds the same one at once waits."""
    missing = [HeldItem(merchant=merchant, item=item) for item in items]
    HeldItem.objects.using(_alias()).bulk_create(missing, ignore_conflicts=True)


def _rows_of(merchant: str, item: str) -> QuerySet[HeldItem]:
    return HeldItem.objects.using(_alias()).filter(merchant=merchant, item=item).order_by()


def _alias() -> str:
    return _rows.write_connection().alias
