"""The link that the human follows (contract items 22 and 46)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors
from agent_sessions.models import CheckoutHandoff
from tests.api.conftest import AgentClient
from tests.api.store import Shelf

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(shopper: AgentClient) -> str:
    """The path of a link for a cart with a mug."""
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    url: str = shopper.data("POST", "/checkout")["handoff_url"]
    return url.removeprefix("https://shop.example")


def test_the_link_leads_to_the_stores_checkout_and_is_remembered(client: Any, link: str) -> None:
    page = client.get(link)

    assert (page.status_code, page.content) == (200, b"open 3")
    page.wsgi_request.session = client.session
    handoff = selectors.handoff_of_request(page.wsgi_request)
    assert handoff is not None
    assert handoff.state["shopping"]["lines"]["mug"]["quantity"] == 1  # type: ignore[index, call-overload]
    assert CheckoutHandoff.objects.get().opened_at is not None


def test_it_can_be_opened_any_number_of_times(client: Any, link: str, make_agent: Any) -> None:
    """A messenger's preview comes before the human does."""
    bot = make_agent(headers={"User-Agent": "preview-bot"})
    assert [bot.head(link).status_code, bot.get(link).status_code] == [200, 200]

    assert client.get(link).content == b"open 3"


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_it_is_only_ever_read(client: Any, link: str, method: str, caplog: pytest.LogCaptureFixture) -> None:
    assert getattr(client, method)(link).status_code == 405
    assert link.rpartition("/")[2] not in caplog.text


def test_the_link_stays_out_of_caches_referrers_search_engines_and_logs(
    client: Any, link: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (link, f"{link}x"):
        page = client.get(path)
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "no-store" in page.headers["Cache-Control"]
        assert "noindex" in page.headers["X-Robots-Tag"]

    assert link.rpartition("/")[2] not in caplog.text


def test_an_unknown_link_is_a_page_for_people(client: Any) -> None:
    page = client.get("/agent-sessions/handoff/unknown")

    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")
    text = page.content.decode()
    assert "There is no such checkout link. Ask your agent for a new one." in text
    assert "<script" not in text, "nothing that a strict content security policy would stop"
    assert "style=" not in text


def test_a_link_whose_cart_cannot_be_read_says_so(client: Any, link: str, configure: Any, caplog: Any) -> None:
    configure(MASTER_KEYS={})

    page = client.get(link)

    assert page.status_code == 503
    assert "cannot be shown right now" in page.content.decode()


def test_an_old_link_is_the_stores_to_explain(client: Any, link: str, clock: Any) -> None:
    clock.shift(400 * 86400)

    assert client.get(link).content.startswith(b"expired")


def test_a_store_that_fails_shows_a_page_and_not_the_link_in_the_log(
    client: Any, link: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Shelf, request: Any, handoff: Any) -> Any:
        raise RuntimeError(f"no page for {request.path}")

    monkeypatch.setattr(Shelf, "open_handoff", fail)

    page = client.get(link)

    assert page.status_code == 503
    assert "RuntimeError" in caplog.text
    assert link.rpartition("/")[2] not in caplog.text


def test_without_a_site_the_link_begins_with_the_host_that_was_asked(shopper: AgentClient, configure: Any) -> None:
    shopper.data("POST", "/cart", {"item_id": "mug"}, status=201)
    configure(SITE="")

    url = shopper.data("POST", "/checkout")["handoff_url"]

    assert url.startswith("http://testserver/agent-sessions/handoff/")
