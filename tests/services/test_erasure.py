"""Erasing a consumer over all their sessions, with a receipt (A7, GDPR Art. 17)."""

from __future__ import annotations

import json
import logging
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections

from agent_sessions import selectors, services
from agent_sessions.audit.receipts import digest, month_after
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason, Lineage, Origin, Status
from agent_sessions.exceptions import AgentSessionsError, ErasureUnknown, InvalidToken, InvalidValue, SessionBusy
from agent_sessions.models import Erasure, Session, SessionKey, SiteEvent
from agent_sessions.services import OpenedSession, erasure
from tests.conftest import MORNING
from tests.shopping import basket, line
from tests.stored import is_stored

pytestmark = pytest.mark.django_db

OFFICER = Actor("staff", "7")
WHO = "customer-4711"
DAY = timedelta(days=1)
BOTH = {"content", "personal"}


@pytest.fixture
def theirs(opened: Any) -> Any:
    """Open a session of the consumer, with a purpose and a basket; more facts as ``open_session`` takes them."""

    def open_one(who: str = WHO, **facts: Any) -> OpenedSession:
        consumer = services.consumer_pseudonym(who)
        state = basket(l1=line())
        return opened(**{"consumer": consumer, "purpose": "a gift for Zoe", "state": state, **facts})

    return open_one


def asked(**facts: Any) -> selectors.Receipt:
    return services.erase_consumer(WHO, **{"actor": OFFICER, **facts})


def ended(one: OpenedSession) -> OpenedSession:
    services.end_session(one.session_id)
    return one


def ordered(one: OpenedSession) -> OpenedSession:
    """Its family has led to an order: the content is evidence of that for a while."""
    Session.objects.filter(pk=one.session_id).update(ordered_at=MORNING)
    return one


def sessions(receipt: selectors.Receipt) -> dict[str, Any]:
    return dict(receipt.document["sessions"])  # type: ignore[arg-type]


def site_events() -> list[tuple[str, str, Any]]:
    rows = [json.loads(bytes(row.canonical)) for row in SiteEvent.objects.order_by("seq")]
    return [(row["kind"], row["actor"], row["params"]) for row in rows if row["kind"].startswith("erasure.")]


def test_all_sessions_are_erased_and_live_ones_ended_first(theirs: Any, clock: Any) -> None:
    """A7: over all sessions, whatever their status; the receipt says what became of each."""
    old, live, late = ended(theirs()), theirs(), theirs()
    somebody = ended(theirs("another"))
    clock.shift(timedelta(hours=3))
    with_time = theirs()

    receipt = asked()

    assert sessions(receipt).keys() == {str(one.session_id) for one in (old, live, late, with_time)}
    for one in (old, live, late, with_time):
        row = Session.objects.get(pk=one.session_id)
        assert (row.status, row.consumer) == (Status.ENDED.value, "")
        assert row.personal_erased_at == row.content_erased_at is not None
        assert not SessionKey.objects.filter(pk=one.session_id).exists()
        assert sessions(receipt)[str(one.session_id)].keys() == BOTH
        assert selectors.verify_session(one.session_id).problems == []
    assert Session.objects.get(pk=with_time.session_id).end_reason == EndReason.REVOKED.value
    assert Session.objects.get(pk=live.session_id).end_reason == EndReason.EXPIRED.value
    with pytest.raises(InvalidToken):
        selectors.authenticate(with_time.token)
    assert Session.objects.get(pk=somebody.session_id).personal_erased_at is None


def test_the_receipt_says_by_which_rule_when_and_until_when(theirs: Any, clock: Any, configure: Any) -> None:
    """A7: times, rule, basis, and the day from which no backup gives it back; nobody is named."""
    configure(ERASURE_HORIZON_DAYS=60)
    one = theirs()
    receipt = asked()
    document = json.loads(json.dumps(receipt.document))
    assert document["type"] == "agent-session-erasure-receipt/v1"
    assert document["erasure"] == str(receipt.erasure_id)
    assert (document["requested_by"], document["merchant"]) == ("staff:7", "default")
    assert document["requested_at"] == "2026-03-02T10:00:00.000000Z"
    assert document["due_at"] == "2026-04-02T10:00:00.000000Z"
    assert document["left"] == 0
    assert document["finished_at"] == "2026-03-02T10:00:00.000000Z"
    assert sessions(receipt)[str(one.session_id)]["personal"] == {
        "erased_at": "2026-03-02T10:00:00.000000Z",
        "rule": "request",
        "basis": "GDPR Art. 17",
        "unrecoverable_after": "2026-05-01",
    }
    assert selectors.get_receipt(receipt.erasure_id) == receipt
    assert services.consumer_pseudonym(WHO) not in json.dumps(document)


def test_the_site_tells_it_and_names_nobody(theirs: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A7: requested and finished, with ids alone; the reference and the pseudonym are nowhere afterwards."""
    theirs()
    with caplog.at_level(logging.DEBUG):
        receipt = asked()
    (requested, by, facts), (finished, _, told) = site_events()
    assert (requested, by, facts["erasure"]) == ("erasure.requested", "staff:7", str(receipt.erasure_id))
    assert (finished, told.pop("digest")) == ("erasure.finished", digest(receipt.document))
    assert told == {"erasure": str(receipt.erasure_id), "sessions": 1, "left": 0}
    for trace in (WHO, services.consumer_pseudonym(WHO)):
        assert not is_stored(trace)
        assert trace not in caplog.text


def test_a_minimum_period_keeps_the_content_until_its_day(theirs: Any, clock: Any) -> None:
    """A7: refused in parts, with the rule and the date; a job erases it once that is possible."""
    one = ordered(ended(theirs()))
    receipt = asked()

    outcome = sessions(receipt)[str(one.session_id)]
    assert outcome["content"] == {
        "refused": "minimum_period", "rule": "order_evidence", "possible_at": "2027-03-17T10:00:00.000000Z",
    }  # fmt: skip
    assert outcome["personal"]["rule"] == "request"
    assert (receipt.left, receipt.finished_at) == (1, MORNING)
    assert selectors.current_state(one.session_id).state["shopping"]
    assert "purpose" not in selectors.private_values(one.session_id, 1)

    clock.move_to(datetime.fromisoformat("2027-03-17T09:59:59+00:00"))
    assert services.finish_erasures() == {"finished": 0, "left": 0, "failed": 0, "overdue": 0}
    clock.move_to(datetime.fromisoformat("2027-03-17T10:00:00+00:00"))
    assert services.finish_erasures() == {"finished": 1, "left": 0, "failed": 0, "overdue": 0}
    done = selectors.get_receipt(receipt.erasure_id)
    assert done.left == 0
    assert sessions(done)[str(one.session_id)]["content"]["erased_at"] == "2027-03-17T10:00:00.000000Z"
    assert sessions(done)[str(one.session_id)]["personal"] == outcome["personal"]
    assert [one["left"] for one in done.document["passes"]] == [1, 0]  # type: ignore[union-attr, index, call-overload]
    assert [kind for kind, _, _ in site_events()] == ["erasure.requested", "erasure.finished", "erasure.finished"]


def test_a_legal_hold_keeps_all_of_it_until_it_is_lifted(theirs: Any, clock: Any) -> None:
    """A6, A7: refused with the hold and its review date; other sessions are erased."""
    kept, gone = ended(theirs()), ended(theirs())
    hold = services.place_legal_hold(
        scope="session", session_id=kept.session_id, matter="Case 12", actor=OFFICER, review_at=MORNING + 9 * DAY
    )
    receipt = asked()
    refused = {"refused": "legal_hold", "holds": [str(hold.hold_id)], "review_at": "2026-03-11T10:00:00.000000Z"}
    assert sessions(receipt)[str(kept.session_id)] == {"content": refused, "personal": refused}
    assert sessions(receipt)[str(gone.session_id)]["content"]["rule"] == "request"
    assert selectors.private_values(kept.session_id, 1)["purpose"] == "a gift for Zoe"
    assert receipt.left == 2

    assert services.finish_erasures()["left"] == 0, "while it is held nobody tries"
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=OFFICER)
    assert services.finish_erasures()["finished"] == 1
    assert Session.objects.get(pk=kept.session_id).content_erased_at is not None
    assert not is_stored(services.consumer_pseudonym(WHO))


def test_a_receipt_that_is_shown_can_be_checked(theirs: Any, clock: Any) -> None:
    """A7: against the histories of the site and of the sessions; the one of an earlier pass stays genuine."""
    done, kept = ended(theirs()), ordered(ended(theirs()))
    first = json.loads(json.dumps(asked().document))
    assert selectors.check_receipt(first) == []
    clock.shift(380 * DAY)
    services.finish_erasures()
    last = json.loads(json.dumps(selectors.get_receipt(Erasure.objects.get().pk).document))
    assert [selectors.check_receipt(one) for one in (first, last)] == [[], []]

    def altered(path: list[str], value: object) -> list[str]:
        document = json.loads(json.dumps(last))
        place = document
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        return selectors.check_receipt(document)

    one, other = str(done.session_id), str(kept.session_id)
    unknown = "The site's history tells of no such receipt"
    (problem,) = altered(["sessions", one, "content", "rule"], "another")
    assert problem.startswith(unknown)
    problem, time = altered(["sessions", other, "personal", "erased_at"], "2026-03-02T09:00:00.000000Z")
    assert problem.startswith(unknown)
    assert time == f"The history of session {other} does not tell that its personal was erased then."
    assert "another merchant" in altered(["merchant"], "another")[0]
    assert altered(["erasure"], str(done.session_id))[0].startswith(unknown)
    assert altered(["sessions"], {"x": 1}) == ["It is no receipt of an erasure."]


def test_what_cannot_be_helped_yet_keeps_no_other_waiting(theirs: Any) -> None:
    """A7: a run's limit is for those that move on; quarantined sessions wait for somebody to look at them."""
    from tests.tampering import Tamper

    for name in ("a", "b"):
        one = ended(theirs(name))
        Tamper(one.session_id).session(status=Status.QUARANTINED.value, quarantined_at=MORNING)
        services.erase_consumer(name, actor=OFFICER)
    held = ended(theirs())
    hold = services.place_legal_hold(scope="session", session_id=held.session_id, matter="Case 12", actor=OFFICER)
    asked()
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=OFFICER)
    before = len(site_events())
    assert services.finish_erasures(limit=1) == {"finished": 1, "left": 2, "failed": 0, "overdue": 0}
    assert Session.objects.get(pk=held.session_id).content_erased_at is not None
    assert len(site_events()) == before + 1, "what has not changed is not told again"


def test_who_comes_back_has_not_asked_again(theirs: Any, clock: Any) -> None:
    """A7: finishing what was kept touches no session that was opened after the request was answered."""
    kept = ended(theirs())
    hold = services.place_legal_hold(scope="session", session_id=kept.session_id, matter="Case 12", actor=OFFICER)
    asked()
    back = theirs()
    services.lift_legal_hold(hold.hold_id, reason="settled", actor=OFFICER)
    services.finish_erasures()
    assert selectors.authenticate(back.token).is_live()
    assert Session.objects.get(pk=kept.session_id).content_erased_at is not None


def test_what_was_opened_before_it_was_known_for_whom_goes_too(opened: Any, theirs: Any) -> None:
    """A7: a session that names nobody is theirs if one that went on from it is; a stranger's in the family is not."""
    first = opened(purpose="for Zoe")
    lineage = Lineage(Origin.RENEWAL, first.session_id, 1, first.session_id)
    named = theirs(lineage=lineage)
    strangers = theirs("another", lineage=lineage)
    receipt = asked()
    assert sessions(receipt).keys() == {str(first.session_id), str(named.session_id)}
    assert Session.objects.get(pk=strangers.session_id).personal_erased_at is None
    assert selectors.read_head(strangers.session_id).is_live()


def test_a_quarantined_session_is_named_and_tried_again(theirs: Any) -> None:
    """A7, R5: what is to be examined is not touched; the receipt says so, and the job comes back to it."""
    from tests.tampering import Tamper

    one = ended(theirs())
    Tamper(one.session_id).session(status=Status.QUARANTINED.value, quarantined_at=MORNING)
    receipt = asked()
    assert sessions(receipt)[str(one.session_id)]["personal"] == {"refused": "quarantined"}
    Tamper(one.session_id).session(status=Status.ENDED.value, quarantined_at=None)
    assert services.finish_erasures()["finished"] == 1


def test_an_interrupted_run_is_gone_on_with(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A7: batches are whole; the next run, of the command or of the job, does the rest into the same receipt."""
    monkeypatch.setattr(erasure, "BATCH", 2)
    all_of_them = [ended(theirs()) for _ in range(5)]
    done: list[int] = []

    def stop(count: int) -> None:
        done.append(count)
        if len(done) == 2:
            raise SessionBusy("The database")

    with pytest.raises(SessionBusy):
        asked(progress=stop)
    row = Erasure.objects.get()
    assert (row.finished_at, len(row.receipt["sessions"])) == (None, 4)
    assert Session.objects.filter(content_erased_at__isnull=False).count() == 4

    assert services.finish_erasures() == {"finished": 1, "left": 0, "failed": 0, "overdue": 0}
    receipt = selectors.get_receipt(row.pk)
    assert sessions(receipt).keys() == {str(one.session_id) for one in all_of_them}
    assert receipt.requested_by == "staff:7"


def test_asked_twice_before_it_is_done_it_is_one_request(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(theirs())

    def fail(*_: Any) -> None:
        raise SessionBusy("The database")

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "_erase_batch", fail)
        with pytest.raises(SessionBusy):
            asked()
    again = asked()
    assert Erasure.objects.get().pk == again.erasure_id
    assert again.finished_at is not None


def test_a_session_that_fails_holds_up_no_other(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A7: it is named as failed, logged by its id, and tried again."""
    bad, good = ended(theirs()), ended(theirs())
    really = erasure.erase

    def erase(head: Any, *args: Any, **facts: Any) -> Any:
        if head.session_id == bad.session_id:
            raise AgentSessionsError("The key service does not answer.")
        return really(head, *args, **facts)

    with monkeypatch.context() as patched:
        patched.setattr(erasure, "erase", erase)
        receipt = asked()
    assert sessions(receipt)[str(bad.session_id)]["personal"] == {"refused": "failed"}
    assert sessions(receipt)[str(good.session_id)]["personal"]["rule"] == "request"
    assert services.finish_erasures()["finished"] == 1


def test_sessions_opened_while_it_runs_are_included(theirs: Any) -> None:
    """A7: the last look finds them, before the request counts as answered."""
    ended(theirs())
    later: list[OpenedSession] = []

    def open_another(_: int) -> None:
        if not later:
            later.append(theirs())

    receipt = asked(progress=open_another)
    assert sessions(receipt)[str(later[0].session_id)].keys() == BOTH


def test_nothing_to_erase_is_answered_too(db: None) -> None:
    receipt = asked()
    assert (sessions(receipt), receipt.left) == ({}, 0)
    assert receipt.finished_at is not None


def test_what_is_not_answered_within_a_month_is_overdue(theirs: Any, clock: Any, monkeypatch: Any) -> None:
    """GDPR Art. 12(3): named until it is done."""
    ended(theirs())
    monkeypatch.setattr(erasure, "_before", _busy)
    with pytest.raises(SessionBusy):
        asked()
    clock.move_to(MORNING + 31 * DAY - timedelta(seconds=1))
    assert selectors.overdue_erasures() == []
    clock.move_to(MORNING + 31 * DAY)
    assert [receipt.is_overdue for receipt in selectors.overdue_erasures()] == [True]
    assert services.finish_erasures() == {"finished": 0, "left": 0, "failed": 1, "overdue": 1}
    monkeypatch.undo()
    assert services.finish_erasures()["finished"] == 1
    assert selectors.overdue_erasures() == []


def _busy(*_: Any) -> Any:
    raise SessionBusy("The database")


@pytest.mark.parametrize(
    ("asked_on", "due"),
    [
        ("2026-01-31", "2026-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2026-12-15", "2027-01-15"),
        ("2026-03-01", "2026-04-01"),
    ],
)
def test_a_month_is_a_calendar_month(asked_on: str, due: str) -> None:
    """Regulation 1182/71 Art. 3(2)(c): the same day, or the last one of a shorter month."""
    assert month_after(datetime.fromisoformat(asked_on)) == datetime.fromisoformat(due)


def test_what_is_refused(db: None) -> None:
    with pytest.raises(InvalidValue, match="as text"):
        services.erase_consumer("", actor=OFFICER)
    with pytest.raises(InvalidValue, match="asked for it yet"):
        asked(now=MORNING.replace(year=2999))
    with pytest.raises(InvalidValue, match="200"):
        asked(merchant="m" * 201)
    with pytest.raises(ErasureUnknown):
        selectors.get_receipt(Erasure().pk)
    assert not Erasure.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_at_once_erase_each_session_once_into_one_receipt(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A7"""
    monkeypatch.setattr(erasure, "BATCH", 3)
    all_of_them = [ended(theirs()) for _ in range(10)]
    start, receipts, problems = threading.Barrier(2), [], []

    def run() -> None:
        try:
            start.wait(10)
            receipts.append(asked())
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            problems.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    told: set[str] = set()
    for receipt in receipts:
        told |= sessions(receipt).keys()
    assert told == {str(one.session_id) for one in all_of_them}
    for one in all_of_them:
        kinds = [event["kind"] for event in selectors.events(one.session_id)]  # type: ignore[call-overload, index]
        assert kinds.count("pii.purged") == 1
