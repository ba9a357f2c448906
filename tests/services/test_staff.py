"""What staff leave in a history: notes, and what they were refused; and what they do before its time."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    CheckoutElsewhere,
    ContentErased,
    ErasedTooEarly,
    HandoffClosed,
    HandoffNotFound,
    InvalidValue,
    LegallyHeld,
    PaymentDataRefused,
    SessionNotEnded,
    SessionQuarantined,
    VersionConflict,
)
from agent_sessions.models import CheckoutHandoff, SiteEvent
from agent_sessions.services import OpenedSession
from agent_sessions.signals import checkout_link_resent
from agent_sessions.store import StoreContext
from tests.conftest import MORNING
from tests.services.asking import cart_of, event, is_sound, kinds
from tests.store.calling import call, counting, head, quantities, shop
from tests.stored import everything_stored, is_stored
from tests.tampering import Tamper, flipped

pytestmark = pytest.mark.django_db
__all__ = ["counting", "shop"]
SAM = Actor("staff", "17")
WORDS = "She called: the parcel is for her mother"


def note_of(session: OpenedSession, kind: str) -> object:
    return selectors.private_values(session.session_id, event(session, kind)["seq"]).get("note")


# Notes


def test_a_note_is_sealed_and_says_who_and_about_what(live: OpenedSession) -> None:
    services.add_note(live.session_id, note=WORDS, actor=SAM, about_version=3)
    told = event(live, "note.added")
    assert (told["actor"], told["params"], "version" in told) == ("staff:17", {"about_version": 3}, False)
    assert note_of(live, "note.added") == WORDS
    assert not is_stored("her mother")
    assert is_sound(live)


@pytest.mark.parametrize("standing", ["paused", "held", "overdue", "ended"])
def test_a_note_does_not_wait_for_the_agent(clock: Any, live: OpenedSession, standing: str) -> None:
    if standing == "paused":
        services.pause_session(live.session_id)
    elif standing == "held":
        services.hand_over(live.session_id, to=Actor("staff"))
    elif standing == "overdue":
        clock.move_to(head(live).expires_at)
    else:
        services.end_session(live.session_id)
    services.add_note(live.session_id, note=WORDS, actor=SAM)
    assert (kinds(live)[-1], note_of(live, "note.added")) == ("note.added", WORDS)
    assert is_sound(live)


def test_a_note_needs_words_and_takes_no_card(live: OpenedSession) -> None:
    before = everything_stored()
    for note, error in (
        ("", InvalidValue),
        (" \n", InvalidValue),
        ("x" * 1001, InvalidValue),
        ("card 4111 1111 1111 1111", PaymentDataRefused),
    ):
        with pytest.raises(error):
            services.add_note(live.session_id, note=note, actor=SAM)
    assert everything_stored() == before


def test_no_words_are_added_to_what_was_erased_or_closed(ended: OpenedSession, opened: Any) -> None:
    services.purge_session(ended.session_id, "personal", reason="Art. 17", actor=SAM)
    with pytest.raises(ContentErased):
        services.add_note(ended.session_id, note=WORDS, actor=SAM)
    assert head(ended).status == "ended"
    assert kinds(ended)[-1] == "pii.purged"


def test_a_quarantined_session_takes_no_note(quarantined: OpenedSession) -> None:
    with pytest.raises(SessionQuarantined):
        services.add_note(quarantined.session_id, note=WORDS, actor=SAM)


# Refusals


def test_a_refusal_is_recorded_once_a_minute_for_each_person_and_action(clock: Any, live: OpenedSession) -> None:
    def refuse(action: str, ref: str) -> bool:
        return services.note_refused_action(live.session_id, action=action, actor=Actor("staff", ref))

    assert [refuse("end", "17"), refuse("end", "17"), refuse("purge", "17"), refuse("end", "18")] == [
        True, False, True, True,
    ]  # fmt: skip
    clock.shift(timedelta(seconds=59))
    assert not refuse("end", "17")
    clock.shift(timedelta(seconds=1))
    assert refuse("end", "17")
    told = event(live, "action.refused")
    assert (told["actor"], told["params"], told["policy_result"], told["response_status"]) == (
        "staff:17", {"action": "end"}, "deny", 403,
    )  # fmt: skip
    assert kinds(live).count("action.refused") == 4
    assert is_sound(live)


def test_a_refusal_on_an_ended_session_is_recorded_too(ended: OpenedSession) -> None:
    assert services.note_refused_action(ended.session_id, action="purge", actor=SAM)
    assert kinds(ended)[-1] == "action.refused"
    assert is_sound(ended)


def test_what_a_closed_session_cannot_take_the_sites_history_does(quarantined: OpenedSession) -> None:
    length = len(kinds(quarantined))
    for session_id in (quarantined.session_id, None):
        assert services.note_refused_action(session_id, action="repair", actor=SAM)
        assert not services.note_refused_action(session_id, action="repair", actor=SAM)
    assert len(kinds(quarantined)) == length
    assert SiteEvent.objects.filter(kind="action.refused").count() == 2


def test_a_refusal_on_no_session_is_not_recorded(live: OpenedSession) -> None:
    before = everything_stored()
    assert not services.note_refused_action(uuid.UUID(int=7), action="end", actor=SAM)
    assert everything_stored() == before


# The reasons of what there was before


def test_who_releases_rolls_back_and_takes_over_says_why(counting: Any, opened: Any, configure: Any) -> None:
    one = cart_of(opened)
    services.commit_session(one.session_id)
    call("cart.add", one, item_id="plate")
    services.place_hold(one.session_id, item="mug", quantity=2)
    version = head(one).version
    with pytest.raises(VersionConflict):
        services.hand_over(one.session_id, to=SAM, actor=SAM, expected_version=version - 1)
    services.hand_over(one.session_id, to=SAM, actor=SAM, note="one", expected_version=version)
    released = services.release_holds(one.session_id, actor=SAM, note="two", expected_version=version)
    assert (released.holds, selectors.held_by(one.session_id)) == (1, [])
    services.rollback_session(
        one.session_id, ctx=StoreContext(), actor=SAM, note="three", expected_version=released.version
    )
    with pytest.raises(VersionConflict):
        services.take_back(one.session_id, actor=SAM, expected_version=version)
    services.take_back(one.session_id, actor=SAM, note="four", expected_version=head(one).version)
    said = ["session.handed_over", "hold.released", "session.rolled_back", "session.taken_back"]
    assert [note_of(one, kind) for kind in said] == ["one", "two", "three", "four"]
    assert {event(one, kind)["actor"] for kind in said} == {"staff:17"}
    assert quantities(one) == {"mug": 2}
    assert is_sound(one)


def test_a_card_in_the_reason_releases_nothing(counting: Any, opened: Any) -> None:
    one = cart_of(opened)
    services.place_hold(one.session_id, item="mug", quantity=2)
    with pytest.raises(PaymentDataRefused):
        services.release_holds(one.session_id, actor=SAM, note="4111 1111 1111 1111")
    assert selectors.held_by(one.session_id) == [("mug", 2)]


def test_versions_that_were_committed_are_known_later(shop: Any, opened: Any) -> None:
    one = cart_of(opened)
    services.commit_session(one.session_id)
    call("cart.add", one, item_id="plate")
    services.add_note(one.session_id, note=WORDS, actor=SAM)
    call("cart.add", one, item_id="pot")
    services.commit_session(one.session_id)
    last = head(one)
    found = [number for number in range(last.version + 2) if selectors.was_committed(last, number)]
    assert (found, last.version) == ([2, 4], 4)


# Repair


def test_who_repaired_what_and_why_is_told(live: OpenedSession) -> None:
    Tamper(live.session_id).version(3, snapshot=flipped(Tamper(live.session_id).versions.get(number=3).snapshot))
    assert services.repair_session(live.session_id, actor=SAM, note="Disk 3 was swapped").ok
    told = event(live, "session.repaired")
    assert (told["actor"], told["params"]) == ("staff:17", {"parts": ["snapshot"]})
    assert note_of(live, "session.repaired") == "Disk 3 was swapped"
    assert is_sound(live)


def test_who_opens_a_sound_session_again_is_told(quarantined: OpenedSession) -> None:
    Tamper(quarantined.session_id).session(merchant="default")
    assert services.repair_session(quarantined.session_id, actor=SAM, note="Restored").ok
    assert (kinds(quarantined)[-1], event(quarantined, "session.released")["actor"]) == ("session.released", "staff:17")
    length = len(kinds(quarantined))
    assert services.repair_session(quarantined.session_id, actor=SAM).ok
    assert len(kinds(quarantined)) == length, "nothing was done"


# Before its time


@pytest.mark.parametrize("data_class", ["personal", "content"])
def test_an_ended_session_is_erased_at_once(ended: OpenedSession, data_class: Any) -> None:
    services.purge_session(ended.session_id, data_class, reason="Case 12", actor=SAM)
    gone = selectors.erased(ended.session_id)
    assert sorted(gone) == sorted({"personal", data_class})
    note = gone[data_class]
    assert (note.rule, note.basis, note.because) == ("request", "Case 12", "erasure")
    assert event(ended, "pii.purged")["actor"] == "staff:17"
    with pytest.raises(ContentErased):
        services.purge_session(ended.session_id, data_class, reason="Case 12", actor=SAM)
    assert kinds(ended).count("pii.purged") == 1


def test_what_keeps_it_is_told_and_nothing_is_erased(clock: Any, live: OpenedSession, configure: Any) -> None:
    with pytest.raises(SessionNotEnded):
        services.purge_session(live.session_id, "personal", reason="Case 12", actor=SAM)
    services.end_session(live.session_id)
    configure(RETENTION={"personal": {"minimum_days": 10}})
    with pytest.raises(ErasedTooEarly) as early:
        services.purge_session(live.session_id, "content", reason="Case 12", actor=SAM)
    assert (early.value.rule, early.value.possible_at) == ("personal", MORNING + timedelta(days=10))
    assert "until 2026-03-12 10:00 UTC" in early.value.message
    clock.move_to(MORNING + timedelta(days=10))
    hold = services.place_legal_hold(scope="session", session_id=live.session_id, matter="Case 3", actor=SAM)
    with pytest.raises(LegallyHeld):
        services.purge_session(live.session_id, "content", reason="Case 12", actor=SAM)
    services.lift_legal_hold(hold.hold_id, reason="Closed", actor=SAM)
    assert selectors.erased(live.session_id) == {}
    services.purge_session(live.session_id, "content", reason="Case 12", actor=SAM)
    assert set(selectors.erased(live.session_id)) == {"content", "personal"}


@pytest.mark.parametrize(
    ("data_class", "reason", "error"),
    [
        ("everything", "x", InvalidValue), ("content", "", InvalidValue), ("content", " ", InvalidValue),
        ("content", "x" * 201, InvalidValue), ("content", "4111 1111 1111 1111", PaymentDataRefused),
    ],
)  # fmt: skip
def test_half_a_wish_erases_nothing(ended: OpenedSession, data_class: Any, reason: str, error: Any) -> None:
    with pytest.raises(error):
        services.purge_session(ended.session_id, data_class, reason=reason, actor=SAM)
    assert selectors.erased(ended.session_id) == {}


# A new link


def token(url: str) -> str:
    return url.rsplit("/", 1)[1]


@pytest.fixture(params=[True, False], ids=["ended by it", "going on"])
def handed(request: Any, shop: Any, opened: Any, configure: Any, clock: Any) -> tuple[OpenedSession, str]:
    """A session whose cart was handed over, and the link."""
    configure(END_ON_HANDOFF=request.param)
    one = cart_of(opened)
    return one, call("checkout", one).data["handoff_url"]


def test_a_new_link_takes_the_place_of_the_old_one(handed: tuple[OpenedSession, str]) -> None:
    one, old = handed
    found = selectors.handoff_by_token(token(old))
    made = services.resend_handoff(one.session_id, actor=SAM, note="She lost it")
    assert selectors.handoff_by_token(token(old)).status == "replaced"
    new = selectors.handoff_by_token(token(made.url))
    assert (new.status, new.handed_version, new.state) == ("open", found.handed_version, found.state)
    told = event(one, "checkout.link_resent")
    assert (told["actor"], told["params"]) == ("staff:17", {"handed_version": found.handed_version})
    assert note_of(one, "checkout.link_resent") == "She lost it"
    assert not is_stored(token(made.url))
    assert token(made.url) not in repr(made)
    assert is_sound(one)
    services.complete_handoff(new.id, version=new.version, order_ref="A-1")
    with pytest.raises(HandoffClosed, match="A-1"):
        services.resend_handoff(one.session_id, actor=SAM)


@pytest.mark.parametrize("ends_now", [True, False])
def test_a_link_that_has_run_out_is_made_anew(
    shop: Any, opened: Any, configure: Any, clock: Any, ends_now: bool
) -> None:
    """Also once the site leaves sessions open at a handoff, whose links are good no longer than these."""
    configure(END_ON_HANDOFF=True)
    one = cart_of(opened)
    old = selectors.handoff_by_token(token(call("checkout", one).data["handoff_url"]))
    clock.move_to(old.expires_at + timedelta(days=1))
    assert selectors.get_handoff(old.id).status == "expired"
    configure(END_ON_HANDOFF=ends_now)
    made = services.resend_handoff(one.session_id, actor=SAM)
    assert selectors.handoff_by_token(token(made.url)).can_be_paid


def test_there_is_no_new_link_where_nothing_can_be_paid(shop: Any, opened: Any, configure: Any) -> None:
    configure(END_ON_HANDOFF=False)
    one = cart_of(opened)
    with pytest.raises(HandoffNotFound):
        services.resend_handoff(one.session_id, actor=SAM)
    call("checkout", one)
    with pytest.raises(VersionConflict):
        services.resend_handoff(one.session_id, actor=SAM, expected_version=1)
    services.end_session(one.session_id, reason=EndReason.DELETED)
    with pytest.raises(HandoffClosed):
        services.resend_handoff(one.session_id, actor=SAM)
    assert CheckoutHandoff.objects.count() == 1
    assert "checkout.link_resent" not in kinds(one)


def test_a_new_link_does_not_pass_a_checkout_elsewhere(shop: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(END_ON_HANDOFF=True)
    one, other = cart_of(opened, consumer="c-1"), cart_of(opened, consumer="c-1")
    expires = selectors.handoff_by_token(token(call("checkout", one).data["handoff_url"])).expires_at
    clock.move_to(expires)
    other = cart_of(opened, consumer="c-1")
    call("checkout", other)
    with pytest.raises(CheckoutElsewhere):
        services.resend_handoff(one.session_id, actor=SAM)
    assert "checkout.link_resent" not in kinds(one)


@pytest.mark.django_db(transaction=True)
def test_the_shop_is_told_of_the_link_and_nothing_else_is(handed: tuple[OpenedSession, str], caplog: Any) -> None:
    one, _ = handed
    heard: list[dict[str, Any]] = []

    def mail(**facts: Any) -> None:
        heard.append(facts)
        if len(heard) > 1:
            raise RuntimeError("no mail server")

    assert not services.resend_handoff(one.session_id, actor=SAM).told
    checkout_link_resent.connect(mail)
    try:
        first = services.resend_handoff(one.session_id, actor=SAM)
        second = services.resend_handoff(one.session_id, actor=SAM, absolute=lambda path: path + "?lang=de")
    finally:
        checkout_link_resent.disconnect(mail)
    assert (first.told, first.failed, second.told, second.failed) == (True, False, True, True)
    assert (heard[0]["session_id"], heard[0]["url"]) == (one.session_id, first.url)
    assert heard[1]["url"] == second.url
    assert second.url.endswith("?lang=de")
    assert token(first.url) not in caplog.text
    assert token(second.url) not in caplog.text
