"""Evidence: for a decision, a payment or an order, what it rested on, in one document with its proof (A2, A9)."""

from __future__ import annotations

import json
import tracemalloc
import uuid
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.audit.open_chain import open_chain_problems
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.canonical import canonical_bytes, parse_strict
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.evidence import Evidence, Missing
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import InvalidValue, SessionNotFound, SessionQuarantined
from agent_sessions.models import SiteEvent
from agent_sessions.selectors import Subject
from agent_sessions.services import OpenedSession
from agent_sessions.services.erasing import Grounds, erase
from tests.buying import CUSTOMER, INSTRUCTIONS, PURPOSE, REASON, Bought, asked_for, buy
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.shopping import line, variables
from tests.store import shop as stock

pytestmark = pytest.mark.django_db

STAFF = Actor("staff", "17")
PRIVATE = (PURPOSE, REASON, INSTRUCTIONS, "She drinks tea", "She said so")
GROUNDS = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
ORDER = Subject("order", "A-1")


def clock_time(minute: int) -> str:
    return f"2026-03-02T10:{minute:02}:00.000000Z"


def told(evidence: Evidence) -> str:
    return services.evidence_bytes(evidence).decode()


def recorded() -> list[Any]:
    return [json.loads(bytes(row.canonical)) for row in SiteEvent.objects.order_by("seq")]


def test_an_order_shows_what_it_rested_on(bought: Bought) -> None:
    """A2: policies, price and stock seen, the approval, and how long the consumer had to review."""
    found = services.get_evidence(bought.session_id, ORDER)

    assert (found.subject.kind, found.subject.ref, found.subject.event, found.subject.version) == (
        "order",
        "A-1",
        14,
        8,
    )
    assert [(one.event, one.result, one.rule, one.of_subject) for one in found.policies] == [
        (5, "deny", "large-orders", False),
        (6, "allow", "large-orders", False),
        (7, "allow", "large-orders", False),
        (9, "allow", "large-orders", True),
    ]
    assert (found.limits.spend_cap, found.limits.currency, found.limits.by_default) == (20000, "EUR", 2)
    (rule,) = found.limits.rules_now
    assert (rule.rule, rule.kind, rule.set_to["over"]) == ("large-orders", "NeedsHuman", 2000)

    assert isinstance(found.seen.lines, list)
    (line,) = found.seen.lines
    assert (line.item, line.quantity, line.unit_price, line.at, line.event) == ("mug", 2, 1250, clock_time(1), 2)
    assert found.seen.quote is not None
    assert (found.seen.quote.total, found.seen.quote.currency, found.seen.quote.at) == (2500, "EUR", clock_time(1))
    (seen,) = found.seen.stock
    assert (seen.item, seen.available, seen.at, seen.version) == ("mug", 10, clock_time(2), 3)

    (approval,) = found.approvals
    assert (approval.id, approval.status, approval.decided_by) == (bought.approval, "used", "consumer")
    assert (approval.requested_at, approval.opened_at, approval.decided_at) == tuple(map(clock_time, (4, 5, 6)))
    assert (approval.review.had_ms, approval.review.took_ms, approval.review.counted_from) == (
        1_560_000,
        60_000,
        "opened",
    )
    assert approval.events == [6, 7, 9]

    (order,) = found.orders
    assert (order.order_ref, order.event, order.approval, order.as_approved) == ("A-1", 14, bought.approval, True)
    assert (order.opened_at, order.ordered_at, order.review.took_ms) == (clock_time(8), clock_time(13), 300_000)

    assert [(one.page, one.version, one.opened_at) for one in found.disclosed] == [
        ("approval", 5, clock_time(5)),
        ("checkout", 8, clock_time(8)),
    ]
    cart: Any = found.disclosed[0].cart
    assert cart["lines"]["mug"]["unit_price"] == 1250
    assert cart["quote"]["total"] == 2500


def test_a_payment_keeps_the_token_the_brand_and_four_digits(bought: Bought) -> None:
    """S8, A2: both attempts, with the events that say so."""
    found = services.get_evidence(bought.session_id, Subject("payment", "p1"))

    assert isinstance(found.payments, list)
    (first,) = found.payments  # the second had not begun
    assert (first.id, first.outcome, first.code, first.amount) == ("p1", "declined", "insufficient_funds", 2500)
    assert (first.provider_ref, first.brand, first.last4) == ("tok_p1", "Visa", "4242")
    assert (first.first_event, first.last_event) == (10, 11)
    assert (found.subject.event, found.subject.version, found.orders[0].order_ref) == (10, 9, "A-1")
    assert [one.id for one in services.get_evidence(bought.session_id, ORDER).payments] == ["p1", "p2"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("decision", "event", "policies", "disclosed"),
    [("5", 5, [5], []), ("approval", 9, [5, 6, 7, 9], ["approval", "checkout"])],
)
def test_a_decision_is_an_event_or_an_approval(
    bought: Bought, decision: str, event: int, policies: list[int], disclosed: list[str]
) -> None:
    ref = bought.approval if decision == "approval" else decision
    found = services.get_evidence(bought.session_id, Subject("decision", ref))

    assert found.subject.event == event
    assert [one.event for one in found.policies] == policies
    assert [one.page for one in found.disclosed] == disclosed
    if decision == "5":  # what came later is not told
        assert (found.approvals, found.orders, found.payments) == ([], [], [])
        assert found.policies[0].code == "policy_denied"


def test_a_decision_of_its_own_says_what_the_rule_default_decided(bought: Bought) -> None:
    found = services.get_evidence(bought.session_id, Subject("decision", "2"))
    assert [(one.event, one.capability, one.rule) for one in found.policies] == [(2, "cart.add", "default")]


@pytest.mark.parametrize("subject", [Subject(), ORDER, Subject("payment", "p2"), Subject("decision", "4")])
def test_what_is_personal_is_withheld_unless_it_is_asked_for(bought: Bought, subject: Subject) -> None:
    """A9: neither in the document nor in its proof, and asking for it leaves an event with the reason."""
    withheld = told(services.get_evidence(bought.session_id, subject))
    for private in (*PRIVATE, services.consumer_pseudonym(CUSTOMER)):
        assert private not in withheld
    assert "withheld: what is personal was not asked for" in withheld
    assert recorded() == []

    shown = services.get_evidence(bought.session_id, subject, personal=True, reason="Case 4", actor=STAFF)
    for private in PRIVATE:
        assert private in told(shown)
    assert shown.session.consumer == services.consumer_pseudonym(CUSTOMER)
    assert shown.session.purpose == PURPOSE
    (event,) = recorded()
    assert (event["kind"], event["actor"]) == ("evidence.disclosed", "staff:17")
    assert event["params"] == {"session": str(bought.session_id), "subject": subject.kind, "reason": "Case 4"}


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201])
def test_nobody_gets_it_without_a_reason(bought: Bought, reason: str) -> None:
    """A9"""
    with pytest.raises(InvalidValue, match="/reason"):
        services.get_evidence(bought.session_id, personal=True, reason=reason)
    assert recorded() == []


def test_the_words_of_a_decision_are_opened_with_it(bought: Bought) -> None:
    found = services.get_evidence(bought.session_id, Subject("decision", "4"), personal=True, reason="Case 4")
    assert found.subject.private == {"note": "She said so"}
    approval = services.get_evidence(bought.session_id, ORDER, personal=True, reason="Case 4").approvals[0]
    assert (approval.reason, approval.question, approval.answer) == (REASON, "", "")


def test_it_is_canonical_and_carries_the_signed_artifact(bought: Bought) -> None:
    """A3: what it says can be checked by somebody else."""
    written = services.evidence_bytes(services.get_evidence(bought.session_id, ORDER))
    document: Any = parse_strict(written, max_depth=80)
    assert canonical_bytes(document, max_depth=80) == written
    proof = document["proof"]
    artifact = canonical_bytes(proof["document"], max_depth=80)
    keys = [read_public_key(key.public_key) for key in services.signing_keys()]
    assert verify_artifact(artifact, keys).trusted
    assert (proof["sealed"], proof["ok"], proof["opened"]) == (True, True, "content")
    assert {one["path"] for one in proof["document"]["openings"]} == {"patch"}
    assert proof["verification"]["event_count"] == 14


def test_of_a_live_session_there_are_the_events_so_far_and_it_says_so(
    opened: Any, selling: stock.Shelf, tick: Callable[[], object]
) -> None:
    one, asked = asked_for(opened, tick)
    found = services.get_evidence(one.session_id, Subject("decision", str(asked.approval_id)))

    assert found.proof is not None
    assert (found.proof.sealed, found.proof.ok) == (False, True)
    assert "has not ended, so nobody has signed it yet" in found.proof.note
    assert found.proof.verification["event_count"] == 7
    chain = canonical_bytes(found.proof.document, max_depth=80)
    assert open_chain_problems(chain) == []
    assert REASON.encode() not in chain
    damaged = chain.replace(b'"merchant":"default"', b'"merchant":"defauls"')
    assert [problem.code for problem in open_chain_problems(damaged)] == ["broken_chain"]
    assert found.approvals[0].status == "granted"
    assert found.orders == []


def test_what_was_erased_says_so_in_its_place(bought: Bought) -> None:
    """A7: personal first, then content; the rest stays, and the proof is still good."""
    erase(selectors.read_head(bought.session_id), frozenset({"personal"}), GROUNDS, actor=SYSTEM)
    words = "erased under rule 'personal' on 2026-03-02"
    found = services.get_evidence(bought.session_id, ORDER, personal=True, reason="Case 4")
    assert found.approvals[0].reason == found.session.purpose == found.session.consumer == Missing(missing=words)
    assert [(one.data_class, one.text) for one in found.erased] == [("personal", words)]
    assert found.orders[0].as_approved is None
    assert found.seen.quote is not None  # type: ignore[union-attr]
    assert found.proof is not None
    assert found.proof.ok

    erase(selectors.read_head(bought.session_id), frozenset({"content"}), GROUNDS, actor=SYSTEM)
    found = services.get_evidence(bought.session_id, ORDER)
    assert found.seen == found.payments == found.disclosed[0].cart == Missing(missing=words)
    assert found.approvals[0].amount == 2500
    assert found.proof is not None
    assert found.proof.ok
    for private in PRIVATE:
        assert private not in told(found)
    with pytest.raises(InvalidValue, match="erased under rule"):
        services.get_evidence(bought.session_id, Subject("payment", "p1"))


@pytest.mark.parametrize(
    ("subject", "known"),
    [
        (Subject("order", "B-9"), "/order: .* has the orders A-1, not 'B-9'"),
        (Subject("order", ""), "/order: "),
        (Subject("payment", "p9"), "/payment: .* has the payments p1, p2, not 'p9'"),
        (Subject("decision", "15"), "/decision: .* has events 1 to 14, not '15'"),
        (Subject("decision", "0"), "/decision: .* has events 1 to 14"),
        (Subject("decision", str(uuid.uuid4())), "/decision: .* and the approvals "),
    ],
)
def test_a_subject_that_there_is_not_is_refused_and_what_there_is_is_named(
    bought: Bought, subject: Subject, known: str
) -> None:
    with pytest.raises(InvalidValue, match=known):
        services.get_evidence(bought.session_id, subject)


def test_sessions_that_cannot_be_read_are_refused(quarantined: OpenedSession) -> None:
    with pytest.raises(SessionQuarantined):
        services.get_evidence(quarantined.session_id)
    with pytest.raises(SessionNotFound):
        services.get_evidence(uuid.uuid4())


def test_it_costs_the_same_number_of_queries_however_long_the_history(
    opened: Any, selling: stock.Shelf, configure: Any
) -> None:
    configure(SNAPSHOT_EVERY=8)
    counts = []
    for changes in (1, 40):
        one, _ = asked_for(opened, lambda: None)
        for _ in range(changes):
            patch = variables(n=selectors.read_head(one.session_id).version)
            version = selectors.read_head(one.session_id).version
            services.change_session(one.session_id, expected_version=version, patch=patch)
            services.record_event(one.session_id, kind="cart.viewed")
        services.end_session(one.session_id)
        services.get_artifact(one.session_id)
        with CaptureQueriesContext(connection) as queries:
            services.get_evidence(one.session_id)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 22


def test_two_orders_of_one_shop_are_kept_apart(opened: Any, selling: stock.Shelf, tick: Any) -> None:
    one, other = buy(opened, tick), buy(opened, tick, order="A-2")
    assert services.get_evidence(other.session_id, Subject("order", "A-2")).orders[0].order_ref == "A-2"
    with pytest.raises(InvalidValue):
        services.get_evidence(one.session_id, Subject("order", "A-2"))


def test_a_price_is_of_the_version_that_gave_it_though_it_changed_later(
    opened: Any, selling: stock.Shelf, tick: Any
) -> None:
    """A2: evidence of a decision says nothing of what came after it, and so not when the next price came."""
    one = opened()
    priced: Any = {"shopping": {"lines": {"l1": line()}}}
    services.change_session(one.session_id, expected_version=1, patch=priced)
    services.change_session(one.session_id, expected_version=2, patch=variables(n=1))
    again: Any = {"shopping": {"lines": {"l1": {"unit_price": 1300}}}}
    services.change_session(one.session_id, expected_version=3, patch=again)
    gone: Any = {"shopping": {"lines": {"l1": None}}}
    services.change_session(one.session_id, expected_version=4, patch=gone)
    services.change_session(one.session_id, expected_version=5, patch=priced)

    def seen(event: int) -> list[tuple[int, int]]:
        found = services.get_evidence(one.session_id, Subject("decision", str(event))).seen
        assert not isinstance(found, Missing)
        return [(each.event, each.unit_price) for each in found.lines]

    assert [seen(event) for event in (2, 3, 4, 5, 6)] == [
        [(2, 1250)], [(2, 1250)], [(4, 1300)], [], [(6, 1250)],
    ]  # fmt: skip


def test_a_document_comes_in_parts_that_are_all_of_it(bought: Bought, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an ended session and a live one; in memory, and in a file once it is long."""
    for most in (1 << 20, 1):
        monkeypatch.setattr("agent_sessions.services.evidence._IN_MEMORY", most)
        with services.open_evidence(bought.session_id, ORDER) as found:
            parts = list(found)
        assert b"".join(parts) == services.evidence_bytes(services.get_evidence(bought.session_id, ORDER))
        assert found.size == sum(map(len, parts))
        assert found.evidence.proof is not None
        assert found.evidence.proof.document is None


def test_what_is_stated_can_be_cut(bought: Bought) -> None:
    whole = services.get_evidence(bought.session_id)
    cut = services.get_evidence(bought.session_id, with_document=False, most=1)
    for name in ("policies", "approvals", "disclosed", "orders"):
        assert getattr(cut, name) == getattr(whole, name)[:1], name
    assert (len(whole.policies), len(whole.disclosed)) == (4, 2)
    assert cut.limits.by_default == whole.limits.by_default
    assert whole.proof is not None
    assert cut.proof == msgspec.structs.replace(whole.proof, document=None)


def _incompressible() -> str:
    """4000 letters: digits could be a card's number."""
    return token_hex(2000).translate(str.maketrans("0123456789", "ghijklmnop"))


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "live"])
def test_a_longer_history_takes_no_more_memory(
    opened: Any, selling: stock.Shelf, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """A1, A2: neither what is stated nor its proof is ever whole in memory."""
    monkeypatch.setattr("agent_sessions.services.evidence._IN_MEMORY", 1)
    peaks = []
    for length in (520, 1520):  # more than what is read at once
        one = opened()
        for number in range(1, length // 4):
            services.change_session(one.session_id, expected_version=number, patch=variables(n=_incompressible()))
        for _ in range(length * 3 // 4):
            services.record_event(one.session_id, kind="cart.viewed")
        if ended:
            services.end_session(one.session_id)
        for _ in range(2):  # the first time for what is kept of any session
            tracemalloc.start()
            with services.open_evidence(one.session_id, personal=True, reason="Case 4", most=10) as found:
                assert sum(map(len, found)) == found.size
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert found.evidence.proof is not None
        assert found.evidence.proof.ok
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 150_000
