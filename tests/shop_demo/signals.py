"""The demo's signals, for a test that wants them: elsewhere the shop's changes are not reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.models.signals import post_delete, post_save

from agent_sessions.services.staleness import connect_store
from shop_demo.models import Product, Variant, Voucher


@contextmanager
def reporting() -> Iterator[None]:
    """What the shop saves is reported until the end of the block, as it is once Django has started."""
    connect_store()
    try:
        yield
    finally:
        for signal in (post_save, post_delete):
            for sender in (Variant, Product, Voucher):
                signal.disconnect(sender=sender, dispatch_uid="shop_demo.reporting")
