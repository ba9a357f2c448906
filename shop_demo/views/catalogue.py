"""The storefront: what there is. Buying is done by agents; see the page for them."""

from __future__ import annotations

from django.conf import settings
from django.core.paginator import Paginator
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from shop_demo.models import Category, Product, Variant
from shop_demo.store import matching

PER_PAGE = 24
MAX_QUERY = 200


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    shown = Prefetch("products", queryset=_for_cards(Product.objects.filter(for_sale=True)))
    return _page(request, "shop/home.html", shelves=list(Category.objects.prefetch_related(shown)))


@require_safe
def category(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Category, slug=slug)
    products = _for_cards(found.products.filter(for_sale=True))
    return _page(request, "shop/category.html", category=found, products=products)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "")[:MAX_QUERY].replace("\x00", "").strip()
    found = _for_cards(matching(query) if query else Product.objects.none())
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return _page(request, "shop/search.html", query=query, page=page)


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    products = Product.objects.filter(for_sale=True).select_related("category").prefetch_related("variants")
    found = get_object_or_404(products, slug=slug)
    siblings = _for_cards(found.category.products.filter(for_sale=True).exclude(pk=found.pk))[:4]
    return _page(request, "shop/product.html", product=found, siblings=siblings)


@require_safe
def agents(request: HttpRequest) -> HttpResponse:
    example = Variant.objects.filter(product__for_sale=True, stock__gt=0).select_related("product").first()
    return _page(request, "shop/agents.html", site=settings.SITE_URL, example=example)


def _for_cards(products: QuerySet[Product]) -> QuerySet[Product]:
    """A card shows the lowest price and how much is left of all variants."""
    return products.prefetch_related("variants")


def _page(request: HttpRequest, template: str, **context: object) -> HttpResponse:
    return render(request, template, {"categories": Category.objects.all(), **context})
