"""``manage.py seed_shop``: fill the demo shop. Running it again updates what is there and never doubles it."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from django.utils import timezone

from agent_sessions import services
from shop_demo.assortment import COUPONS, SHELVES, Good
from shop_demo.models import Category, Product, Variant, Voucher

CUSTOMERS = ("anna", "ben")


class Command(BaseCommand):
    help = (
        "Fill the demo shop with categories, products and vouchers. Run again, it restores prices, texts and stock "
        "and never makes anything twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--staff",
            action="store_true",
            help="Also make the user admin for /admin/. The password is DEMO_ADMIN_PASSWORD, or a new one that is "
            "printed this once. An existing user keeps theirs.",
        )
        parser.add_argument(
            "--customers",
            action="store_true",
            help=f"Also make the customers {' and '.join(CUSTOMERS)}, who can sign in to the shop. The password is "
            "DEMO_CUSTOMER_PASSWORD, or a new one that is printed this once. An existing customer keeps theirs.",
        )

    @transaction.atomic
    def handle(self, *args: Any, staff: bool = False, customers: bool = False, **options: Any) -> None:
        products = variants = 0
        for place, shelf in enumerate(SHELVES):
            category, _ = Category.objects.update_or_create(
                slug=shelf.slug, defaults={"title": shelf.title, "blurb": shelf.blurb, "position": place}
            )
            for number, good in enumerate(shelf.goods):
                variants += _stock_up(category, number, good)
                products += 1
        _print_vouchers()
        services.mark_stale()  # sessions that go on hear of it now; those that begin later have nothing to hear
        self.stdout.write(
            f"The shop has {len(SHELVES)} categories, {products} products in {variants} variants, "
            f"and {len(COUPONS)} vouchers."
        )
        if staff:
            self._make_user("admin", "DEMO_ADMIN_PASSWORD", staff=True)
        if customers:
            for name in CUSTOMERS:
                self._make_user(name, "DEMO_CUSTOMER_PASSWORD")

    def _make_user(self, name: str, variable: str, *, staff: bool = False) -> None:
        """Make a user whose password is the environment's, or a new one that is told this once."""
        users = get_user_model()._default_manager
        if users.filter(username=name).exists():
            self.stdout.write(f"The user {name} is there already and keeps its password.")
            return
        given = os.environ.get(variable, "")
        password = given or secrets.token_urlsafe(12)
        make = users.create_superuser if staff else users.create_user
        make(username=name, email="" if staff else f"{name}@shop.example", password=password)
        told = f"the password from {variable}" if given else f"the password {password}"
        self.stdout.write(f"Made the user {name} with {told}.")


def _stock_up(category: Category, place: int, good: Good) -> int:
    product, _ = Product.objects.update_or_create(
        slug=good.slug,
        defaults={
            "category": category,
            "title": good.title,
            "description": good.description,
            "picture": f"shop_demo/products/{good.slug}.svg",
            "for_sale": True,
            "position": place,
        },
    )
    for number, sort in enumerate(good.sorts):
        Variant.objects.update_or_create(
            sku=sort.sku,
            defaults={
                "product": product,
                "options": sort.options,
                "price_minor": sort.price,
                "stock": sort.stock,
                "position": number,
            },
        )
    return len(good.sorts)


def _print_vouchers() -> None:
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for coupon in COUPONS:
        first, last = coupon.days
        Voucher.objects.update_or_create(
            code=coupon.code,
            defaults={
                "label": coupon.label,
                "percent": coupon.percent,
                "amount_minor": coupon.amount,
                "minimum_minor": coupon.minimum,
                "valid_from": today + timedelta(days=first),
                "valid_until": today + timedelta(days=last),
            },
        )
