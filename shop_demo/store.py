"""How agents see the shop: the adapter that AGENT_SESSIONS["STORE"] names."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from django.db.models import Exists, Min, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.utils import timezone

from agent_sessions.domain.slices.recovery import StepOutcome
from agent_sessions.store import CartLine, Emit, Handoff, Item, Page, Quote, StoreContext
from shop_demo import reporting
from shop_demo.customers import reference_by, reference_of
from shop_demo.models import ContactMessage, Payment, Product, Variant, Voucher
from shop_demo.pricing import CURRENCY, priced

MAX_WORDS = 20
"""Words of a search that count; each is a condition of the query, and databases bound how deep those nest."""
_OF_PRODUCT: Final = ("product__slug", "product__title", "product__for_sale")
SORTS: Final = {"price": "lowest", "-price": "-lowest", "title": "title", "-title": "-title"}


class DemoStore:
    """The shop's catalogue and prices. It keeps nothing; orders are made by ``shop_demo.checkout``."""

    features: frozenset[str] = frozenset({"browse", "contact", "stock", "steps", "customers", "find_customer"})

    def search(self, query: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        """Every word has to be somewhere in the title, the description, the category or an SKU."""
        return _page(matching(query), page, limit)

    def browse(self, category: str, sort: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        """``category`` is a slug; ``sort`` one of price, -price, title, -title, else the shop's own order."""
        products = Product.objects.filter(for_sale=True)
        if category:
            products = products.filter(category__slug=category)
        if sort in SORTS:
            products = products.annotate(lowest=Min("variants__price_minor")).order_by(SORTS[sort], "pk")
        return _page(products, page, limit)

    def detail(self, item_id: str, *, ctx: StoreContext) -> Item | None:
        """By SKU, or by a product's slug with all its variants."""
        products = Product.objects.filter(for_sale=True).select_related("category")
        product = products.filter(Q(slug=item_id) | Q(variants__sku=item_id)).prefetch_related("variants").first()
        if product is None:
            return None
        variants = list(product.variants.all())
        named = [variant for variant in variants if variant.sku == item_id]
        return _variant_item(product, named[0]) if named else _product_item(product, variants)

    def price(self, lines: Sequence[CartLine], vouchers: Sequence[str], *, ctx: StoreContext) -> Quote:
        """Price a cart of any size with one query, one more for vouchers, and one more where a line is no variant."""
        wanted = {line.item for line in lines}
        sold = Variant.objects.select_related("product").only("sku", "options", "price_minor", "stock", *_OF_PRODUCT)
        variants = {variant.sku: variant for variant in sold.filter(sku__in=wanted).order_by()}
        products: dict[str, list[Variant]] = {}
        if others := wanted - variants.keys():
            for variant in sold.filter(product__slug__in=others):
                products.setdefault(variant.product.slug, []).append(variant)
        codes = {code.upper() for code in vouchers}
        known = {one.code: one for one in Voucher.objects.filter(code__in=codes)} if codes else {}
        return priced(lines, vouchers, variants=variants, products=products, vouchers=known, now=timezone.now())

    def stock(self, item_ids: Collection[str], *, ctx: StoreContext) -> Mapping[str, int | None]:
        """All is counted, by SKU."""
        return dict(Variant.objects.filter(sku__in=item_ids).order_by().values_list("sku", "stock"))

    def connect(self, emit: Emit) -> None:
        reporting.connect(emit)

    def open_handoff(self, request: HttpRequest, handoff: Handoff) -> HttpResponse:
        return redirect("shop:checkout")

    def contact(self, message: str, reply_to: str, *, ctx: StoreContext) -> str:
        reference = "M-" + secrets.token_hex(4).upper()
        ContactMessage.objects.create(reference=reference, message=message, reply_to=reply_to)
        return reference

    def consumer_reference(self, request: HttpRequest) -> str:
        return reference_of(request)

    def find_customer(self, term: str) -> str:
        """By e-mail address, in any case; by user name too, since the demo's customers may have no address."""
        return reference_by(term)

    def step_outcome(self, step: str, key: str, *, ctx: StoreContext) -> tuple[StepOutcome, str] | None:
        """Ask the payment provider, and finish what was begun: the order, or the way back of the money."""
        from shop_demo.checkout import check  # which prices by this store

        payment = Payment.objects.filter(key=key).first()
        if payment is None:  # it is added together with the start of the step, so nobody was asked to pay
            return "failed", "not_carried_out"
        payment = check(payment)
        if payment.outcome == Payment.Outcome.SUCCEEDED:
            return "done", ""
        return ("failed", payment.code) if payment.outcome not in Payment.OPEN else None


def matching(query: str) -> QuerySet[Product]:
    """Return the products that a person's words fit; all of them if there are none."""
    products = Product.objects.filter(for_sale=True)
    for word in query.split()[:MAX_WORDS]:
        sku = Variant.objects.filter(product=OuterRef("pk"), sku__icontains=word)
        products = products.filter(
            Q(title__icontains=word) | Q(description__icontains=word) | Q(category__title__icontains=word) | Exists(sku)
        )
    return products


def _page(products: QuerySet[Product], number: int, limit: int) -> Page:
    start = (number - 1) * limit
    found = products.select_related("category").prefetch_related("variants")[start : start + limit]
    items = [_product_item(product, list(product.variants.all())) for product in found]
    return Page(items, number)


def _product_item(product: Product, variants: list[Variant]) -> Item:
    """A product that comes in one way only is bought by its own SKU."""
    if len(variants) == 1:
        return _variant_item(product, variants[0])
    return Item(
        id=product.slug,
        title=product.title,
        price=None,
        currency=CURRENCY,
        description=product.description,
        category=product.category.slug,
        available=sum(variant.stock for variant in variants),
        variants=[_variant_item(product, variant) for variant in variants],
        url=product.get_absolute_url(),
        image=static(product.picture),
    )


def _variant_item(product: Product, variant: Variant) -> Item:
    return Item(
        id=variant.sku,
        title=product.title,
        price=variant.price_minor,
        currency=CURRENCY,
        description=product.description,
        category=product.category.slug,
        available=variant.stock,
        options=dict(variant.options),
        url=product.get_absolute_url(),
        image=static(product.picture),
    )
