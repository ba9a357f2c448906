from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from shop_demo.models import Variant, Voucher
from tests.shop_demo.factories import VariantFactory, VoucherFactory
from tests.shop_demo.people import Human, ShoppingAgent


@pytest.fixture(autouse=True)
def _only_where_it_can_run(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("it is about PostgreSQL: set DATABASE_URL")


@pytest.fixture(autouse=True)
def shop(settings: Any, configure: Callable[..., None]) -> Iterator[None]:
    configure(STORE="shop_demo.store.DemoStore", STEPS="shop_demo.steps.RULES", MAX_SESSIONS=0)
    settings.ALLOWED_HOSTS = ["testserver", "shop.example"]
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def tea(db: None) -> Variant:
    return VariantFactory(sku="TEA", product__title="Sencha", product__slug="sencha", price_minor=1450, stock=5)


@pytest.fixture
def voucher(db: None) -> Voucher:
    return VoucherFactory(code="TENTH", percent=10)


@pytest.fixture
def agent(tea: Variant) -> ShoppingAgent:
    """An agent with two packets of tea in its cart: 29.00 and 4.90 for shipping."""
    made = ShoppingAgent()
    made.add("TEA", 2)
    return made


@pytest.fixture
def human(agent: ShoppingAgent) -> Human:
    """The human who has opened that agent's link."""
    return Human(agent.hand_over())
