"""The scripted agent buys, whatever way the shop is set up, and says what is wrong when it cannot."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command

from agent_sessions import selectors
from agent_sessions.audit.verify import verify_artifact
from shop_demo import errand
from shop_demo.models import Order, Variant
from tests.journeys.conftest import restock

POT, SENCHA = 6400, 790
TOTAL = POT + SENCHA - 719  # HARVEST10 takes 10 % off; from 50 euros on shipping is free


def run_agent(site: str, **options: Any) -> str:
    told = io.StringIO()
    call_command("run_agent", site=site, stdout=told, **options)
    return told.getvalue()


@pytest.mark.parametrize("ends", [True, False], ids=["ends at handoff", "goes on until paid"])
@pytest.mark.parametrize("profile", ["spec", "compat"])
@pytest.mark.parametrize("endpoints", ["absolute", "relative"])
def test_an_agent_buys_and_proves_it(
    shop: str, configure: Callable[..., None], profile: str, ends: bool, endpoints: str
) -> None:
    configure(MANIFEST_PROFILE=profile, END_ON_HANDOFF=ends, ENDPOINTS=endpoints)
    in_stock = Variant.objects.get(sku="CELADON-05L").stock

    report = errand.run(shop, tell=print, pay=True)

    order = Order.objects.get()
    assert report.order_url == shop + order.get_absolute_url()
    assert order.total == TOTAL
    assert sorted((line.sku, line.quantity, line.unit_price) for line in order.lines.all()) == [
        ("CELADON-05L", 1, POT),
        ("SENCHA-50G", 1, SENCHA),
    ]
    assert Variant.objects.get(sku="CELADON-05L").stock == in_stock - 1
    assert verify_artifact(report.record).ok
    kinds = [event["kind"] for event in json.loads(report.record)["data"]["events"]]
    assert [kind for kind in kinds if kind.startswith(("session", "cart", "capability", "checkout"))] == [
        "session.created",
        "capability.refused",
        "cart.item_added",
        "cart.item_added",
        "cart.voucher_applied",
        "checkout.handed_over",
        "session.ended",
    ]
    assert selectors.verify_session(order.session_id).ok


def test_the_other_profile_is_below_compat(shop: str) -> None:
    assert errand.run(f"{shop}/compat", tell=print, pay=True).order_url == shop + Order.objects.get().get_absolute_url()


def test_a_shop_without_audit_sells_without_a_record(shop: str, configure: Callable[..., None]) -> None:
    configure(AUDIT=False)

    report = errand.run(shop, tell=print, pay=True)

    assert Order.objects.get().total == TOTAL
    assert report.record == b""


@pytest.mark.parametrize("ends", [True, False], ids=["ends at handoff", "goes on until paid"])
def test_without_the_human_the_agent_hands_over_and_leaves(
    shop: str, configure: Callable[..., None], ends: bool
) -> None:
    configure(END_ON_HANDOFF=ends)

    report = errand.run(shop, tell=print)

    assert not Order.objects.exists()
    assert bool(report.record) is ends, "the record of a session exists when it has ended"
    assert errand._pay(errand.Handover(report.handoff_url, "", "64.71", "EUR"), print), "the link can still be paid"


def test_the_command_tells_the_story_and_keeps_the_record(shop: str, tmp_path: Path) -> None:
    told = run_agent(shop, pay=True, record=tmp_path / "record.json")

    assert "The shop says: Only 7 of Celadon Teapot (0.5 l) left; you asked for 8." in told
    assert f"The order: {shop}{Order.objects.get().get_absolute_url()}" in told
    assert verify_artifact((tmp_path / "record.json").read_bytes()).ok


def test_where_nobody_answers_the_command_fails_and_says_so() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        site = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(CommandError, match=f"No answer from {site}.*Is the shop running"):
            run_agent(site)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"want": ["unobtainium"]}, "nothing that fits 'unobtainium'. Ask for something else with --want"),
        ({"voucher": "NOSUCH"}, r"The shop refused \(400\): There is no such voucher"),
    ],
)
def test_what_the_shop_does_not_have_ends_the_command_with_its_reason(
    shop: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(CommandError, match=says):
        run_agent(shop, **options)


def test_what_is_sold_out_ends_the_command_with_its_reason(shop: str) -> None:
    restock("TENMOKU-1", 0)
    with pytest.raises(CommandError, match="Tenmoku Tea Bowl cannot be bought right now"):
        run_agent(shop, want=["tenmoku"])


def test_a_page_that_is_no_shop_ends_the_command_with_its_reason(shop: str) -> None:
    with pytest.raises(CommandError, match=r"nowhere/\.well-known/agents\.json answers 404"):
        run_agent(f"{shop}/nowhere")


def test_a_record_that_was_altered_does_not_pass(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from shop_demo import agent as scripted

    whole = scripted.fetch

    def altered(*args: Any, **facts: Any) -> Any:
        answer = whole(*args, **facts)
        body = answer.body.replace(b"SENCHA-50G", b"SENCHA-99G") if b'"events"' in answer.body else answer.body
        return scripted.Answer(answer.status, answer.headers, body, answer.url)

    monkeypatch.setattr(scripted, "fetch", altered)
    with pytest.raises(CommandError, match="The record of the session does not verify"):
        run_agent(shop, pay=True)


def test_an_agent_that_is_asked_to_wait_waits_and_goes_on(
    shop: str, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=5)
    caches["default"].clear()
    waited: list[int] = []

    def wait(seconds: int) -> None:
        waited.append(seconds)
        configure(MAX_REQUESTS_PER_MINUTE=0)  # as if the minute were over

    monkeypatch.setattr("shop_demo.agent.time.sleep", wait)

    told = run_agent(shop, pay=True)

    assert len(waited) == 1
    assert 1 <= waited[0] <= 60
    assert f"The shop asks me to wait {waited[0]} seconds." in told
    assert Order.objects.get().total == TOTAL


def test_the_readme_shows_what_the_agent_tells(shop: str) -> None:
    readme = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text()
    shown = next(block for block in re.findall(r"```console\n(.*?)```", readme, re.DOTALL) if block.startswith("[1/"))

    assert masked(run_agent(shop, pay=True)) == masked(shown)


def masked(text: str) -> str:
    """The text without what is different every time."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"http://localhost:\d+", "SITE", text)
    return re.sub(r"(handoff|orders)/\S+", r"\1/…", text)
