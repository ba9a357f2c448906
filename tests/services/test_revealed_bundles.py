"""A bundle with what is personal reveals each session to who makes it: its history says so before it is in it (A9)."""

from __future__ import annotations

import json
import uuid
from typing import Any

import msgspec
import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.domain.privacy import GROUPS
from agent_sessions.exceptions import InvalidValue, PaymentDataRefused, SessionBusy
from agent_sessions.models import AuditEvent, SiteEvent
from agent_sessions.services import OpenedSession, bundles
from agent_sessions.services.erasing import Grounds, erase
from tests.buying import PURPOSE, Bought
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.services.test_bundles import STAFF, checked, files_of, made
from tests.stored import is_stored

pytestmark = pytest.mark.django_db
SAID = "My knee hurts"


@pytest.fixture
def talking(bought: Bought, opened: Any) -> OpenedSession:
    """A session that goes on, opened after ``bought``."""
    one: OpenedSession = opened(purpose="A gift for Anna")
    services.add_message(one.session_id, role="user", content=SAID)
    return one


def of(*sessions: Any) -> selectors.Selection:
    return services.select_evidence(sessions=[one.session_id for one in sessions])


def seen(session_id: uuid.UUID) -> set[tuple[str, str]]:
    return {(one.actor, one.group) for one in selectors.reveals(selectors.read_head(session_id))}


def last(session_id: uuid.UUID) -> dict[str, Any]:
    return msgspec.convert(selectors.events(session_id, limit=1000)[-1], dict)


def lines_of(written: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files_of(written)["index.jsonl"].splitlines()]


def test_every_session_says_to_whom_and_why_and_is_whole(bought: Bought, talking: OpenedSession) -> None:
    bundle, written = made(of(bought, talking), reveal=True, reason="Complaint 12")
    files = files_of(written)
    for one in (bought, talking):
        event = last(one.session_id)
        assert (event["kind"], event["actor"], event["params"]["groups"]) == (
            "content.revealed", "staff:17", [*GROUPS],
        )  # fmt: skip
        assert seen(one.session_id) == {("staff:17", group) for group in GROUPS}
        assert selectors.private_values(one.session_id, event["seq"]) == {"reason": "Complaint 12"}
        assert selectors.verify_session(one.session_id).ok
    assert PURPOSE.encode() in files[f"sessions/{bought.session_id}/artifact.json"]
    assert SAID.encode() in files[f"sessions/{talking.session_id}/chain.json"]
    assert [line["personal"] for line in lines_of(written)] == [True, True]
    assert json.loads(files["manifest.json"])["personal"] is True
    told = json.loads(bytes(SiteEvent.objects.get().canonical))["params"]
    assert (told["personal"], told["reason"], told["bundle"]) == (True, "Complaint 12", str(bundle.bundle_id))
    assert checked(written).trusted


def test_the_proof_in_it_tells_of_its_own_reveal(bought: Bought, talking: OpenedSession) -> None:
    """Said before it was read: the event is in what is handed out."""
    files = files_of(made(of(bought, talking), reveal=True)[1])
    for name in (f"sessions/{bought.session_id}/artifact.json", f"sessions/{talking.session_id}/chain.json"):
        assert b"content.revealed" in files[name]


def test_what_was_revealed_before_is_told_again_with_this_reason(talking: OpenedSession) -> None:
    services.reveal_content(talking.session_id, groups=GROUPS, reason="Case 4", actor=STAFF)
    made(of(talking), reveal=True, reason="Complaint 12")
    seq = selectors.read_head(talking.session_id).head_seq
    assert selectors.private_values(talking.session_id, seq) == {"reason": "Complaint 12"}


def test_without_asking_for_it_nothing_is_opened_even_of_what_is_revealed(talking: OpenedSession) -> None:
    """Who looks at one session for a complaint does not hand its words to an auditor unawares."""
    services.reveal_content(talking.session_id, groups=GROUPS, reason="Case 4", actor=STAFF)
    before = AuditEvent.objects.count()
    _, written = made(of(talking))
    assert SAID.encode() not in b"".join(files_of(written).values())
    assert [line["personal"] for line in lines_of(written)] == [False]
    assert AuditEvent.objects.count() == before


def test_an_operators_export_is_told_in_the_sites_chain_alone(talking: OpenedSession) -> None:
    _, written = made(of(talking), personal=True, actor=SYSTEM)
    assert SAID.encode() in b"".join(files_of(written).values())
    assert seen(talking.session_id) == set()


def test_what_is_erased_or_quarantined_stays_masked_and_the_index_says_so(
    bought: Bought, talking: OpenedSession, quarantined: OpenedSession
) -> None:
    """A7, R5"""
    grounds = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
    erase(selectors.read_head(bought.session_id), frozenset({"personal"}), grounds, actor=SYSTEM)
    before = {one: selectors.read_head(one).head_seq for one in (bought.session_id, quarantined.session_id)}
    bundle, written = made(of(bought, talking, quarantined), reveal=True)
    lines = {line["session"]: line for line in lines_of(written)}
    assert lines[str(quarantined.session_id)] == {
        "session": str(quarantined.session_id), "standing": "unreadable", "problem": "session_quarantined",
    }  # fmt: skip
    assert lines[str(bought.session_id)]["personal"] is False
    assert lines[str(bought.session_id)]["erased"] == ["erased under rule 'personal' on 2026-03-02"]
    assert lines[str(talking.session_id)]["personal"] is True
    everything = b"".join(files_of(written).values())
    assert PURPOSE.encode() not in everything
    assert SAID.encode() in everything
    assert {one: selectors.read_head(one).head_seq for one in before} == before
    assert (bundle.sessions, bundle.unreadable) == (3, 1)
    assert checked(written).trusted


def test_a_refusal_half_way_makes_no_bundle_and_what_was_revealed_stays_told(
    bought: Bought, talking: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    reveal = bundles.reveal_content

    def busy(session_id: uuid.UUID, **facts: Any) -> services.Committed:
        if session_id == talking.session_id:
            raise SessionBusy(f"Session {session_id}")
        return reveal(session_id, **facts)

    monkeypatch.setattr(bundles, "reveal_content", busy)
    with pytest.raises(SessionBusy):
        made(of(bought, talking), reveal=True)
    assert seen(bought.session_id) == {("staff:17", group) for group in GROUPS}
    assert seen(talking.session_id) == set()
    assert not SiteEvent.objects.exists()


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"reason": "4111 1111 1111 1111 was charged"}, PaymentDataRefused),
        ({"reason": " "}, InvalidValue),
        ({"actor": SYSTEM}, InvalidValue),
        ({"actor": Actor("consumer")}, InvalidValue),
        ({"limit": 1}, InvalidValue),
    ],
)
def test_what_cannot_be_told_reveals_nothing(
    bought: Bought, talking: OpenedSession, facts: dict[str, Any], refusal: type[Exception]
) -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(refusal):
        made(of(bought, talking), reveal=True, **facts)
    assert AuditEvent.objects.count() == before
    assert not SiteEvent.objects.exists()
    assert not is_stored("4111 1111")


def test_a_reason_with_a_cards_number_is_refused_before_any_session_is_read(
    talking: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "file_evidence", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(PaymentDataRefused):
        made(of(talking), reason="4111 1111 1111 1111 was charged")
