"""The demo's shop with its prices in memory: what is left of a call's time is the package's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from django.utils import timezone

from agent_sessions.store import CartLine, Quote, StoreContext
from shop_demo.models import Variant
from shop_demo.pricing import priced
from shop_demo.store import DemoStore


class PricesInMemory(DemoStore):
    @cached_property
    def variants(self) -> dict[str, Variant]:
        return {variant.sku: variant for variant in Variant.objects.select_related("product")}

    def price(self, lines: Sequence[CartLine], vouchers: Sequence[str], *, ctx: StoreContext) -> Quote:  # noqa: ARG002
        return priced(lines, vouchers, variants=self.variants, products={}, vouchers={}, now=timezone.now())
