"""The demo's addresses. The package's own stand at the root, because ``/.well-known/`` does."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from shop_demo.views import catalogue, checkout

shop = [
    path("", catalogue.home, name="home"),
    path("c/<slug:slug>", catalogue.category, name="category"),
    path("p/<slug:slug>", catalogue.product, name="product"),
    path("search", catalogue.search, name="search"),
    path("agents", catalogue.agents, name="agents"),
    path("checkout/agent", checkout.review, name="checkout"),
    path("checkout/agent/check", checkout.check_again, name="check_again"),
    path("orders/<str:ref>", checkout.order, name="order"),
]

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("agent_sessions.urls")),
    path("", include((shop, "shop"))),
]
