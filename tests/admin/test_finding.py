"""Finding a session: by everything that staff know of it, with counts, saved searches, and the shop's own look-up."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine as clocks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Agent
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import AuditEvent, Session, SessionReference
from agent_sessions.selectors import finding
from agent_sessions.services import OpenedSession
from tests.admin.conftest import person, text, url
from tests.admin.test_list import listed
from tests.admin.test_pages import words
from tests.services import working
from tests.shopping import line

pytestmark = pytest.mark.django_db
EMAIL = "anna@shop.example"
Opens = Callable[..., OpenedSession]


class Shop:
    """A store that finds one customer."""

    features = frozenset({"find_customer"})
    asked: list[str] = []

    def find_customer(self, term: str) -> str:
        self.asked.append(term)
        return "customer-7" if term == EMAIL else ""

    def search(self) -> None: ...

    detail = price = open_handoff = search


@pytest.fixture
def finds(settings: Any) -> type[Shop]:
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "STORE": f"{__name__}.Shop"}
    Shop.asked = []
    return Shop


@pytest.fixture(autouse=True)
def stepping(settings: Any) -> None:
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "STEPS": working.PATH}


def ids(*sessions: OpenedSession) -> list[str]:
    return [str(one.session_id) for one in sessions]


def put(session: OpenedSession, item: str) -> None:
    patch: Any = {"shopping": {"lines": {item: line(item=item)}}}
    services.change_session(session.session_id, expected_version=1, patch=patch)


def fail(session: OpenedSession, code: str = "card_declined") -> None:
    services.start_step(session.session_id, "payment", method="card")
    services.finish_step(session.session_id, "payment", outcome="failed", code=code)


def refuse(session: OpenedSession, rule: str) -> None:
    call = Call("checkout", "POST", policy_result="deny", policy_rule=rule, response_status=403)
    services.record_event(session.session_id, kind="capability.refused", call=call)


def choices(client: Client, query: str = "") -> dict[str, str]:
    """What the filters offer, each with its count."""
    nav = text(client, url("changelist") + query).split('id="changelist-filter"')[1].split("</nav>")[0]
    said = re.findall(r">\s*([^<>]+?) \(([\d,]+\+?|-)\)</a>", nav)
    return dict(said)


def test_a_session_is_found_by_an_item_while_it_lives_and_after_it_ended(staff: Client, opened: Opens) -> None:
    live, ended, other = opened(), opened(), opened()
    for one, item in ((live, "MUG-1"), (ended, "MUG-1"), (other, "POT-1")):
        put(one, item)
    services.end_session(ended.session_id, reason=EndReason.DELETED)
    assert set(listed(staff, "?item=MUG-1")) == set(ids(live, ended))
    assert listed(staff, "?item=MUG-1&status=ended") == ids(ended)
    for item in ("MUG", "item:MUG-1", "%", "past-item:MUG-1"):
        assert listed(staff, f"?item={item}") == []


def test_what_an_ended_session_had_in_it_holds_up_no_change_in_the_shop(opened: Opens) -> None:
    """X2: a reported change is for live sessions."""
    one = opened()
    put(one, "MUG-1")
    services.end_session(one.session_id, reason=EndReason.DELETED)
    assert list(SessionReference.objects.values_list("ref", flat=True)) == ["past-item:MUG-1"]
    services.report_change("item", ["MUG-1"], "price")
    assert services.mark_stale(limit=10).sessions == 0


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        ("step:card_declined", "paid"),
        ("rule:spend_cap", "refused"),
        ("event:step.failed", "paid"),
        ("event:capability.refused", "refused"),
        ("rule:spend", ""),
        ("rule:card_declined", ""),
        ("event:session.created", ""),
        ("step:", ""),
        ("nonsense", ""),
    ],
)
def test_a_session_is_found_by_the_code_of_a_failure(staff: Client, opened: Opens, failure: str, found: str) -> None:
    paid, refused = opened(), opened()
    opened()
    fail(paid)
    refuse(refused, "spend_cap")
    expected = {"paid": ids(paid), "refused": ids(refused), "": []}[found]
    assert listed(staff, f"?failure={failure}") == expected


def test_a_rule_that_stands_in_the_parameters_of_a_call_is_none_that_refused(staff: Client, opened: Opens) -> None:
    one = opened()
    params = {"note": '"policy_rule":"spend_cap"'}
    call = Call("checkout", "POST", params=params, policy_result="deny", policy_rule="other", response_status=403)
    services.record_event(one.session_id, kind="capability.refused", call=call)
    assert listed(staff, "?failure=rule:spend_cap") == []
    assert listed(staff, "?failure=rule:other") == ids(one)


@pytest.mark.parametrize("rule", ["spend cap, höchstens 50 €", "a\\b", "100%", "x.*"])
def test_a_rule_is_found_whatever_it_is_called(staff: Client, opened: Opens, rule: str) -> None:
    one = opened()
    refuse(one, rule)
    refuse(opened(), "x.y")
    assert listed(staff, "?" + urlencode({"failure": f"rule:{rule}"})) == ids(one)


def test_a_session_is_found_by_its_agent(staff: Client, opened: Opens) -> None:
    basil = opened(agent=Agent("Basil"))
    opened(agent=Agent("Basil of Acme"))
    assert listed(staff, "?agent=Basil") == ids(basil)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("from=2026-03-02&to=2026-03-03", [1]),
        ("from=2026-03-02T00:00", [1, 2]),
        ("to=2026-03-02", [0]),
        ("from=2026-03-03T09:00&to=2026-03-03T09:00", []),
        ("from=2026-03-03T08:00:00Z", [2]),
        ("from=2026-03-03T09:00:01", []),
        ("from=yesterday&to=2026-13-99", [0, 1, 2]),
        ("from=0001-01-01&to=9999-12-31", [0, 1, 2]),
    ],
)
def test_a_session_is_found_by_when_it_was_opened_in_the_viewers_zone(
    staff: Client, opened: Opens, settings: Any, query: str, found: list[int]
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    made = []
    for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
        with clocks.travel(f"{day}T08:00:00Z", tick=False):
            made.append(opened())
    assert sorted(listed(staff, f"?{query}")) == sorted(ids(*(made[number] for number in found)))


def test_the_form_of_times_keeps_the_other_narrowing_and_shows_what_is_set(
    staff: Client, opened: Opens, settings: Any
) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    opened()
    page = text(staff, url("changelist") + "?status=active&from=2026-01-01&p=x")
    form = page.split('class="ags-narrow"')[1].split("</form>")[0]
    assert '<input type="hidden" name="status" value="active">' in form
    assert 'name="from" value="2026-01-01T00:00"' in form
    assert 'name="p"' not in form


def test_counts_stand_beside_the_choices_and_leave_out_the_own_filter(staff: Client, opened: Opens) -> None:
    for name in ("Basil", "Basil", "Rosemary"):
        one = opened(agent=Agent(name))
    services.end_session(one.session_id, reason=EndReason.REVOKED)
    every, narrowed = choices(staff), choices(staff, "?status=active")
    by_shop = "Ended by the shop"
    assert (every["Active"], every["Ended"], every[by_shop], every["Basil"], every["Rosemary"]) == tuple("21121")
    assert (narrowed["Active"], narrowed["Ended"], narrowed[by_shop], narrowed["Basil"]) == tuple("2102")
    assert "Rosemary" not in narrowed
    assert every["In the past hour"] == "3"


def test_failures_are_offered_with_their_counts(staff: Client, opened: Opens) -> None:
    for number in range(2):
        one = opened()
        fail(one)
        refuse(one, f"rule-{number}")
        refuse(one, f"rule-{number}")
    found = choices(staff)
    assert found["card_declined"] == found["Step failed"] == "2"
    assert found["refused by rule-0"] == found["refused by rule-1"] == "1"
    assert choices(staff, "?failure=rule:rule-0")["card_declined"] == "2"


def test_a_count_that_is_cut_short_says_so(staff: Client, opened: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        opened()
    newest = finding.newest
    monkeypatch.setattr(finding, "newest", lambda sessions: newest(sessions, 2))
    found = choices(staff)
    assert found["Active"] == "2+"
    assert found["Ended"] == "-"
    assert "2+ sessions" in words(text(staff, url("changelist")))


def test_counts_cost_the_same_for_one_session_as_for_many_and_a_query_for_each_filter_that_is_set(
    staff: Client, opened: Opens
) -> None:
    def queries(query: str) -> int:
        with CaptureQueriesContext(connection) as found:
            text(staff, url("changelist") + query)
        assert not any("COUNT(" in one["sql"].upper() for one in found)
        return len(found)

    fail(opened())
    one = queries(""), queries("?status=active&kind=standard")
    for _ in range(12):
        fail(opened())
    assert (queries(""), queries("?status=active&kind=standard")) == one
    assert one[1] == one[0] + 2 <= 12


def test_a_session_with_very_many_failures_is_read_in_part(opened: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened()
    for number in range(4):
        refuse(one, f"rule-{number}")
    monkeypatch.setattr(finding, "MOST_FAILURES", 3)
    assert len(finding.failure_codes([one.session_id])) == 3


def test_the_index_of_failures_knows_what_a_failure_is(opened: Opens) -> None:
    one = opened()
    fail(one)
    refuse(one, "spend_cap")
    failed = AuditEvent.objects.filter(finding.failures()).order_by("seq").values_list("kind", flat=True)
    assert list(failed) == ["step.failed", "capability.refused"]


# Saved searches


def test_saved_searches_stand_above_the_list_and_the_one_looked_at_says_so(
    staff: Client, opened: Opens, settings: Any
) -> None:
    settings.AGENT_SESSIONS = {
        **settings.AGENT_SESSIONS,
        "SAVED_SEARCHES": {"<b>Fern</b>": "?status=active&merchant=Fern"},
    }
    one = opened(merchant="Fern")
    opened()
    page = text(staff, url("changelist"))
    assert "&lt;b&gt;Fern&lt;/b&gt;" in page
    for title in ("Waits for staff", "Failed steps today", "Refused today", "Checked out today", "Quarantined"):
        assert title in page
    assert 'aria-current="page">' not in page.split("ags-saved")[1].split("</nav>")[0]
    narrowed = "?status=active&merchant=Fern"
    assert listed(staff, narrowed) == ids(one)
    assert 'aria-current="page">&lt;b&gt;Fern' in text(staff, url("changelist") + narrowed)


def test_every_saved_search_of_the_package_can_be_opened(staff: Client, opened: Opens) -> None:
    opened()
    nav = text(staff, url("changelist")).split("ags-saved")[1].split("</nav>")[0]
    found = re.findall(r'href="([^"]+)"', nav)
    assert len(found) == 5
    for address in found:
        text(staff, url("changelist") + address.replace("&amp;", "&"))


# A customer whom the shop finds


def search(client: Client, term: str, **form: str) -> Any:
    return client.post(url("customer"), {"customer": term, **form})


def test_a_customer_is_found_by_what_the_shop_knows_and_only_the_pseudonym_is_in_the_address(
    staff: Client, opened: Opens, finds: type[Shop]
) -> None:
    theirs = opened(consumer=services.consumer_pseudonym("customer-7"))
    opened(consumer=services.consumer_pseudonym("customer-8"))
    page = text(staff, url("changelist"))
    assert "Find their sessions" in page
    response = search(staff, f" {EMAIL} ")
    assert response.status_code == 302
    address = response.headers["Location"]
    assert "anna" not in address
    assert finds.asked == [EMAIL]
    assert listed(staff, "?" + address.partition("?")[2]) == ids(theirs)


def test_a_customer_is_looked_for_at_the_merchant_that_the_list_is_narrowed_to(
    staff: Client, opened: Opens, finds: type[Shop]
) -> None:
    theirs = opened(merchant="Fern", consumer=services.consumer_pseudonym("customer-7", merchant="Fern"))
    assert '<input type="hidden" name="merchant" value="Fern">' in text(staff, url("changelist") + "?merchant=Fern")
    address = search(staff, EMAIL, merchant="Fern").headers["Location"]
    assert listed(staff, "?" + address.partition("?")[2]) == ids(theirs)


@pytest.mark.parametrize(
    ("term", "said"), [("nobody@shop.example", "knows no customer"), ("", "up to 254"), ("a" * 255, "up to 254")]
)
def test_who_is_not_found_is_told_so_and_the_term_is_not_repeated(
    staff: Client, finds: type[Shop], term: str, said: str
) -> None:
    response = staff.post(url("customer"), {"customer": term}, follow=True)
    page = response.content.decode()
    assert said in page
    assert response.redirect_chain == [(url("changelist"), 302)]
    assert not term or term not in page


def test_a_customer_cannot_be_looked_for_in_a_store_that_does_not(staff: Client) -> None:
    assert "Find their sessions" not in text(staff, url("changelist"))
    assert "has not the feature" in staff.post(url("customer"), {"customer": EMAIL}, follow=True).content.decode()


def test_looking_for_a_customer_needs_the_permission_and_a_form(staff: Client, finds: type[Shop]) -> None:
    assert search(person("no"), EMAIL).status_code == 403
    assert search(Client(), EMAIL).status_code == 302
    assert staff.get(url("customer")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff.cookies
    assert search(strict, EMAIL).status_code == 403
    assert finds.asked == []


def test_looking_for_a_customer_leaves_nothing_in_the_database(staff: Client, opened: Opens, finds: type[Shop]) -> None:
    opened(consumer=services.consumer_pseudonym("customer-7"))
    before = Session.objects.values().get()
    with CaptureQueriesContext(connection) as queries:
        search(staff, EMAIL)
    assert Session.objects.values().get() == before
    assert not any("anna" in one["sql"] for one in queries)
    assert not any(one["sql"].startswith(("INSERT", "UPDATE")) for one in queries)


def test_an_agent_that_has_no_name_and_one_that_is_hostile_do_no_harm(staff: Client, opened: Opens) -> None:
    opened(agent=Agent("<script>alert(1)</script>"))
    opened(agent=Agent(""))
    page = text(staff, url("changelist"))
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_an_old_session_is_not_counted_as_new(staff: Client, opened: Opens, clock: clocks.Traveller) -> None:
    opened()
    clock.shift(timedelta(hours=2))
    assert choices(staff)["In the past hour"] == "0"
    assert choices(staff)["In the past 24 hours"] == "1"
