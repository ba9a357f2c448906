"""A change makes one version and one event, and says who, when and why (V1, S1, S6, A1)."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from agent_sessions import selectors, services
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Actor
from agent_sessions.models import AuditEvent, SessionVersion
from tests.conftest import MORNING
from tests.shopping import basket, line, variables
from tests.stored import is_stored

pytestmark = pytest.mark.django_db


def test_a_change_makes_one_version_and_one_event(opened: Any) -> None:
    """V1"""
    one = opened()

    made = services.change_session(one.session_id, expected_version=1, patch=basket(a=line()))

    assert (made.session_id, made.version, made.seq, made.kind) == (one.session_id, 2, 2, "state.changed")
    assert SessionVersion.objects.count() == AuditEvent.objects.count() == 2
    view = selectors.current_state(one.session_id)
    assert (view.version, view.state) == (2, basket(a=line()))


def test_versions_and_events_are_numbered_without_gaps(opened: Any) -> None:
    """V1: reads that are recorded make events, only changes make versions."""
    one = opened()
    for number in range(1, 6):
        services.change_session(one.session_id, expected_version=number, patch=variables(n=number))
        services.record_event(one.session_id, kind="cart.viewed")

    versions = selectors.versions(one.session_id)
    events = selectors.events(one.session_id)
    assert [version.number for version in versions] == [1, 2, 3, 4, 5, 6]
    assert [event["seq"] for event in events] == list(range(1, 12))
    assert [version.event_seq for version in versions] == [1, 2, 4, 6, 8, 10]
    assert [event.get("version") for event in events if "version" in event] == [1, 2, 3, 4, 5, 6]


def test_every_version_says_who_when_and_why_under_an_id_of_its_own(opened: Any, clock: Any) -> None:
    """V1"""
    one = opened()
    clock.move_to(MORNING + timedelta(minutes=2))
    services.change_session(
        one.session_id,
        expected_version=1,
        patch=basket(a=line()),
        kind="cart.item_added",
        actor=Actor("staff", "user-7"),
        note="the customer asked on the phone",
    )
    services.end_session(one.session_id)

    first, second, third = selectors.versions(one.session_id)
    assert (second.kind, second.actor) == ("cart.item_added", "staff:user-7")
    assert second.created_at == MORNING + timedelta(minutes=2)
    assert len({first.version_id, second.version_id, third.version_id}) == 3
    event = selectors.events(one.session_id, after=1)[0]
    assert (event["event_id"], event["actor"]) == (str(second.version_id), "staff:user-7")
    assert (event["version"], event["base_version"], event["timestamp"]) == (2, 1, "2026-03-02T10:02:00.000000Z")
    artifact = json.loads(services.get_artifact(one.session_id, disclose="all"))
    told = {(opening["seq"], opening["path"]): opening["value"] for opening in artifact["openings"]}
    assert told[2, "note"] == "the customer asked on the phone"


def test_what_was_made_names_the_event_that_records_it(opened: Any) -> None:
    one = opened()

    made = services.change_session(one.session_id, expected_version=1, patch=variables(a=1), kind="mood.noted")

    (version,) = selectors.versions(one.session_id, after=1)
    assert (made.event_id, made.created_at, made.kind) == (version.version_id, version.created_at, version.kind)


def test_each_event_names_the_hash_of_the_one_before(opened: Any) -> None:
    """A1: SHA-256 over the stored bytes, so that anyone can compute it."""
    one = opened()
    for number in range(1, 4):
        services.change_session(one.session_id, expected_version=number, patch=variables(n=number))

    rows = AuditEvent.objects.filter(session_id=one.session_id).order_by("seq")
    hashes = [hashlib.sha256(bytes(row.canonical)).hexdigest() for row in rows]
    assert [json.loads(bytes(row.canonical))["prev_hash"] for row in rows] == ["", *hashes[:-1]]
    assert selectors.read_head(one.session_id).head_hash == hashes[-1]
    assert selectors.verify_session(one.session_id).ok


def test_null_in_a_patch_deletes(opened: Any) -> None:
    one = opened(state={**basket(a=line(), b=line("Plate")), **variables(mood="calm")})

    services.change_session(
        one.session_id, expected_version=1, patch={"shopping": {"lines": {"a": None}}, "agent": None}
    )

    assert selectors.current_state(one.session_id).state == basket(b=line("Plate"))


def test_the_state_keeps_every_slice_of_a_shopping_session(opened: Any) -> None:
    """S1, S6: lines, discounts, vouchers, delivery, quote, instructions, the talk, and the agent's own variables."""
    state: dict[str, Any] = {
        "shopping": {
            "lines": {"a": line(quantity=3, variant="size L", options={"colour": "blue"})},
            "discounts": {"d": {"amount": -500, "currency": "EUR", "code": "SPRING"}},
            "vouchers": {"SPRING": {"label": "Spring sale"}},
            "delivery": {"method": "courier", "amount": 490, "currency": "EUR"},
            "quote": {"total": 3740, "currency": "EUR", "fingerprint": "f1", "valid_until": "2026-03-02T10:10:00Z"},
            "instructions": "Leave it with the neighbour ✓ 隣の人",
        },
        "conversation": {"summary": "wants mugs", "products": {"sku-1": "Blue mug"}, "questions": {"q1": "How many?"}},
        "agent": {"plan": ["compare", "buy"], "sure": True, "deep": {"er": {"still": [1, 2, {"a": "b"}]}}},
    }
    one = opened()

    services.change_session(one.session_id, expected_version=1, patch=state)

    assert selectors.current_state(one.session_id).state == state


def test_changing_the_patch_afterwards_changes_nothing_stored(opened: Any) -> None:
    one = opened()
    patch: dict[str, Any] = variables(plan=["compare"])
    services.change_session(one.session_id, expected_version=1, patch=patch)

    patch["agent"]["plan"].append("steal")

    assert selectors.current_state(one.session_id).state == variables(plan=["compare"])
    assert selectors.verify_session(one.session_id).ok


def test_a_change_belongs_to_the_transaction_of_its_caller(opened: Any) -> None:
    """R3: it commits and rolls back with it, and the session goes on from where it was."""
    one = opened(state=variables(a=1))
    with transaction.atomic():
        services.change_session(one.session_id, expected_version=1, patch=variables(a=2))
        transaction.set_rollback(True)

    assert selectors.current_state(one.session_id).state == variables(a=1)
    made = services.change_session(one.session_id, expected_version=1, patch=variables(b=3))
    assert made.version == 2
    assert selectors.current_state(one.session_id).state == variables(a=1, b=3)
    assert selectors.verify_session(one.session_id).ok


MARKERS = {
    name: f"marker-{name}-{'x' * 24}" for name in ("purpose", "state", "patch", "note", "message", "private", "end")
}


def test_what_was_said_is_nowhere_in_the_database(opened: Any, configure: Any) -> None:
    """A7, S7: purpose, states, patches, snapshots, notes, messages and private parameters are sealed."""
    configure(SNAPSHOT_EVERY=1)
    one = opened(purpose=MARKERS["purpose"], state=variables(a=MARKERS["state"]))
    call = Call("cart.add", params={"shown": "marker-in-the-clear"}, private={"email": MARKERS["private"]})
    services.change_session(
        one.session_id, expected_version=1, patch=variables(b=MARKERS["patch"]), note=MARKERS["note"], call=call
    )
    services.add_message(one.session_id, role="user", content={"text": MARKERS["message"]})
    services.end_session(one.session_id, note=MARKERS["end"])

    assert is_stored("marker-in-the-clear")  # the search finds what is there
    assert [name for name, marker in MARKERS.items() if is_stored(marker)] == []
    assert SessionVersion.objects.filter(snapshot__isnull=False).exists()
    artifact = services.get_artifact(one.session_id, disclose="all").decode()
    assert [name for name, marker in MARKERS.items() if marker not in artifact] == []


def test_equal_contents_do_not_look_equal_in_the_database(opened: Any) -> None:
    """A7: neither sealed bytes nor commitments tell that two sessions hold the same."""
    for _ in range(2):
        one = opened()
        services.change_session(one.session_id, expected_version=1, patch=variables(a="the same"), note="the same")

    patches = [bytes(row.personal_patch or b"") for row in SessionVersion.objects.filter(number=2)]
    private = [event["private"] for one in selectors.session_ids() for event in selectors.events(one, after=1)]
    assert patches[0] != patches[1]
    assert private[0].keys() == private[1].keys() == {"personal", "note"}
    assert private[0]["personal"] != private[1]["personal"]
    assert private[0]["note"] != private[1]["note"]
