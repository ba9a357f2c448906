"""Erasing an ended session class by class: what it says is gone, what it proves stays (A5, A6, A7)."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import ContentErased, LegallyHeld, SessionNotEnded, SessionQuarantined
from agent_sessions.models import (
    Approval,
    Caller,
    CheckoutHandoff,
    DeviceConfirmation,
    HeldItem,
    Hold,
    IdempotencyRecord,
    LegalHold,
    Message,
    Session,
    SessionKey,
    SessionVersion,
    StoreChange,
    TransferGrant,
)
from agent_sessions.selectors import _cache
from agent_sessions.selectors._keys import DataClass
from agent_sessions.services import OpenedSession
from agent_sessions.services.erasing import Grounds, erase, erase_all
from agent_sessions.types import Patch
from tests.faults.support import line
from tests.store.calling import call
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

PERSONAL: frozenset[DataClass] = frozenset({"personal"})
CONTENT: frozenset[DataClass] = frozenset({"content"})
GROUNDS = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")


def erased(session_id: uuid.UUID, classes: frozenset[Any] = PERSONAL) -> Any:
    return erase(selectors.read_head(session_id), classes, GROUNDS, actor=SYSTEM)


def row(session_id: uuid.UUID) -> Session:
    return Session.objects.get(pk=session_id)


def events(session_id: uuid.UUID) -> list[dict[str, Any]]:
    return [msgspec.convert(event, dict) for event in selectors.events(session_id)]


def test_the_personal_class_goes_and_the_rest_stays(live: OpenedSession) -> None:
    """A7: the key and what it sealed are gone; the cart and what was decided can still be read."""
    ended = live
    cart: Patch = {**line("pot"), "customer": {"extra": {"name": "Ada"}}}
    services.change_session(ended.session_id, expected_version=4, patch=cart)
    services.end_session(ended.session_id)
    before: Any = selectors.state_at_version(ended.session_id, 6).state
    made = erased(ended.session_id)

    key = SessionKey.objects.get(pk=ended.session_id)
    assert key.personal is None
    assert key.wrapped
    versions = SessionVersion.objects.filter(session_id=ended.session_id)
    assert not versions.exclude(personal_patch=None, personal_snapshot=None).exists()
    assert versions.filter(patch=None).count() == 0
    assert not Message.objects.filter(session_id=ended.session_id).exclude(body=None).exists()
    stored = row(ended.session_id)
    assert (stored.consumer, stored.caller, stored.bound_to, stored.content_erased_at) == ("", "", "", None)
    assert stored.personal_erased_at == made.created_at
    after: Any = selectors.state_at_version(ended.session_id, 6).state
    assert after["shopping"]["lines"] == before["shopping"]["lines"]
    assert before.keys() - after.keys() == {"agent", "customer"}
    assert selectors.verify_session(ended.session_id).problems == []


def test_its_history_says_what_was_erased_and_why(ended: OpenedSession, configure: Any) -> None:
    """A5: the event stands behind the end, at the time that the row tells."""
    configure(ERASURE_HORIZON_DAYS=90)
    made = erased(ended.session_id)
    last = events(ended.session_id)[-1]
    assert (last["kind"], last["actor"], last["seq"]) == ("pii.purged", "system", made.seq)
    assert last["params"] == {
        "basis": "GDPR Art. 5(1)(e)",
        "because": "retention",
        "classes": ["personal"],
        "rule": "personal",
        "unrecoverable_after": (made.created_at + timedelta(days=90)).date().isoformat(),
    }


def test_with_the_content_goes_what_is_personal(ended: OpenedSession) -> None:
    """A7: the row of keys is deleted; no version can be read any more."""
    erased(ended.session_id, CONTENT)

    assert not SessionKey.objects.filter(pk=ended.session_id).exists()
    versions = SessionVersion.objects.filter(session_id=ended.session_id)
    sealed = {"patch": None, "snapshot": None, "personal_patch": None, "personal_snapshot": None}
    assert not versions.exclude(**sealed).exists()
    assert events(ended.session_id)[-1]["params"]["classes"] == ["content", "personal"]
    stored = row(ended.session_id)
    assert stored.personal_erased_at == stored.content_erased_at is not None
    with pytest.raises(ContentErased):
        selectors.state_at_version(ended.session_id, 5)
    assert selectors.verify_session(ended.session_id).problems == []


def test_with_the_content_goes_the_digest_of_what_was_approved(opened: Any, shop: Any) -> None:
    """A7: whoever can guess a cart could try it against its digest; that it was approved, for how much, stays."""
    one = opened()
    call("cart.add", one, item_id="mug", quantity=1)
    asked = services.request_approval(one.session_id, reason="dear")
    services.end_session(one.session_id)
    erased(one.session_id)
    fingerprint = Approval.objects.get(pk=asked.approval_id).fingerprint
    assert len(fingerprint) == 64
    erased(one.session_id, CONTENT)
    approval = Approval.objects.get(pk=asked.approval_id)
    assert (approval.fingerprint, approval.amount, approval.currency) == ("", 1250, "EUR")
    assert not is_stored(fingerprint)
    assert selectors.verify_session(one.session_id).problems == []


def test_the_content_goes_after_what_is_personal(ended: OpenedSession) -> None:
    first = erased(ended.session_id)
    second = erased(ended.session_id, CONTENT)
    stored = row(ended.session_id)
    assert (stored.personal_erased_at, stored.content_erased_at) == (first.created_at, second.created_at)
    assert events(ended.session_id)[-1]["params"]["classes"] == ["content"]
    assert selectors.verify_session(ended.session_id).problems == []


@pytest.mark.parametrize("classes", [PERSONAL, CONTENT])
def test_erasing_again_writes_nothing(ended: OpenedSession, classes: frozenset[str]) -> None:
    erased(ended.session_id, classes)
    before = everything_stored()
    assert erased(ended.session_id, classes) is None
    assert everything_stored() == before


@pytest.mark.parametrize("classes", [PERSONAL, CONTENT])
def test_the_artifact_still_verifies(ended: OpenedSession, classes: frozenset[str]) -> None:
    """A5: the signature covers the events up to the end; what was erased is not opened in it."""
    sealed = json.loads(services.get_artifact(ended.session_id, disclose="none"))
    erased(ended.session_id, classes)
    document = services.get_artifact(ended.session_id, disclose="all")
    assert verify_artifact(document).ok
    assert {name: value for name, value in json.loads(document).items() if name in sealed} == sealed


def test_an_artifact_can_be_sealed_after_the_erasure(ended: OpenedSession) -> None:
    erased(ended.session_id, CONTENT)
    assert verify_artifact(services.get_artifact(ended.session_id)).ok
    assert selectors.verify_session(ended.session_id).ok


def test_a_live_session_is_not_erased(live: OpenedSession) -> None:
    before = everything_stored()
    with pytest.raises(SessionNotEnded):
        erased(live.session_id)
    assert everything_stored() == before


def test_what_is_in_quarantine_stays_as_it_was_found(quarantined: OpenedSession) -> None:
    before = everything_stored()
    with pytest.raises(SessionQuarantined):
        erased(quarantined.session_id)
    assert everything_stored() == before


def test_a_hold_keeps_all_of_several_sessions(ended: OpenedSession, opened: Any) -> None:
    """A6: nothing half done: that one of them is held keeps the others too."""
    other = opened()
    services.end_session(other.session_id)
    now = timezone.now()
    hold = LegalHold.objects.create(
        scope="session", session=other.session_id, matter="M-1", placed_by="staff:1", placed_at=now, review_at=now
    )
    before = everything_stored()
    heads = [selectors.read_head(one.session_id) for one in (ended, other)]
    with pytest.raises(LegallyHeld) as refused:
        erase_all(heads, CONTENT, GROUNDS, actor=SYSTEM)
    assert refused.value.details == {"session": str(other.session_id), "holds": [str(hold.pk)]}
    assert everything_stored() == before


def test_it_rolls_back_with_the_transaction_of_the_caller(ended: OpenedSession) -> None:
    before = everything_stored()
    with transaction.atomic():
        erased(ended.session_id, CONTENT)
        transaction.set_rollback(True)
    assert everything_stored() == before


def test_the_kept_state_is_forgotten(ended: OpenedSession, django_capture_on_commit_callbacks: Any) -> None:
    selectors.current_state(ended.session_id)
    assert _cache.local.get(ended.session_id) is not None
    with django_capture_on_commit_callbacks(execute=True):
        erased(ended.session_id)
    assert _cache.local.get(ended.session_id) is None


def test_answers_grants_and_callers_go_too(opened: Any) -> None:
    """A7: answers to repeated requests, permissions to take over, and who opened it."""
    caller = services.caller_pseudonym("203.0.113.9")
    one = opened(caller=caller, max_sessions=5)
    services.run_once(one.session_id, lambda: "kept", operation="op", key="k" * 20, request={"name": "Ada"})
    services.grant_transfer(one.session_id, actor=Actor("consumer"))
    services.end_session(one.session_id)
    assert Caller.objects.filter(caller=caller).exists()

    erased(one.session_id)
    assert not IdempotencyRecord.objects.filter(session_id=one.session_id).exists()
    assert not TransferGrant.objects.filter(session_id=one.session_id).exists()
    assert not Caller.objects.filter(caller=caller).exists()
    assert not is_stored(caller)


def test_a_caller_with_another_session_is_still_counted(opened: Any) -> None:
    caller = services.caller_pseudonym("203.0.113.9")
    first, _second = (opened(caller=caller, max_sessions=5) for _ in range(2))
    services.end_session(first.session_id)
    erased(first.session_id)
    assert Caller.objects.filter(caller=caller).exists()


def test_a_link_that_is_open_is_closed_and_what_it_held_is_let_go(counting: Any, opened: Any) -> None:
    """A7: nobody pays for a cart that nobody can see any more."""
    consumer = services.consumer_pseudonym("ada", merchant="default")
    one = opened(consumer=consumer)
    call("cart.add", one, item_id="mug", quantity=2)
    services.place_hold(one.session_id, item="mug", quantity=2)
    call("checkout", one)
    assert HeldItem.objects.get(item="mug").quantity == 2

    erased(one.session_id, CONTENT)
    handoff = CheckoutHandoff.objects.get(session_id=one.session_id)
    assert handoff.consumer == ""
    assert handoff.closed_at == handoff.given_up_at is not None
    assert HeldItem.objects.get(item="mug").quantity == 0
    assert not Hold.objects.filter(session_id=one.session_id).exists()
    assert not is_stored(consumer)


def test_what_a_held_session_was_told_on_another_device_stays(opened: Any, shop: Any) -> None:
    """A6: a confirmation is part of the checkout that it is about."""
    paying, phone = opened(), opened()
    for one in (paying, phone):
        services.end_session(one.session_id)
    DeviceConfirmation.objects.create(
        session_id=paying.session_id, device_id=phone.session_id, fingerprint="f", asked_at=timezone.now()
    )
    now = timezone.now()
    hold = LegalHold.objects.create(
        scope="session", session=paying.session_id, matter="M", placed_by="staff:1", placed_at=now, review_at=now
    )
    erased(phone.session_id, CONTENT)
    assert DeviceConfirmation.objects.count() == 1
    hold.lifted_at = now
    hold.save()
    erased(paying.session_id, CONTENT)
    assert DeviceConfirmation.objects.count() == 0


def test_what_the_shop_reported_of_a_consumer_goes_with_their_last_session(opened: Any) -> None:
    consumer = services.consumer_pseudonym("ada", merchant="default")
    first, second = opened(consumer=consumer), opened(consumer=consumer)
    for one in (first, second):
        services.end_session(one.session_id)
    StoreChange.objects.create(
        merchant="default", ref=f"consumer:{consumer}", what="address", reported_at=timezone.now() - timedelta(hours=1)
    )
    erased(first.session_id)
    assert StoreChange.objects.count() == 1
    erased(second.session_id)
    assert StoreChange.objects.count() == 0
    assert not is_stored(consumer)
