"""The shop tells agents' sessions what has changed: signals of its tables, in the transaction of the change.

Signals are hints: ``queryset.update()`` and raw SQL send none. Checkout asks for prices and stock in any case: what was
not reported is found there at the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.db.models import Model
from django.db.models.signals import ModelSignal, post_delete, post_save

from agent_sessions.store import Emit
from shop_demo.models import Product, Variant, Voucher

_WORDS = {"price_minor": "price", "stock": "stock"}


def connect(emit: Emit) -> None:
    """Call ``emit`` for what is saved or deleted from here on."""

    def variant_saved(instance: Variant, created: bool, update_fields: Collection[str] | None = None, **_: Any) -> None:
        words = [_WORDS[name] for name in sorted(update_fields or _WORDS) if name in _WORDS]
        if words and not created:
            emit("item", [instance.sku], " or ".join(words))

    def product_saved(instance: Product, created: bool, **_: Any) -> None:
        if not created:
            emit("item", instance.variants.values_list("sku", flat=True), "product")

    def voucher_saved(instance: Voucher, created: bool, **_: Any) -> None:
        if not created:
            emit("voucher", [instance.code], "terms")

    def variant_deleted(instance: Variant, **_: Any) -> None:
        emit("item", [instance.sku], "withdrawn")

    def voucher_deleted(instance: Voucher, **_: Any) -> None:
        emit("voucher", [instance.code], "withdrawn")

    receivers: list[tuple[ModelSignal, type[Model], Callable[..., None]]] = [
        (post_save, Variant, variant_saved),
        (post_save, Product, product_saved),
        (post_save, Voucher, voucher_saved),
        (post_delete, Variant, variant_deleted),
        (post_delete, Voucher, voucher_deleted),
    ]
    for signal, sender, receiver in receivers:
        signal.connect(receiver, sender=sender, weak=False, dispatch_uid="shop_demo.reporting")
