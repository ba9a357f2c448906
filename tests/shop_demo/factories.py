"""Rows of the shop, as the tests need them."""

from __future__ import annotations

from datetime import UTC, datetime

import factory

from shop_demo.models import Category, Product, Variant, Voucher


class CategoryFactory(factory.django.DjangoModelFactory[Category]):
    class Meta:
        model = Category

    slug = factory.Sequence(lambda number: f"category-{number}")
    title = factory.Sequence(lambda number: f"Category {number}")
    blurb = "Things of one kind."


class ProductFactory(factory.django.DjangoModelFactory[Product]):
    class Meta:
        model = Product

    slug = factory.Sequence(lambda number: f"product-{number}")
    category = factory.SubFactory(CategoryFactory)
    title = factory.Sequence(lambda number: f"Product {number}")
    description = "A thing."
    picture = "shop_demo/products/genmaicha.svg"


class VariantFactory(factory.django.DjangoModelFactory[Variant]):
    class Meta:
        model = Variant

    product = factory.SubFactory(ProductFactory)
    sku = factory.Sequence(lambda number: f"SKU-{number}")
    price_minor = 1000
    stock = 10


class VoucherFactory(factory.django.DjangoModelFactory[Voucher]):
    class Meta:
        model = Voucher

    code = factory.Sequence(lambda number: f"CODE{number}")
    label = "Off"
    percent = 10
    valid_from = datetime(2020, 1, 1, tzinfo=UTC)
    valid_until = datetime(2100, 1, 1, tzinfo=UTC)
