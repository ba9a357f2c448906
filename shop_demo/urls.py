"""The demo's addresses. The package's own stand at the root, because ``/.well-known/`` does."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from shop_demo.views import account, approvals, catalogue, checkout

shop = [
    path("", catalogue.home, name="home"),
    path("c/<slug:slug>", catalogue.category, name="category"),
    path("p/<slug:slug>", catalogue.product, name="product"),
    path("search", catalogue.search, name="search"),
    path("agents", catalogue.agents, name="agents"),
    path("checkout/agent", checkout.review, name="checkout"),
    path("checkout/agent/check", checkout.check_again, name="check_again"),
    path("orders/<str:ref>", checkout.order, name="order"),
    path("account/sign-in", account.SignIn.as_view(), name="sign_in"),
    path("account/sign-out", account.SignOut.as_view(), name="sign_out"),
    path("account/agents", account.your_agents, name="your_agents"),
    path("account/agents/assertion", account.let_act, name="let_act"),
    path("account/agents/<uuid:session_id>/grant", account.let_take_over, name="let_take_over"),
    path("account/agents/<uuid:session_id>/answer", account.answer_for_devices, name="answer_for_devices"),
    path("account/agents/<uuid:session_id>/pay", account.to_checkout, name="to_checkout"),
    path("account/agents/<uuid:session_id>/give-up", account.give_up, name="give_up"),
    path("account/approvals/<uuid:approval_id>", approvals.answer, name="approval"),
]

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("agent_sessions.urls")),
    path("", include((shop, "shop"))),
]
