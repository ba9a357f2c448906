"""What is personal is masked in the admin; it is revealed to one person, for a reason, for minutes, on record (A9)."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.admin.wording import entries
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.exceptions import SessionBusy
from agent_sessions.models import AuditEvent, SiteEvent
from agent_sessions.services import OpenedSession, _write
from agent_sessions.services.erasing import Grounds, erase
from tests.admin.conftest import SECRET, person, reveal, text, url
from tests.admin.test_pages import words
from tests.services.asking import REASON
from tests.store.calling import call, shop
from tests.stored import is_stored

pytestmark = pytest.mark.django_db
__all__ = ["shop"]
MINUTE = timedelta(minutes=1)
GROUNDS = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
HOSTILE = "<script>alert(1)</script>\u202e"
PATCH: Any = {
    "customer": {"preferences": {"milk": "Oat, says her doctor"}},
    "facts": {"known": {"allergy": {"value": "nuts", "source": "crm", "fetched_at": "2026-05-01T12:00:00Z"}}},
    "recovery": {"steps": {"call Anna": {"outcome": "failed", "code": "busy"}}},
}
SAID = {
    "words": (SECRET, "It is for my mother", "a gift for Anna"),
    "customer": ("Oat, says her doctor", "nuts"),
    "agent": ("hurried", "call Anna"),
}
"""What a session of ``told`` says, by group."""
READING = ("change", "timeline", "conversation", "versions", "events", "approvals")


@pytest.fixture
def told(shopped: OpenedSession) -> OpenedSession:
    services.change_session(shopped.session_id, expected_version=4, patch=PATCH)
    return shopped


def everything(client: Client, one: OpenedSession) -> str:
    """All pages of a session, as somebody sees them."""
    found = [text(client, url(page, one.session_id)) for page in READING]
    found += [text(client, url("version_at", one.session_id, number)) for number in (4, 5)]
    return html.unescape("".join(found))


def seen(client: Client, one: OpenedSession) -> set[str]:
    """The groups of which somebody sees anything on any page; all of each, or nothing."""
    shown = everything(client, one)
    groups = {group for group, said in SAID.items() if any(words in shown for words in said)}
    assert all(words in shown for group in groups for words in SAID[group])
    return groups


def post(client: Client, one: OpenedSession, **form: Any) -> Any:
    return client.post(url("reveal", one.session_id), {"group": ["words"], "reason": "Case 4", **form})


def last(one: OpenedSession) -> dict[str, Any]:
    return msgspec.convert(selectors.events(one.session_id)[-1], dict)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_shows_what_is_in_it_and_nothing_else(reader: Client, told: OpenedSession, group: str) -> None:
    assert seen(reader, told) == set()
    reveal(reader, told.session_id, group)
    assert seen(reader, told) == {group}
    assert (last(told)["kind"], last(told)["params"]["groups"]) == ("content.revealed", [group])


def test_it_is_shown_to_nobody_else_and_of_no_other_session(
    reader: Client, told: OpenedSession, opened: Callable[..., OpenedSession]
) -> None:
    other, colleague = opened(purpose="a gift for Bert"), person("bob", "view_session", "view_session_content")
    reveal(reader, told.session_id)
    assert seen(reader, told) == set(GROUPS)
    assert seen(colleague, told) == set()
    assert "Bert" not in text(reader, url("change", other.session_id))


def test_others_see_who_sees_what_until_when(clock: Any, reader: Client, staff: Client, told: OpenedSession) -> None:
    reveal(reader, told.session_id, "customer")
    who = User.objects.get(username="ada").pk
    for page in READING:
        shown = words(text(staff, url(page, told.session_id)))
        assert f"revealed Staff {who} sees what is known of the customer until 2 Mar, 04:10" in shown
    assert "revealed to you what is known of the customer until 2 Mar, 04:10" in words(
        text(reader, url("change", told.session_id))
    )
    story = words(text(staff, url("timeline", told.session_id)))
    assert f"Content revealed by Staff {who} what is known of the customer until 2 Mar, 04:10" in story
    clock.shift(10 * MINUTE)
    staff.force_login(User.objects.get(username="sam"))
    assert "sees what is known" not in text(staff, url("change", told.session_id))
    assert "Content revealed" in text(staff, url("timeline", told.session_id)), "that it was stays"


def test_it_ends_by_itself(clock: Any, reader: Client, told: OpenedSession) -> None:
    reveal(reader, told.session_id)
    clock.shift(10 * MINUTE - timedelta(seconds=1))
    assert seen(reader, told) == set(GROUPS)
    clock.shift(timedelta(seconds=1))
    assert seen(reader, told) == set()


def test_the_setting_says_for_how_long(
    clock: Any, reader: Client, told: OpenedSession, configure: Callable[..., None]
) -> None:
    configure(REVEAL_MINUTES=1)
    assert "Show it for 1 minute<" in text(reader, url("change", told.session_id))
    reveal(reader, told.session_id)
    clock.shift(MINUTE)
    assert seen(reader, told) == set()


def test_a_page_says_when_it_is_to_mask_itself(clock: Any, reader: Client, staff: Client, told: OpenedSession) -> None:
    """When the first of its groups is over, by the second."""
    page = url("conversation", told.session_id)
    assert "masks.js" not in text(reader, page)
    reveal(reader, told.session_id, "agent")
    clock.shift(4 * MINUTE)
    reveal(reader, told.session_id, "words", "customer")
    clock.shift(timedelta(milliseconds=500))
    shown = text(reader, page)
    assert 'data-left="360"' in shown
    assert "data-sent" not in shown
    assert "masks.js" in shown
    assert "masks.js" not in text(staff, page), "nothing is revealed to them"
    refused = reader.post(url("reveal", told.session_id), {"reason": "Case 4"})
    assert "masks.js" not in refused.content.decode(), "it shows nothing that is revealed"


def test_a_clock_that_is_set_back_shows_nothing_longer(clock: Any, reader: Client, told: OpenedSession) -> None:
    reveal(reader, told.session_id)
    clock.shift(-MINUTE)
    assert selectors.reveals(selectors.read_head(told.session_id))
    clock.shift(-timedelta(seconds=1))
    assert not selectors.reveals(selectors.read_head(told.session_id))


def test_why_an_agent_asks_is_the_agents_in_the_timeline_too(
    reader: Client, shop: Any, opened: Callable[..., OpenedSession], configure: Callable[..., None]
) -> None:
    configure(POLICIES="tests.services.asking.POLICIES")
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    services.request_approval(one.session_id, reason=REASON)
    reveal(reader, one.session_id, "words")
    assert REASON not in text(reader, url("timeline", one.session_id))
    reveal(reader, one.session_id, "agent")
    assert REASON in text(reader, url("timeline", one.session_id))


def test_what_has_names_reads_as_a_list_of_them(reader: Client, told: OpenedSession) -> None:
    reveal(reader, told.session_id, "customer")
    page = text(reader, url("change", told.session_id))
    assert '<p class="quiet">preferences</p>' in page
    assert '<dt>milk</dt><dd class="ags-spoken">Oat, says her doctor</dd>' in page


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"b": 1, "a": "x"}, [("", [("a", "x"), ("b", "1")])]),
        ({"yes": True, "no": False, "none": None}, [("", [("no", "no"), ("none", "–"), ("yes", "yes")])]),
        ({"list": ["a", 2], "deep": [{"a": 1}]}, [("", [("deep", '[{"a": 1}]'), ("list", "a, 2")])]),
        ({"z": 1, "a": {"b": {"c": "d"}, "e": 2}}, [("", [("z", "1")]), ("a", [("e", "2")]), ("a › b", [("c", "d")])]),
        ({"empty": [], "too": {}, "inside": {"a": []}}, []),
        ({"n" * 70 + "1": 1, "n" * 70 + "2": 2}, [("", [("n" * 59 + "…", "1"), ("n" * 59 + "…", "2")])]),
    ],
)
def test_entries_of_a_document(document: dict[str, Any], told: list[Any]) -> None:
    assert list(entries(document)) == told


def test_it_can_be_ended_at_once(reader: Client, told: OpenedSession) -> None:
    page = url("conversation", told.session_id)
    assert "Mask again" not in text(reader, page)
    reveal(reader, told.session_id)
    assert "Mask again" in text(reader, page)
    answer = reader.post(url("reveal", told.session_id), {"mask": "yes", "next": page})
    assert answer.headers["Location"] == page
    assert seen(reader, told) == set()
    assert last(told)["kind"] == "content.masked"


def test_whoever_loses_the_permission_sees_nothing_more(reader: Client, told: OpenedSession) -> None:
    reveal(reader, told.session_id)
    user = User.objects.get(username="ada")
    user.user_permissions.remove(Permission.objects.get(codename="view_session_content"))
    assert seen(reader, told) == set()


def test_without_the_permission_nothing_is_revealed_and_that_is_on_record(staff: Client, told: OpenedSession) -> None:
    before = SiteEvent.objects.count()
    assert post(staff, told).status_code == 403
    assert seen(staff, told) == set()
    event = last(told)
    assert (event["kind"], event["params"], event["policy_result"]) == ("action.refused", {"action": "reveal"}, "deny")
    assert SiteEvent.objects.count() == before
    assert "People with the permission" in text(staff, url("reveal", told.session_id))
    assert "<form" not in text(staff, url("reveal", told.session_id)).split('id="content-main"')[1]


@pytest.mark.parametrize("codenames", [(), ("view_session_content",)])
def test_who_may_not_see_the_session_cannot_reveal_it(told: OpenedSession, codenames: tuple[str, ...]) -> None:
    client = person("pat", *codenames)
    assert post(client, told).status_code == 403
    assert client.get(url("reveal", told.session_id)).status_code == 403


def test_a_form_of_another_site_reveals_nothing(reader: Client, client: Client, told: OpenedSession) -> None:
    assert "/login/" in post(client, told).headers["Location"]
    reader.handler.enforce_csrf_checks = True
    assert post(reader, told).status_code == 403
    assert seen(reader, told) == set()


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"reason": ""}, "Say in 1 to 200 characters why"),
        ({"reason": "   "}, "Say in 1 to 200 characters why"),
        ({"reason": "x" * 201}, "at most 200 characters"),
        ({"group": []}, "Choose what to reveal"),
        ({"group": ["everything"]}, "Choose at least one"),
        ({"reason": "4111 1111 1111 1111 was charged"}, "Leave out what looks like a card’s number"),
    ],
)
def test_half_a_form_reveals_nothing_and_says_why(
    reader: Client, told: OpenedSession, form: dict[str, Any], problem: str
) -> None:
    before = AuditEvent.objects.count()
    answer = post(reader, told, **form)
    assert answer.status_code == 422
    page = html.unescape(answer.content.decode())
    assert "Nothing was revealed" in page
    assert problem in page
    assert "4111" not in page
    assert AuditEvent.objects.count() == before
    assert not is_stored("4111 1111")


def test_a_form_that_is_sent_back_keeps_what_was_written(reader: Client, told: OpenedSession) -> None:
    page = post(reader, told, group=[], reason=HOSTILE).content.decode()
    assert f'name="reason" value="{html.escape("<script>alert(1)</script>")}' in page
    assert "<script>alert" not in page


def test_the_reason_is_sealed_and_shown_with_the_words(reader: Client, told: OpenedSession) -> None:
    reveal(reader, told.session_id, "agent", reason=f"She calls {HOSTILE}")
    assert not is_stored("She calls")
    story = url("timeline", told.session_id)
    assert "She calls" not in text(reader, story)
    reveal(reader, told.session_id, "words")
    assert "She calls &lt;script&gt;alert(1)" in text(reader, story)
    assert "\u202e" not in text(reader, story)


def test_what_cannot_be_recorded_is_not_shown(
    reader: Client, told: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(_write, "write", fail)
        with pytest.raises(OSError, match="disk full"):
            post(reader, told)
    assert seen(reader, told) == set()


def test_a_session_that_has_ended_is_revealed_too(reader: Client, told: OpenedSession) -> None:
    services.end_session(told.session_id)
    reveal(reader, told.session_id)
    assert seen(reader, told) == set(GROUPS)
    assert selectors.verify_session(told.session_id).ok
    assert {one["path"] for one in json.loads(reader.get(url("artifact", told.session_id)).content)["openings"]} >= {
        "purpose", "message", "personal", "patch",
    }  # fmt: skip


def downloads(one: OpenedSession) -> list[tuple[str, str]]:
    """Who has got which file with something in the clear, as the session's history says."""
    found = [msgspec.convert(event, dict) for event in selectors.events(one.session_id)]
    return [(event["actor"], event["params"]["file"]) for event in found if event["kind"] == "evidence.disclosed"]


def downloaded(client: Client, address: str) -> str:
    answer: Any = client.get(address)
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "no-store" in answer.headers["Cache-Control"]
    return str(answer.getvalue().decode())


def test_what_is_downloaded_in_the_clear_is_in_the_history_and_nothing_else(clock: Any, told: OpenedSession) -> None:
    services.end_session(told.session_id)
    eva = person("eva", "view_session", "view_session_content", "view_session_evidence")
    who = f"staff:{User.objects.get(username='eva').pk}"
    artifact, evidence = url("artifact", told.session_id), url("evidence", told.session_id)
    reveal(eva, told.session_id, "words", "customer")
    assert SECRET not in text(eva, evidence)
    for address in (artifact, f"{evidence}?as=json"):
        assert SECRET not in downloaded(eva, address)
    assert downloads(told) == [], "masked"
    reveal(eva, told.session_id, "agent")
    assert SECRET in downloaded(eva, artifact)
    assert downloads(told) == [(who, "artifact")]
    assert "Purpose" in text(eva, evidence)
    assert downloads(told) == [(who, "artifact")], "the page is no file"
    assert "a gift for Anna" in downloaded(eva, f"{evidence}?as=json")
    assert downloads(told) == [(who, "artifact"), (who, "evidence")]
    story = words(text(eva, url("timeline", told.session_id)))
    assert "Evidence shown by Staff" in story
    assert "file: evidence" in story
    assert selectors.verify_session(told.session_id).ok
    clock.shift(10 * MINUTE)
    assert SECRET not in downloaded(eva, artifact)
    assert len(downloads(told)) == 2


@pytest.mark.parametrize("page", ["artifact", "evidence"])
def test_a_download_that_cannot_be_recorded_does_not_leave(
    told: OpenedSession, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    services.end_session(told.session_id)
    eva = person("eva", "view_session", "view_session_content", "view_session_evidence")
    reveal(eva, told.session_id)

    def busy(*_: Any, **__: Any) -> None:
        raise SessionBusy("The session")

    monkeypatch.setattr(services, "note_download", busy)
    answer = eva.get(url(page, told.session_id), {"as": "json"})
    assert answer.status_code == 409
    assert "a gift for Anna" not in answer.content.decode()
    assert "Content-Disposition" not in answer.headers


def test_what_is_left_after_an_erasure_is_recorded_while_there_is_any(reader: Client, told: OpenedSession) -> None:
    """Who has the permission gets prices and decisions opened then; of a session with no content nothing is open."""
    services.end_session(told.session_id)
    erase(selectors.read_head(told.session_id), frozenset({"personal"}), GROUNDS, actor=SYSTEM)
    assert json.loads(text(reader, url("artifact", told.session_id)))["openings"]
    assert [file for _, file in downloads(told)] == ["artifact"]
    erase(selectors.read_head(told.session_id), frozenset({"content"}), GROUNDS, actor=SYSTEM)
    assert json.loads(text(reader, url("artifact", told.session_id)))["openings"] == []
    assert [file for _, file in downloads(told)] == ["artifact"]
    assert selectors.verify_session(told.session_id).ok


def test_of_an_erased_session_there_is_nothing_to_reveal(
    clock: Any, reader: Client, staff: Client, told: OpenedSession
) -> None:
    """What is left once the personal data is gone says nothing of anybody."""
    services.end_session(told.session_id)
    erase(selectors.read_head(told.session_id), frozenset({"personal"}), GROUNDS, actor=SYSTEM)
    before = AuditEvent.objects.count()
    for client in (reader, staff):
        page = words(text(client, url("change", told.session_id)))
        assert "There is nothing to reveal" in page
        assert "Why you need to see it" not in page
    answer = post(reader, told)
    assert answer.status_code == 410
    assert "was erased under rule &#x27;personal&#x27; on 2026-03-02" in answer.content.decode()
    assert AuditEvent.objects.count() == before
    left = everything(reader, told)
    assert "call Anna" in left
    assert not any(words in left for words in (*SAID["words"], *SAID["customer"], "hurried"))
    assert "call Anna" not in everything(staff, told)


def test_a_quarantined_session_reveals_nothing(reader: Client, quarantined: OpenedSession) -> None:
    assert "Nothing can be revealed while the session is quarantined" in text(
        reader, url("change", quarantined.session_id)
    )
    assert post(reader, quarantined).status_code == 409


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [("timeline", "timeline"), ("//evil.example/", "change"), ("https://evil.example/", "change"),
     ("javascript:alert(1)", "change"), ("", "change"), ("reveal", "change")],
)  # fmt: skip
def test_it_leads_back_to_a_page_of_the_session_alone(
    reader: Client, told: OpenedSession, asked: str, leads_to: str
) -> None:
    place = url(asked, told.session_id) if asked in ("timeline", "reveal") else asked
    assert post(reader, told, next=place).headers["Location"] == url(leads_to, told.session_id)


def test_the_form_on_a_page_leads_back_to_it_with_what_it_asked_for(reader: Client, told: OpenedSession) -> None:
    address = url("timeline", told.session_id) + "?family=privacy&failed=1"
    assert f'name="next" value="{html.escape(address)}"' in text(reader, address)


def test_nothing_of_it_is_in_an_address_a_cache_or_a_log(
    reader: Client, told: OpenedSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = post(reader, told, group=[*GROUPS], reason="Anna rang", next=url("change", told.session_id))
        for page in READING:
            shown = reader.get(url(page, told.session_id))
            assert {"no-store", "private"} <= set(shown.headers["Cache-Control"].replace(" ", "").split(","))
    assert "?" not in answer.headers["Location"]
    assert "Anna rang" not in text(reader, url("reveal", told.session_id) + "?reason=Anna+rang"), "a form's alone"
    assert {"no-store", "private"} <= set(answer.headers["Cache-Control"].replace(" ", "").split(","))
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name != "django.db.backends")
    for private in ("Anna rang", *SAID["words"], *SAID["customer"]):
        assert private not in logged
    assert set(reader.cookies) <= {"sessionid", "csrftoken"}
    assert not any("Anna" in str(value) for value in reader.session.values())


def test_masking_costs_one_query_at_most(clock: Any, reader: Client, told: OpenedSession) -> None:
    """Of a session that nobody has touched for as long, none: its row says so."""
    address = url("events", told.session_id)
    counts = []
    for minutes in (0, 11):
        clock.shift(minutes * MINUTE)
        with CaptureQueriesContext(connection) as queries:
            text(reader, address)
        counts.append(len(queries))
    assert counts[0] == counts[1] + 1
    for group in GROUPS:
        reveal(reader, told.session_id, group)
    with CaptureQueriesContext(connection) as queries:
        text(reader, address)
    assert len(queries) == counts[0]
