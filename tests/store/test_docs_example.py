"""docs/store.md: its store, its capability, its policies and its payment view run as printed."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.selectors.handoffs import SESSION_KEY
from agent_sessions.store import registry
from agent_sessions.store.offer import offer
from tests.store.calling import call
from tests.test_docs import blocks, read

pytestmark = pytest.mark.django_db

PAGE = read("docs/store.md")


def block(with_text: str) -> str:
    return next(one for one in blocks(PAGE, "python") if with_text in one)


def run(source: str, space: dict[str, Any]) -> None:
    exec(compile(source, "docs/store.md", "exec"), space)  # noqa: S102 - it is our own page


@pytest.fixture
def tea_shop(configure: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The shop of the page: its modules as they would be on disk."""
    modules = {name: ModuleType(name) for name in ("tea_shop", "tea_shop.agents", "tea_shop.models")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    agents, models = modules["tea_shop.agents"], modules["tea_shop.models"]
    for text in ("class TeaStore", "POLICIES = ("):
        run(block(text), vars(agents))
    # A row of the database stands in for the order, so that a rollback is one.
    orders = SimpleNamespace(create=lambda **facts: order_of(User.objects.create(username=f"T-{facts['total']}")))
    models.Order = SimpleNamespace(objects=orders)  # type: ignore[attr-defined]
    before = {one.name for one in registry.all()}
    run(block("@capability("), {})
    configure(STORE="tea_shop.agents.TeaStore", POLICIES="tea_shop.agents.POLICIES")
    yield agents
    for one in registry.all():
        if one.name not in before:
            registry.remove(one.name)


def order_of(user: User) -> SimpleNamespace:
    return SimpleNamespace(ref=user.username)


def printed(source: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run(source, {})
    return output.getvalue()


def test_the_calls_print_what_the_page_says(tea_shop: ModuleType) -> None:
    assert printed(block("services.call_capability")) == blocks(PAGE, "text")[0]


def test_the_table_of_capabilities_is_what_such_a_store_offers(tea_shop: ModuleType, shop: Any, configure: Any) -> None:
    for one in offer().capabilities:
        if one.name in {"search", "browse", "detail", "contact", "checkout"} or one.name.startswith("cart."):
            assert f"| `{one.name}` | `{one.method}" in PAGE
            assert f"{one.path}`" in PAGE
            assert f"| `{one.kind}` |" in PAGE


@pytest.fixture
def pay(tea_shop: ModuleType) -> Any:
    space: dict[str, Any] = {}
    run(block("def pay(request)"), space)

    def post(handoff: Any, *, version: int | None = None, fingerprint: str | None = None) -> str:
        fields = {
            "version": version or handoff.version,
            "fingerprint": fingerprint or space["quote_of"](handoff).fingerprint,
        }
        request = RequestFactory().post("/pay/", fields)
        request.session = {SESSION_KEY: str(handoff.id)}  # type: ignore[assignment]
        return str(space["pay"](request).url)

    return post


@pytest.fixture
def handed(tea_shop: ModuleType, configure: Any) -> Any:
    configure(END_ON_HANDOFF=False)
    one = services.open_session(agent=Agent("trip-bot"))
    call("cart.add", one, item_id="oolong", quantity=2)
    link = call("checkout", one).data["handoff_url"]
    return one, selectors.handoff_by_token(link.rsplit("/", 1)[1])


def test_the_payment_view_makes_one_order_and_shows_it_to_who_comes_again(pay: Any, handed: Any) -> None:
    _, handoff = handed
    assert pay(handoff) == "/orders/T-2990/"
    assert selectors.get_handoff(handoff.id).order_ref == "T-2990"
    assert pay(handoff) == "/checkout/closed/"
    assert User.objects.count() == 1


def test_the_payment_view_makes_no_order_for_what_was_not_seen(pay: Any, handed: Any, tea_shop: Any) -> None:
    one, handoff = handed
    assert pay(handoff, version=handoff.version + 1) == "/checkout/"
    call("cart.add", one, item_id="assam")
    now = selectors.get_handoff(handoff.id)
    assert pay(now, version=handoff.version) == "/checkout/"
    tea_shop.TEAS["assam"]["price"] += 1
    seen = selectors.get_handoff(handoff.id)
    assert pay(seen, fingerprint="of yesterday") == "/checkout/"
    assert User.objects.count() == 0
    assert pay(seen) == "/orders/T-3791/"
