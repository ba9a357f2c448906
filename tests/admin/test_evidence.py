"""The evidence page of a session and its download, and the page that makes bundles (A2, A9)."""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.admin import exports
from agent_sessions.audit.bundle import verify_bundle
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.identity import SYSTEM, Agent
from agent_sessions.exceptions import SessionBusy
from agent_sessions.models import Session, SiteEvent
from agent_sessions.selectors import Subject
from agent_sessions.services import OpenedSession
from agent_sessions.services.erasing import Grounds, erase
from tests.admin.conftest import SECRET, person, reveal, text, url
from tests.buying import CUSTOMER, INSTRUCTIONS, PURPOSE, REASON, Bought, asked_for
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.shopping import line, variables
from tests.store.calling import counting as counting
from tests.store.calling import shop as shop

pytestmark = pytest.mark.django_db
PRIVATE = (PURPOSE, REASON, "She drinks tea")
HOSTILE = "<script>alert(1)</script>"


def words(page: str) -> str:
    """The text of a page's own part, on one line."""
    own = page.split('id="content-main"')[1].split("<footer")[0]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", own)))


def downloaded(response: Any) -> bytes:
    """What a download is, which says beforehand how long it will be."""
    sent = b"".join(response.streaming_content)
    assert response.headers["Content-Length"] == str(len(sent))
    return sent


@pytest.fixture
def auditor(db: None) -> Client:
    """Somebody who may see evidence and export it, and nothing of what people said."""
    return person("max", "view_session", "view_session_evidence", "export_session_evidence")


@pytest.fixture
def officer(db: None) -> Client:
    """Somebody who may see what people said, too."""
    return person("eva", "view_session", "view_session_content", "view_session_evidence", "export_session_evidence")


def test_an_order_reads_as_a_sheet(auditor: Client, bought: Bought) -> None:
    """A2: policies and limits, price and stock with their times, approval, time to review, what was shown, payments."""
    told = words(text(auditor, f"{url('evidence', bought.session_id)}?order=A-1"))
    for said in (
        "Order A-1", "May spend 200.00 EUR at most", "Rule large-orders NeedsHuman", "over 2000",
        "5 2026-03-02 10:03:00 Request refused by Agent, checkout refused large-orders 403 policy_denied",
        "Mug mug 2 12.50 EUR 2026-03-02 10:01:00 2", "Total 25.00 EUR", "mug 10 2026-03-02 10:02:00 3",
        "25.00 EUR used by Shopper for checkout, cart of version 5, asked by rule large-orders",
        "26 min to review, 1 min taken from first seeing it", "Approval page cart of version 5, first seen",
        "Checkout page cart of version 8", "Mug 2 × 12.50 EUR 25.00 EUR", "tok_p1", "Visa •••• 4242",
        "insufficient_funds",
        "Order A-1 event 14, cart of version 8", "5 min taken",
        "The cart that was approved is this one, in all that was shown",
        "Proof verified", "Events checked 14", "2 more calls were allowed because no rule was about them",
    ):  # fmt: skip
        assert said in told, told


def test_what_is_personal_is_withheld_until_all_is_revealed(auditor: Client, officer: Client, bought: Bought) -> None:
    """A9"""
    address = f"{url('evidence', bought.session_id)}?order=A-1"
    reveal(officer, bought.session_id, "words", "agent")
    for client in (auditor, officer):
        page = text(client, address)
        for private in PRIVATE:
            assert private not in page
        assert "withheld: what is personal was not asked for" in page
        assert client.post(address, {"reason": "Case 4"}).status_code == 405
    assert not SiteEvent.objects.exists()

    reveal(officer, bought.session_id, "customer")
    seq = selectors.read_head(bought.session_id).head_seq
    shown = text(officer, address)
    for private in PRIVATE:
        assert private in shown
        assert private not in text(auditor, address)
    event = json.loads(bytes(SiteEvent.objects.get().canonical))
    user = officer.session["_auth_user_id"]
    assert (event["kind"], event["actor"], event["params"]["reason"]) == (
        "evidence.disclosed",
        f"staff:{user}",
        f"as event {seq} of the session's history says",
    )


def test_the_download_is_the_document(auditor: Client, officer: Client, bought: Bought) -> None:
    """A2: whole, with the artifact, and with what is personal only while that is revealed."""
    address = url("evidence", bought.session_id)
    response = auditor.get(f"{address}?payment=p2&as=json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Disposition"] == f'attachment; filename="evidence-{bought.session_id}.json"'
    expected = services.get_evidence(bought.session_id, Subject("payment", "p2"))
    sent = downloaded(response)
    assert sent == services.evidence_bytes(expected)
    assert REASON not in sent.decode()
    reveal(officer, bought.session_id)
    opened = officer.get(f"{address}?order=A-1&as=json")
    assert json.loads(downloaded(opened))["approvals"][0]["reason"] == REASON


def test_nothing_leaves_before_it_is_recorded(officer: Client, bought: Bought, monkeypatch: pytest.MonkeyPatch) -> None:
    """A9"""
    reveal(officer, bought.session_id)
    monkeypatch.setattr("agent_sessions.services.evidence.record", refuse)
    page = officer.get(f"{url('evidence', bought.session_id)}?as=json")
    assert (page.status_code, page.streaming) == (409, False)
    assert PURPOSE not in page.content.decode()


def refuse(*_: object) -> None:
    raise SessionBusy("The site's chain")


def test_a_list_that_is_cut_says_so(auditor: Client, bought: Bought, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sheet that left out what it does not show would be wrong on paper."""
    address = url("evidence", bought.session_id)
    cut = "This page has the first 1 of each kind. The download has all."
    assert "of each kind" not in words(text(auditor, address))
    monkeypatch.setattr("agent_sessions.admin.evidence_rows.MOST", 1)
    told = words(text(auditor, address))
    assert cut in told
    assert "insufficient_funds" in told, "the first attempt to pay"
    assert "tok_p2" not in told
    assert len(json.loads(downloaded(auditor.get(f"{address}?as=json")))["payments"]) == 2


@pytest.mark.parametrize("codenames", [(), ("view_session",), ("view_session", "view_session_content"),
                                       ("view_session_evidence", "export_session_evidence")])  # fmt: skip
def test_it_needs_a_permission_of_its_own(bought: Bought, codenames: tuple[str, ...]) -> None:
    client = person("pat", *codenames)
    address = url("evidence", bought.session_id)
    for one in (address, f"{address}?as=json", url("export")):
        assert client.get(one).status_code == 403
    assert client.post(url("export"), {"reason": "x", "order": "A-1"}).status_code == 403
    if "view_session" in codenames:
        assert "evidence/" not in text(client, url("change", bought.session_id))
        assert url("export") not in text(client, url("changelist"))


def test_strangers_are_sent_to_log_in(client: Client, bought: Bought) -> None:
    for address in (url("evidence", bought.session_id), url("export")):
        assert client.get(address).headers["Location"].startswith("/admin/login/")


def test_it_is_linked_from_the_session_and_the_list(auditor: Client, bought: Bought) -> None:
    assert url("evidence", bought.session_id) in text(auditor, url("change", bought.session_id))
    assert url("export") in text(auditor, url("changelist"))
    page = text(auditor, url("evidence", bought.session_id))
    for query in ("order=A-1", "payment=p1", "payment=p2", f"decision={bought.approval}"):
        assert f'href="?{query}"' in page
    assert f"{url('export')}?sessions={bought.session_id}" in page


@pytest.mark.parametrize("query", ["order=B-9", "payment=p9", "decision=99", "decision=x"])
def test_a_subject_that_there_is_not_is_said(auditor: Client, bought: Bought, query: str) -> None:
    page = text(auditor, f"{url('evidence', bought.session_id)}?{query}", 404)
    assert "There is no such evidence" in page
    assert f"Session {bought.session_id} has" in page


def test_hostile_text_is_text(auditor: Client, officer: Client, opened: Callable[..., OpenedSession]) -> None:
    """Scripts and marks that turn the direction of text, in everything that agents and shoppers write."""
    rtl = f"{HOSTILE}\u202egpj"
    one = opened(agent=Agent(HOSTILE, HOSTILE, HOSTILE), purpose=rtl, merchant=HOSTILE, parent_request=HOSTILE)
    patch: Any = {
        "shopping": {
            "lines": {HOSTILE: line(title=rtl, variant=rtl, item=rtl)},
            "discounts": {"d": {"amount": -1, "currency": "EUR", "code": rtl}},
            "delivery": {"method": rtl, "label": rtl},
            "quote": {"total": 100, "currency": "EUR"},
        },
        "decisions": {
            "payments": {
                HOSTILE: {"method": rtl, "outcome": "declined", "code": rtl, "provider_ref": rtl, "brand": rtl}
            },
            "recommendations": {"r": {"item": rtl, "reason": rtl}},
            "fallbacks": {"f": {"tried": rtl, "outcome": rtl}},
        },
        "stale": {"parts": {HOSTILE: {"kind": "item", "ref": rtl, "what": rtl, "since": "2026-03-02T10:00:00Z"}}},
    }
    services.change_session(one.session_id, expected_version=1, patch=patch, note=rtl)
    reveal(officer, one.session_id)
    for query in ("", "?decision=2", "?payment=" + HOSTILE):
        address = url("evidence", one.session_id) + query
        for page in (text(auditor, address), text(officer, address)):
            assert "<script>alert" not in page
            assert "\u202e" not in page
            assert html.escape(HOSTILE) in page


def test_the_page_carries_nothing_inline(auditor: Client, bought: Bought) -> None:
    """CSP: the style sheet for the screen and for print is a file."""
    page = text(auditor, url("evidence", bought.session_id))
    assert "agent_sessions/evidence.css" in page
    assert " style=" not in page.split('id="content-main"')[1]
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", page)
    assert "evidence.css" not in text(auditor, url("change", bought.session_id))


def test_of_a_live_session_it_says_that_nothing_is_sealed(
    auditor: Client, opened: Any, selling: Any, tick: Any
) -> None:
    one, asked = asked_for(opened, tick)
    told = words(text(auditor, f"{url('evidence', one.session_id)}?decision={asked.approval_id}"))
    assert "The session has not ended, so nobody has signed it yet" in told
    assert "Nothing was handed over to be paid" in told
    assert Session.objects.get().sealed_at is None


def test_what_was_erased_says_so(officer: Client, bought: Bought) -> None:
    """A7"""
    grounds = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
    erase(selectors.read_head(bought.session_id), frozenset({"personal", "content"}), grounds, actor=SYSTEM)
    page = text(officer, url("evidence", bought.session_id))
    assert "Why it paused erased under rule 'personal' on 2026-03-02" in words(page)
    assert words(page).count("erased under rule 'personal' on 2026-03-02") >= 6
    assert 'name="reason"' not in page
    for private in (*PRIVATE, INSTRUCTIONS):
        assert private not in page


def test_a_quarantined_session_says_why_there_is_none(auditor: Client, quarantined: OpenedSession) -> None:
    assert "This session is quarantined" in text(auditor, url("evidence", quarantined.session_id), 409)


def test_the_page_costs_the_same_however_long_the_history(auditor: Client, opened: Any, selling: Any) -> None:
    counts = []
    for changes in (1, 30):
        one, _ = asked_for(opened, lambda: None)
        for _ in range(changes):
            version = selectors.read_head(one.session_id).version
            services.change_session(one.session_id, expected_version=version, patch=variables(n=version))
        services.end_session(one.session_id)
        with CaptureQueriesContext(connection) as queries:
            text(auditor, url("evidence", one.session_id))
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 30


# Bundles


def bundle_of(response: Any) -> bytes:
    assert response.status_code == 200, response.content.decode()
    assert response.headers["Content-Type"] == "application/zip"
    assert "no-store" in response.headers["Cache-Control"]
    return b"".join(response.streaming_content)


def test_a_bundle_is_downloaded_for_a_selection(auditor: Client, officer: Client, bought: Bought) -> None:
    """A2, A9: checked as the auditor does; with what is personal by those who may."""
    for client, form, personal in (
        (auditor, {"order": "A-1"}, False),
        (auditor, {"sessions": str(bought.session_id), "start": "2026-03-02", "end": "2026-03-03"}, False),
        (officer, {"consumer": CUSTOMER, "personal": "yes"}, True),
    ):
        raw = bundle_of(client.post(url("export"), {"reason": "Audit 2026", **form}))
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            everything = b"".join(archive.read(name) for name in archive.namelist())
        assert (PURPOSE.encode() in everything) is personal
        keys = [read_public_key(key.public_key) for key in services.signing_keys()]
        assert verify_bundle(io.BytesIO(raw), keys).trusted
    assert SiteEvent.objects.filter(kind="evidence.exported").count() == 3


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"order": "B-9", "reason": "Audit"}, 422, "No session fits that"),
        ({"reason": "Audit"}, 422, "Name sessions, a consumer"),
        ({"order": "A-1", "reason": ""}, 422, "Say in 1 to 200 characters why"),
        ({"sessions": "seven", "reason": "Audit"}, 422, "Write whole ids of sessions"),
        ({"start": "2026-13-01", "reason": "Audit"}, 422, "Write a day as 2026-12-31"),
        ({"start": "2026-03-03", "end": "2026-03-02", "reason": "Audit"}, 422, "ends before it begins"),
        ({"order": "A-1", "reason": "Audit", "personal": "yes"}, 403, ""),
    ],
)
def test_a_wrong_selection_makes_no_bundle(
    auditor: Client, bought: Bought, form: dict[str, str], status: int, said: str
) -> None:
    response = auditor.post(url("export"), form)
    assert response.status_code == status
    assert said in response.content.decode()
    assert not SiteEvent.objects.exclude(kind="action.refused").exists()


def test_more_than_a_browser_waits_for_is_refused(
    auditor: Client, bought: Bought, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened()
    monkeypatch.setattr(exports, "LIMIT", 1)
    response = auditor.post(url("export"), {"start": "2026-03-02", "reason": "Audit"})
    assert response.status_code == 422
    assert "More than 1 sessions fit that" in response.content.decode()


def test_a_bundle_with_what_is_personal_reveals_its_sessions_to_who_makes_it(
    auditor: Client, officer: Client, bought: Bought, shopped: OpenedSession
) -> None:
    """A9: everybody who looks at one of them sees to whom it is shown, until when."""
    form = {"sessions": f"{bought.session_id} {shopped.session_id}", "reason": "Complaint 12"}
    bundle_of(officer.post(url("export"), form))
    assert "revealed" not in text(auditor, url("change", shopped.session_id)), "nothing personal was asked for"
    assert "She drinks tea" not in text(officer, url("change", bought.session_id))
    raw = bundle_of(officer.post(url("export"), {**form, "personal": "yes"}))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert PURPOSE.encode() in archive.read(f"sessions/{bought.session_id}/artifact.json")
        assert SECRET.encode() in archive.read(f"sessions/{shopped.session_id}/chain.json")
    who = officer.session["_auth_user_id"]
    for one in (bought, shopped):
        seen = words(text(auditor, url("change", one.session_id)))
        assert f"revealed Staff {who} sees what was said, what is known of the customer, what the agent kept" in seen
        assert "Content revealed" in text(auditor, url("timeline", one.session_id))
        assert "Complaint 12" not in text(auditor, url("timeline", one.session_id))
        assert "Complaint 12" in text(officer, url("timeline", one.session_id))


def test_who_may_not_reveal_gets_no_bundle_with_what_is_personal(
    auditor: Client, officer: Client, shopped: OpenedSession
) -> None:
    form = {"sessions": str(shopped.session_id), "reason": "Audit", "personal": "yes"}
    before = selectors.read_head(shopped.session_id).head_seq
    assert auditor.post(url("export"), form).status_code == 403
    assert selectors.read_head(shopped.session_id).head_seq == before
    assert 'name="personal"' not in text(auditor, url("export"))
    told = words(text(officer, url("export")))
    assert "Each session is revealed to you for 10 minutes. Its history says so" in told


def test_a_reason_with_a_cards_number_reveals_nothing_and_is_not_repeated(
    officer: Client, shopped: OpenedSession
) -> None:
    before = selectors.read_head(shopped.session_id).head_seq
    form = {"sessions": str(shopped.session_id), "reason": "4111 1111 1111 1111", "personal": "yes"}
    response = officer.post(url("export"), form)
    assert response.status_code == 422
    page = response.content.decode()
    assert "Leave out what looks like a card’s number" in page
    assert "4111" not in page
    assert 'name="personal" value="yes" aria-describedby="id_personal_help" checked' in page
    assert selectors.read_head(shopped.session_id).head_seq == before


def test_the_form_keeps_what_was_typed_as_text(auditor: Client, bought: Bought) -> None:
    response = auditor.post(url("export"), {"agent": HOSTILE, "reason": HOSTILE})
    assert html.escape(HOSTILE) in response.content.decode()
    assert "<script>alert" not in response.content.decode()
    assert str(bought.session_id) in text(auditor, f"{url('export')}?sessions={bought.session_id}")
