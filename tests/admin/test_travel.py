"""A session as it was at one of its versions (V2, O1)."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.domain.identity import Agent
from agent_sessions.models import AuditEvent, SessionVersion
from agent_sessions.services import OpenedSession
from tests.admin.conftest import SECRET, person, reveal, text, url
from tests.admin.test_pages import words
from tests.buying import INSTRUCTIONS, Bought
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.services.asking import ask
from tests.shopping import line
from tests.store.calling import call, counting, head, shop

__all__ = ["counting", "shop"]
pytestmark = pytest.mark.django_db


def shown(client: Client, one: Bought | OpenedSession, number: int, query: str = "") -> str:
    return text(client, url("version_at", one.session_id, number) + query)


def section(page: str, title: str) -> str:
    """What a part of the page says."""
    for part in re.findall(r"<section.*?</section>", page, re.DOTALL):
        if re.search(rf"<h2[^>]*>{re.escape(title)}", part):
            return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", part)))
    raise AssertionError(f"There is no part {title!r}.")


def test_a_past_state_says_that_it_is_one_and_when_it_was(staff: Client, bought: Bought) -> None:
    told = words(shown(staff, bought, 5))
    assert "Version 5 of 13: Approval asked for" in told
    assert "A past state Approval asked for by Agent ( checkout ), 2 Mar 2026" in told
    assert "nothing is run again" in told
    now = words(shown(staff, bought, 13))
    assert "The state as it is now" in now
    assert "nothing is run again" not in now


def test_the_cart_is_the_one_of_then(staff: Client, shopped: OpenedSession) -> None:
    assert "Blue mug sku-1 1 12.50 EUR 12.50 EUR" in section(shown(staff, shopped, 2), "Cart, as the shopper saw it")
    later = section(shown(staff, shopped, 3), "Cart, as the shopper saw it")
    assert "Subtotal 25.00 EUR Delivery 4.90 EUR Total 29.90 EUR" in later


def test_neighbours_lead_to_versions_and_keep_what_is_compared(staff: Client, bought: Bought) -> None:
    page = shown(staff, bought, 5, "?compare=2")
    for number in (1, 4, 6, 13):
        assert f'href="{url("version_at", bought.session_id, number)}?compare=2"' in page
    first, last = shown(staff, bought, 1), shown(staff, bought, 13)
    assert 'rel="prev"' not in first
    assert 'rel="next"' not in last


def test_differences_to_the_version_before_to_any_other_and_to_now(staff: Client, bought: Bought) -> None:
    assert "+ Added 2 × Mug at 12.50 EUR" in section(shown(staff, bought, 2), "What changed from version 1")
    assert "Payment card declined" not in section(shown(staff, bought, 8), "What changed from version 7")
    declined = section(shown(staff, bought, 10), "What changed from version 9")
    assert "! Payment card declined (insufficient_funds): 25.00 EUR" in declined
    over = section(shown(staff, bought, 12, "?compare=5"), "What changed from version 5")
    assert "Payment card succeeded" in over
    since = section(shown(staff, bought, 5, "?compare=now"), "What changed since then, up to version 13")
    assert "Payment card succeeded" in since
    assert "It is the same version." in section(shown(staff, bought, 5, "?compare=5"), "What changed")
    assert "Added 2 × Mug" in section(shown(staff, bought, 5, "?compare=0"), "What it began with")


@pytest.mark.parametrize("compare", ["x", "-1", "99999999999", "²", "4000", ""])
def test_a_comparison_that_is_none_is_no_error(staff: Client, shopped: OpenedSession, compare: str) -> None:
    assert "What changed" in shown(staff, shopped, 3, f"?compare={compare}")


def test_payments_approvals_and_their_times_as_they_stood(staff: Client, bought: Bought) -> None:
    title = "Payments, approvals and holds then"
    waiting = section(shown(staff, bought, 5), title)
    assert "pending 25.00 EUR asked by large-orders" in waiting
    assert "26 min left" in waiting
    granted = section(shown(staff, bought, 6), title)
    assert "granted 25.00 EUR asked by large-orders answered after 2 min" in granted
    assert "declined card 25.00 EUR, insufficient_funds" in section(shown(staff, bought, 12), title)


def test_an_approval_that_nobody_answered_is_over_and_not_answered(
    staff: Client, opened: Callable[..., OpenedSession], selling: object, tick: Callable[[], object]
) -> None:
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    ask(one)
    tick()
    call("cart.add", one, item_id="mug", quantity=1)
    told = section(shown(staff, one, head(one).version), "Payments, approvals and holds then")
    assert "void 25.00 EUR asked by large-orders over after 1 min" in told
    assert "answered" not in told


def test_a_hold_shows_the_time_that_it_had_left_then(
    staff: Client, opened: Callable[..., OpenedSession], clock: Any
) -> None:
    """X1: at that moment, not now."""
    one = opened()
    entry = {"item": "mug", "quantity": 2, "held_at": "2026-03-02T10:00:00Z", "until": "2026-03-02T10:10:00Z"}
    services.change_session(
        one.session_id, expected_version=1, patch={"inventory": {"holds": {str(uuid.uuid4()): entry}}}
    )
    clock.shift(timedelta(minutes=12))
    services.change_session(one.session_id, expected_version=2, patch={"agent": {"n": 1}})
    title = "Payments, approvals and holds then"
    assert "held 2 × mug 10 min left at that moment" in section(shown(staff, one, 2), title)
    assert "run out 2 × mug" in section(shown(staff, one, 3), title)


def test_what_the_agent_knew_then_is_masked_until_it_is_revealed(
    staff: Client, reader: Client, shopped: OpenedSession
) -> None:
    """A9, X3: facts and words; nothing that came later."""
    fact = {
        "value": "blue",
        "source": "shop",
        "fetched_at": "2026-03-02T10:00:00Z",
        "expires_at": "2026-03-02T10:01:00Z",
    }
    services.change_session(shopped.session_id, expected_version=4, patch={"facts": {"known": {"colour": fact}}})
    title = "What the agent knew here"
    for client in (staff, reader):
        assert "masked What was said" in section(shown(client, shopped, 5), title)
        assert "blue" not in shown(client, shopped, 5).split('id="content-main"')[1]
    reveal(reader, shopped.session_id)
    told = section(shown(reader, shopped, 5), title)
    for said in ("colour : blue no longer good from shop", "It is for my mother", "How about a teapot?", SECRET):
        assert said in told
    before = section(shown(reader, shopped, 3), title)
    for later in ("colour", "mother", SECRET):
        assert later not in before


def test_why_one_paid_so(staff: Client, reader: Client, bought: Bought) -> None:
    """S2: the attempts, the policies, and the decisions behind, up to that moment."""
    told = section(shown(staff, bought, 12), "Why this payment method")
    assert "card declined insufficient_funds" in told
    assert "allowed checkout by large-orders" in told
    assert "refused Request refused by rule large-orders" in told
    assert "No way of paying was tried by then." in section(shown(staff, bought, 5), "Why this payment method")
    assert "Approval granted" not in section(shown(staff, bought, 5), "Why this payment method")


def test_the_whole_state_is_masked_as_the_rest_of_the_page(staff: Client, reader: Client, bought: Bought) -> None:
    page = shown(staff, bought, 12)
    document = html.unescape(page.split("<pre")[1].split("</pre>")[0])
    assert '"item": "mug"' in document
    for sealed in (INSTRUCTIONS, "She drinks tea", "4242", "tok_p1", "Anna"):
        assert sealed not in page
    assert "Masked and left out: Instructions, Further details" in html.unescape(page)
    reveal(reader, bought.session_id)
    opened = html.unescape(shown(reader, bought, 12).split("<pre")[1])
    for said in (INSTRUCTIONS, "She drinks tea", "4242"):
        assert said in opened


def test_the_form_leads_to_the_version_and_keeps_to_those_there_are(staff: Client, shopped: OpenedSession) -> None:
    for asked, number in (("2", 2), ("0", 1), ("99", 4), ("x", 4), ("", 4)):
        answer = staff.get(url("at", shopped.session_id), {"version": asked})
        assert answer.headers["Location"] == url("version_at", shopped.session_id, number)
    kept = staff.get(url("at", shopped.session_id), {"version": "2", "compare": "now"})
    assert kept.headers["Location"].endswith("/at/2/?compare=now")
    odd = staff.get(url("at", shopped.session_id), {"version": "2", "compare": "//evil.example"})
    assert odd.headers["Location"] == url("version_at", shopped.session_id, 2)


def test_any_version_costs_the_same_and_reads_write_nothing(
    reader: Client, shopped: OpenedSession, configure: Callable[..., None]
) -> None:
    configure(SNAPSHOT_EVERY=8)
    for number in range(4, 64):
        services.change_session(shopped.session_id, expected_version=number, patch={"agent": {"n": number}})
    reveal(reader, shopped.session_id)
    before = AuditEvent.objects.count(), SessionVersion.objects.count()
    counts = set()
    for number, query in ((5, ""), (40, ""), (63, ""), (30, "?compare=3"), (30, "?compare=60")):
        with CaptureQueriesContext(connection) as queries:
            shown(reader, shopped, number, query)
        counts.add(len(queries))
    assert max(counts) <= 20
    assert len(counts) == 1
    assert (AuditEvent.objects.count(), SessionVersion.objects.count()) == before


def test_hostile_text_is_text(reader: Client, staff: Client, opened: Callable[..., OpenedSession]) -> None:
    hostile = "<script>alert(1)</script>\u202e" + "x" * 20_000
    one = opened(agent=Agent("<script>alert(1)</script>"))
    patch: Any = {
        "shopping": {"lines": {hostile[:60]: line(title=hostile)}, "instructions": hostile},
        "decisions": {
            "payments": {"p<b>": {"method": hostile, "outcome": "declined", "code": hostile}},
            "policies": {hostile[:60]: {"result": "deny", "capability": hostile}},
            "fallbacks": {"f": {"tried": hostile, "outcome": hostile}},
            "recommendations": {"r": {"item": hostile, "reason": hostile}},
        },
        "facts": {"known": {hostile[:60]: {"value": hostile, "source": hostile, "fetched_at": "2026-03-02T10:00:00Z"}}},
        "stale": {"parts": {"x": {"kind": hostile, "ref": hostile, "since": "2026-03-02T10:00:00Z", "what": hostile}}},
    }
    services.change_session(one.session_id, expected_version=1, patch=patch)
    reveal(reader, one.session_id)
    for client in (reader, staff):
        page = shown(client, one, 2)
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "<b>" not in page
        assert html.escape("<script>alert(1)</script>") in page


def test_the_page_carries_nothing_inline(reader: Client, bought: Bought) -> None:
    reveal(reader, bought.session_id, "agent")
    page = shown(reader, bought, 12)
    assert " style=" not in page.split('id="content-main"')[1]
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", page)


def test_who_may_not_see_sessions_sees_no_past_of_them(client: Client, shopped: OpenedSession) -> None:
    for address in (url("version_at", shopped.session_id, 2), url("at", shopped.session_id)):
        assert client.get(address).status_code == 302
        assert person(f"no-{len(address)}").get(address).status_code == 403
        assert person(f"sue-{len(address)}", "view_session").post(address, {"version": 1}).status_code == 405
    assert "/login/" in client.get(url("at", shopped.session_id)).headers["Location"]


def test_payment_attempts_stand_in_their_order(staff: Client, opened: Any) -> None:
    """Whatever their ids are."""
    one = opened()
    first, second = (
        {"method": "card", "outcome": "declined", "code": code, "attempted_at": f"2026-03-02T10:0{minute}:00Z"}
        for minute, code in enumerate(("limit", "stolen"))
    )
    patch = {"decisions": {"payments": {"b": first, "a": second}}}
    services.change_session(one.session_id, expected_version=1, patch=patch)
    page = text(staff, url("version_at", one.session_id, 2))
    assert re.findall("<code>(limit|stolen)</code>", page) == ["limit", "stolen"] * 2
