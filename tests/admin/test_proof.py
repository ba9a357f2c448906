"""What shows that a session's history is what was written, on a page that says what was checked and when (A3, A4)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import services
from agent_sessions.audit.events import event_hash
from agent_sessions.audit.notes import Note, cosign, parse_note
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.crypto.signing import key_id, sign
from agent_sessions.models import Artifact, AuditEvent, LogLeaf, Session, SiteKey, TreeHead
from agent_sessions.selectors import proofs
from agent_sessions.services import OpenedSession
from tests.admin.conftest import person, text, url
from tests.golden.make_log import WITNESS_KEY, WITNESS_PRIVATE
from tests.sequenced import DISK
from tests.tampering import Tamper, flipped

pytestmark = pytest.mark.django_db


def told(client: Client, one: OpenedSession, query: str = "") -> dict[str, str]:
    """The words of the verdict (``""``) and of each box, by its title."""
    page = text(client, url("proof", one.session_id) + query)
    own = page.partition('class="ags-notice ags-verdict')[2]
    verdict, *boxes = re.split(r'<section class="module ags-box"', own)
    found = {"": _words(verdict)}
    for box in boxes:
        title = re.search(r"<h2[^>]*>(.*?)</h2>", box)
        assert title is not None
        found[html.unescape(title[1])] = _words(box)
    return found


def _words(part: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", part.partition(">")[2])))


@pytest.fixture
def logged(ended: OpenedSession, tmp_path: Any, configure: Callable[..., None]) -> OpenedSession:
    """An ended session that is in the log, whose tree head a sink keeps and a witness has co-signed."""
    (tmp_path / "heads").mkdir()
    configure(LOG_SINKS=[{"name": "safe", "class": DISK, "directory": tmp_path / "heads"}])
    services.sequence_log()
    line = "— witness.example " + "AAAAAAAAAABpoFbQ" + "A" * 84 + "AA==\n"
    TreeHead.objects.update(cosignatures=[line])
    return ended


def test_an_ended_session_in_the_log_is_verified_in_all_parts(staff: Client, logged: OpenedSession) -> None:
    parts = told(staff, logged)
    assert "All that was checked is as it was written" in parts[""]
    chain, seal, log = parts["Chain of events"], parts["Signed record"], parts["Place in the log"]
    assert "verified All 8 events are there, in their order" in chain
    assert "events 1 to 8 of 8" in chain
    assert "verified Both signatures are good, and they are over the events that are stored: 1 to 8." in seal
    public = bytes(SiteKey.objects.get(purpose="artifact").public)
    assert f"Signed with key {key_id(public)}" in seal
    leaf = LogLeaf.objects.get(session=logged.session_id)
    head = TreeHead.objects.get()
    assert "verified The session is in the log as it is stored here, up to its last event." in log
    assert f"Leaf {leaf.index} (counted from 0), for event 8 Tree head of {head.size} leaves" in log
    assert "generation 1" in log
    assert "to safe" in log
    assert "Co-signed witness.example 26 Feb 2026" in log
    assert "not checked: its key is not known here" in log


@pytest.fixture(params=["beside the heads", "asked itself"])
def known_witness(request: pytest.FixtureRequest, tmp_path: Any, configure: Callable[..., None]) -> None:
    """A witness whose key the settings name: of a directory's sink, or of a sink that is the witness."""
    sinks: dict[str, dict[str, Any]] = {
        "beside the heads": {"class": DISK, "directory": tmp_path / "heads", "witnesses": [WITNESS_KEY.text]},
        "asked itself": {"class": "agent_sessions.sinks.WitnessSink", "url": "https://w.example",
                         "key": WITNESS_KEY.text},
    }  # fmt: skip
    (tmp_path / "heads").mkdir(exist_ok=True)
    configure(LOG_SINKS=[{"name": "w", **sinks[request.param]}])


def cosigned(text: str) -> None:
    line = cosign(text, WITNESS_KEY, partial(sign, WITNESS_PRIVATE), time=1_772_107_728)
    TreeHead.objects.update(
        cosignatures=[*TreeHead.objects.get().cosignatures, str(Note(text, (line,)))[len(text) + 1 :]]
    )


def test_a_witness_whose_key_is_named_is_checked_again(
    staff: Client, logged: OpenedSession, known_witness: None
) -> None:
    """A4: another witness beside it, whose key nobody named, is told apart."""
    cosigned(parse_note(TreeHead.objects.get().note).text)
    parts = told(staff, logged)
    assert "witness.example 26 Feb 2026" in parts["Place in the log"]
    assert parts["Place in the log"].count("not checked: its key is not known here") == 1
    assert re.search(r"witness\.example/w1 26 Feb 2026.{0,40}? verified", parts["Place in the log"])
    assert "All that was checked is as it was written" in parts[""]


def test_a_cosignature_of_another_head_is_wrong(staff: Client, logged: OpenedSession, known_witness: None) -> None:
    """A4: stored beside this head by somebody who may write the database."""
    text = parse_note(TreeHead.objects.get().note).text
    cosigned(text + "another line\n")
    parts = told(staff, logged)
    assert "Something is wrong" in parts[""]
    assert re.search(r"witness\.example/w1 26 Feb 2026.{0,40}? does not verify", parts["Place in the log"])
    assert "has a cosignature of witness.example/w1 that this witness did not make" in parts["Place in the log"]


def test_sinks_that_cannot_be_made_make_no_key_known(staff: Client, logged: OpenedSession, configure: Any) -> None:
    configure(LOG_SINKS=[{"name": "gone", "class": "no.such.Sink"}])
    assert "not checked: its key is not known here" in told(staff, logged)["Place in the log"]


def test_a_running_session_says_what_is_still_to_come(staff: Client, live: OpenedSession) -> None:
    parts = told(staff, live)
    assert "verified All 7 events" in parts["Chain of events"]
    assert "not yet It is made and signed when the session ends." in parts["Signed record"]
    assert "not yet This site keeps no log yet." in parts["Place in the log"]
    services.sequence_log()
    services.record_event(live.session_id, kind="cart.viewed")
    assert "up to event 7 of 8; later events follow" in told(staff, live)["Place in the log"]


def test_in_the_log_but_in_no_head_yet(staff: Client, live: OpenedSession, opened: Any, configure: Any) -> None:
    services.sequence_log()
    one = opened()
    assert "The session is not in the log yet." in told(staff, one)["Place in the log"]
    configure(LOG_SINKS=[{"name": "fake", "class": "tests.sequenced.FakeSink", "store": {"down": True}}])
    services.sequence_log()
    assert "waits for the next run" in told(staff, one)["Place in the log"]


def changed_event(one: OpenedSession) -> None:
    tamper = Tamper(one.session_id)
    event = tamper.events.get(seq=3)
    tamper.event(3, canonical=bytes(event.canonical).replace(b'"actor":"agent"', b'"actor":"staff"'))


def last_events_gone(one: OpenedSession) -> None:
    Tamper(one.session_id).delete(Tamper(one.session_id).events.filter(seq__gt=6))


def another_signature(one: OpenedSession) -> None:
    sealed = Artifact.objects.get(pk=one.session_id)
    Artifact.objects.filter(pk=one.session_id).update(signature=flipped(sealed.signature))


def signatures_gone(one: OpenedSession) -> None:
    Artifact.objects.filter(pk=one.session_id).delete()


def another_envelope(one: OpenedSession) -> None:
    Artifact.objects.filter(pk=one.session_id).update(envelope=b'{"root_hash":"00"}')


def history_written_anew(one: OpenedSession) -> None:
    """Another history of the same length, chained and with the row's head moved to it, as its writer could make it."""
    tamper, before = Tamper(one.session_id), ""
    for event in tamper.events.order_by("seq"):
        document: Any = parse_strict(bytes(event.canonical))
        document |= {"prev_hash": before, "duration_ms": 7} if event.seq > 2 else {}
        canonical = canonical_bytes(document)
        before = event_hash(canonical)
        tamper.event(event.seq, canonical=canonical)
    tamper.session(head_hash=bytes.fromhex(before))


def rest_of_the_log_gone(one: OpenedSession) -> None:
    assert LogLeaf.objects.exclude(session=one.session_id).delete()[0]


def head_of_another_key(one: OpenedSession) -> None:
    SiteKey.objects.filter(purpose="log").update(public=b"\x01" * 32)


@pytest.mark.parametrize(
    ("harm", "part", "said"),
    [
        (changed_event, "Chain of events", "event 4.prev_hash is not the hash of the event before it"),
        (changed_event, "Signed record", "root hash is not that of the events that were signed"),
        (last_events_gone, "Chain of events", "event 8 is not the one that the session ends with"),
        (another_signature, "Signed record", "signature does not fit the root hash and the key"),
        (another_envelope, "Signed record", "envelope is not about the events that were signed"),
        (signatures_gone, "Signed record", "the signatures are missing"),
        (history_written_anew, "Place in the log", "event 8 is not the one that the log has"),
        (rest_of_the_log_gone, "Place in the log", "The audit log is damaged"),
        (head_of_another_key, "Place in the log", "tree head is not signed by this site"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(
    staff: Client, logged: OpenedSession, harm: Callable[[OpenedSession], None], part: str, said: str
) -> None:
    harm(logged)
    parts = told(staff, logged)
    assert "Something is wrong" in parts[""]
    assert said in parts[part], parts
    assert " wrong " in parts[part]
    assert Session.objects.get(pk=logged.session_id).quarantined_at is None, "looking closes nothing"


def test_a_long_chain_is_checked_as_far_as_a_page_may_take(
    staff: Client, logged: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "SECONDS", -1.0)
    parts = told(staff, logged)
    assert "Nothing is wrong with what was checked" in parts[""]
    assert "checked in part The first 1 of 8 events are in order" in parts["Chain of events"]
    assert f"manage.py verify_sessions --session {logged.session_id}" in parts["Chain of events"]
    for part in ("Signed record", "Place in the log"):
        assert "checked in part" in parts[part]
        assert "verified" not in parts[part]


def test_the_content_is_compared_when_asked_for(
    staff: Client, live: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Content" not in told(staff, live)
    assert "verified Every version, message and snapshot" in told(staff, live, "?content=1")["Content"]
    tamper = Tamper(live.session_id)
    tamper.version(2, patch=flipped(tamper.versions.get(number=2).patch))
    assert "Something is wrong" not in told(staff, live)[""]
    parts = told(staff, live, "?content=1")
    assert "Something is wrong" in parts[""]
    assert "version.patch 2 does not open" in parts["Content"]
    monkeypatch.setattr("agent_sessions.admin.proof.MOST_READ", 3)
    page = text(staff, url("proof", live.session_id) + "?content=1")
    assert "Check the content too" not in page
    assert 'id="ags-check-content"' not in page


def test_looking_writes_nothing_and_costs_the_same_for_a_longer_session(
    staff: Client, live: OpenedSession, opened: Callable[..., OpenedSession]
) -> None:
    counts = []
    text(staff, url("proof", live.session_id))
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            text(staff, url("proof", live.session_id))
        counts.append(len(queries))
        assert not [query for query in queries if re.match(r"(INSERT|UPDATE|DELETE)", query["sql"])]
        for _ in range(20):
            services.record_event(live.session_id, kind="cart.viewed")
    assert counts[0] == counts[1] <= 14
    services.end_session(live.session_id)
    Artifact.objects.all().delete()
    Session.objects.update(sealed_at=None)
    events = AuditEvent.objects.count()
    assert "The next run of expire_sessions signs its record" in told(staff, live)["Signed record"]
    assert (Artifact.objects.count(), AuditEvent.objects.count()) == (0, events)


def test_it_leads_to_what_can_be_taken_along(staff: Client, ended: OpenedSession) -> None:
    page = text(staff, url("proof", ended.session_id))
    assert f'href="{url("artifact", ended.session_id)}">Download the signed record' in page
    assert "Evidence, to read" not in page
    assert "Bundle for an auditor" not in page
    officer = person("eva", "view_session", "view_session_evidence", "export_session_evidence")
    page = text(officer, url("proof", ended.session_id))
    assert f'href="{url("evidence", ended.session_id)}">Evidence, to read' in page
    assert f"{url('export')}?sessions={ended.session_id}" in page
    for term in ("chain", "artifact", "log"):
        assert f'href="#ags-term-{term}"' in page
        assert f'id="ags-term-{term}"' in page
