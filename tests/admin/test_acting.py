"""Staff act on sessions: each action with its permission, what it says first, what it does, and what is recorded."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.admin.acts import ACTIONS
from agent_sessions.domain.identity import Actor
from agent_sessions.exceptions import RequestInProgress, SessionHeld
from agent_sessions.models import CheckoutHandoff, LegalHold, Session, SiteEvent
from agent_sessions.selectors import _cache
from agent_sessions.services import OpenedSession
from agent_sessions.signals import checkout_link_resent
from tests.admin.conftest import person, reveal, text, url
from tests.admin.test_troubled import STATES
from tests.services.asking import REASON, event, is_sound, kinds
from tests.store.calling import call, counting, head, quantities, shop
from tests.stored import everything_stored, is_stored
from tests.tampering import Tamper, flipped

pytestmark = pytest.mark.django_db
__all__ = ["counting", "shop"]

WHY = "Mrs Brown called about it"
PERMISSIONS = {action.name: action.permission.partition(".")[2] for action in ACTIONS}
SYSTEM = Actor("system")


@pytest.fixture
def session(counting: Any, opened: Callable[..., OpenedSession], configure: Any) -> OpenedSession:
    """A live session at version 5: two mugs, committed at version 2, a plate since then, three plates held."""
    configure(POLICIES="tests.services.asking.POLICIES", END_ON_HANDOFF=False)
    one = opened(purpose="a gift for Anna")
    call("cart.add", one, item_id="mug", quantity=2)
    services.commit_session(one.session_id)
    call("cart.add", one, item_id="plate")
    services.place_hold(one.session_id, item="plate", quantity=3)
    services.change_session(one.session_id, expected_version=4, patch={"agent": {"mood": "hurried"}})
    return one


def may(*names: str) -> Client:
    """Somebody who may look, and do these."""
    return person("sam", "view_session", *{PERMISSIONS[name] for name in names})


def address(session: OpenedSession, action: str) -> str:
    return url("act", session.session_id, action)


def form_of(client: Client, place: str) -> dict[str, str]:
    """The hidden fields of the form as the page has them."""
    page = text(client, place)
    hidden = re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', page)
    return {name: value for name, value in hidden if name != "csrfmiddlewaretoken"}


def confirm(client: Client, place: str, **given: str) -> HttpResponse:
    """Open the page and confirm what it says."""
    return send(client, place, form_of(client, place) | given)


def send(client: Client, place: str, given: dict[str, str]) -> HttpResponse:
    response: Any = client.post(place, given)
    return response


def told(response: HttpResponse) -> str:
    return response.content.decode()


def note_of(session: OpenedSession, kind: str) -> object:
    return selectors.private_values(session.session_id, event(session, kind)["seq"]).get("note")


def nothing(_session: OpenedSession) -> None:
    pass


def ended(session: OpenedSession) -> None:
    services.end_session(session.session_id)


def taken(session: OpenedSession) -> None:
    services.hand_over(session.session_id, to=Actor("staff", "3"), actor=Actor("staff", "3"))


def handed_over(session: OpenedSession) -> None:
    asked = services.request_approval(session.session_id, reason=REASON)
    services.grant_approval(asked.approval_id)
    call("checkout", session)


def held_legally(session: OpenedSession) -> None:
    services.place_legal_hold(scope="session", session_id=session.session_id, matter="Case 3", actor=SYSTEM)


def broken(session: OpenedSession) -> None:
    Session.objects.filter(pk=session.session_id).update(patch_bytes=10**9)


DOES = [
    # action, what was before, what is filled in, what happens as the page says it, the event
    ("take_over", nothing, {"reason": WHY}, "What it wants to change is refused", "session.handed_over"),
    ("hand_back", taken, {"reason": WHY}, "Its agent goes on with version 5", "session.taken_back"),
    ("note", nothing, {"reason": WHY}, "stands in the timeline", "note.added"),
    ("note", ended, {"reason": WHY}, "stands in the timeline", "note.added"),
    ("resend_link", handed_over, {"reason": WHY}, "A new link opens the cart", "checkout.link_resent"),
    ("roll_back", nothing, {"reason": WHY}, "becomes that of version 2 again, as version 6", "session.rolled_back"),
    ("release_holds", nothing, {"reason": WHY}, "3 × plate", "hold.released"),
    ("repair", broken, {"reason": WHY}, "session, snapshot_version and patch_bytes", "session.repaired"),
    ("end", nothing, {"reason": WHY}, "What is held for it is released: 3 × plate.", "session.ended"),
    ("place_legal_hold", ended, {"matter": "Case 12"}, "Nothing of this session is erased", "legal_hold.placed"),
    ("lift_legal_hold", held_legally, {"reason": "Closed"}, "goes for the session again", "legal_hold.lifted"),
    ("purge", ended, {"data_class": "content", "reason": "Art. 17"}, "its key is destroyed", "pii.purged"),
]  # fmt: skip
IDS = [f"{name} {before.__name__}".removesuffix(" nothing") for name, before, *_ in DOES]


def filled(session: OpenedSession, action: str, given: dict[str, str]) -> dict[str, str]:
    if action != "lift_legal_hold":
        return given
    return {"hold": str(LegalHold.objects.get().pk), **given}


@pytest.mark.parametrize(("action", "before", "given", "says", "kind"), DOES, ids=IDS)
def test_who_has_the_permission_is_told_what_will_happen_and_it_happens(
    session: OpenedSession, action: str, before: Any, given: Any, says: str, kind: str
) -> None:
    before(session)
    sam, place = may(action), address(session, action)
    length = len(kinds(session))
    page = text(sam, place)
    assert says in page
    assert str(session.session_id) in page
    assert len(kinds(session)) == length, "looking does nothing"

    done = confirm(sam, place, **filled(session, action, given))

    assert done.status_code == (200 if action == "resend_link" else 302), told(done)
    made = event(session, kind)
    assert made["actor"] == f"staff:{User.objects.get(username='sam').pk}"
    if given.get("reason") == WHY:
        assert note_of(session, kind) == WHY
        assert not is_stored("Mrs Brown")
    assert is_sound(session)


def test_what_was_done_is_so(session: OpenedSession) -> None:
    """A session, action after action."""
    sam = may(*PERMISSIONS)
    me = f"staff:{User.objects.get(username='sam').pk}"

    confirm(sam, address(session, "take_over"), reason=WHY)
    assert head(session).held_by == me
    with pytest.raises(SessionHeld):
        call("cart.add", session, item_id="mug")
    assert "You have it already." in text(sam, address(session, "take_over"))

    confirm(sam, address(session, "release_holds"), reason=WHY)
    assert selectors.held_by(session.session_id) == []
    confirm(sam, address(session, "roll_back"), reason=WHY)
    assert quantities(session) == {"mug": 2}

    confirm(sam, address(session, "hand_back"))
    assert head(session).held_by == ""
    call("cart.add", session, item_id="mug")

    confirm(sam, address(session, "end"), reason=WHY)
    assert (head(session).status, head(session).end_reason) == ("ended", "revoked")
    assert f"ended by Staff {User.objects.get(username='sam').pk}" in text(sam, url("change", session.session_id))
    assert "ended by the shop" in text(sam, url("changelist"))
    confirm(sam, address(session, "purge"), data_class="personal", reason="Art. 17")
    assert set(selectors.erased(session.session_id)) == {"personal"}
    assert "All of its content" in text(sam, address(session, "purge"))
    confirm(sam, address(session, "purge"), data_class="content", reason="Art. 17")
    assert set(selectors.erased(session.session_id)) == {"personal", "content"}
    assert is_sound(session)


# What is offered


def test_the_overview_offers_what_is_possible_and_says_of_the_rest_why_not(session: OpenedSession) -> None:
    sam = may(*PERMISSIONS)
    page = text(sam, url("change", session.session_id))
    now, _, later = page.partition("not possible now")
    for name in ("take_over", "note", "roll_back", "release_holds", "place_legal_hold", "repair", "end"):
        assert f'href="{address(session, name)}"' in now
    for why_not in ("No approval waits", "No person has it.", "Nothing was handed to a person", "no legal hold",
                    "It has not ended."):  # fmt: skip
        assert why_not in later
    for name in ("hand_back", "resend_link", "lift_legal_hold", "purge"):
        assert address(session, name) not in page


def test_an_approval_that_waits_is_answered_on_its_own_page(session: OpenedSession) -> None:
    asked = services.request_approval(session.session_id, reason=REASON)
    place = url("approval", session.session_id, asked.approval_id)
    assert f'<a href="{place}">Answer the approval</a>' in text(may("approval"), url("change", session.session_id))
    page = person("una", "view_session").get(url("change", session.session_id)).content.decode()
    assert "Answer the approval" not in page


@pytest.mark.parametrize("name", PERMISSIONS)
def test_one_permission_offers_its_own_actions_and_no_other(session: OpenedSession, name: str) -> None:
    page = text(may(name), url("change", session.session_id))
    labels = {action.name: str(action.label) for action in ACTIONS}
    for other, label in labels.items():
        shown = f">{label}<" in page
        assert shown is (PERMISSIONS[other] == PERMISSIONS[name]), other


def test_who_may_only_look_is_offered_nothing(staff: Client, session: OpenedSession) -> None:
    assert 'id="ags-acting"' not in text(staff, url("change", session.session_id))


@pytest.mark.parametrize(
    ("before", "possible"),
    [
        (ended, {"note", "place_legal_hold", "purge"}),
        (taken, {"take_over", "hand_back", "note", "roll_back", "release_holds", "place_legal_hold", "end"}),
    ],
)
def test_what_is_possible_depends_on_where_the_session_stands(
    session: OpenedSession, before: Any, possible: set[str]
) -> None:
    before(session)
    sam = may(*PERMISSIONS)
    for name in PERMISSIONS.keys() - {"approval"}:
        page = text(sam, address(session, name))
        assert ('name="submission"' in page) is (name in possible), name
        if name not in possible | {"repair"}:
            assert "This is not possible now." in page


def test_a_rollback_is_offered_where_a_version_was_committed(session: OpenedSession) -> None:
    sam = may("roll_back")
    link = f"{address(session, 'roll_back')}?to="
    offers = [link in text(sam, url("version_at", session.session_id, number)) for number in range(1, 6)]
    assert offers == [False, True, False, False, False]
    assert link not in text(person("una", "view_session"), url("version_at", session.session_id, 2))
    page = text(sam, f"{link}2")
    assert "What came after that version" in page
    assert "Plate" in page
    assert "Version 3 was never committed." in text(sam, f"{link}3")
    assert "nothing came after it" in text(sam, f"{link}99")
    assert confirm(sam, f"{link}2", reason=WHY).status_code == 302
    assert quantities(session) == {"mug": 2}


# What keeps it from being done


@pytest.mark.parametrize("action", ["take_over", "note", "release_holds", "roll_back", "end"])
@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({}, 422, "This field is required."), ({"reason": " \n "}, 422, "This field is required."),
        ({"reason": "x" * 1001}, 422, "at most 1000"),
        ({"reason": "card 4111 1111 1111 1111"}, 422, "looks like a card"),
    ],
)  # fmt: skip
def test_without_a_fit_reason_nothing_is_done(
    session: OpenedSession, action: str, given: Any, status: int, says: str
) -> None:
    sam = may(action)
    form = form_of(sam, address(session, action))
    before = Session.objects.values().get()
    page = send(sam, address(session, action), form | given)
    assert page.status_code == status
    assert says in told(page)
    assert "Nothing was done" in told(page)
    assert "4111" not in told(page), "nor does the page say a card's number again"
    if "card" not in given.get("reason", ""):
        assert re.search(r"<textarea[^>]* autofocus", told(page)), "where it is to be corrected"
    assert Session.objects.values().get() == before


BOUND = {action.name for action in ACTIONS if action.bound}


@pytest.mark.parametrize(
    ("action", "before", "given"),
    [(name, before, given) for name, before, given, *_ in DOES if name in BOUND - {"purge"}],
)
def test_a_session_that_has_moved_on_is_left_alone_and_the_page_says_what_has_changed(
    session: OpenedSession, action: str, before: Any, given: Any
) -> None:
    """The stale page: nothing is done, and it can be confirmed again."""
    before(session)
    sam, place = may(action), address(session, action)
    form = form_of(sam, place) | given
    version = head(session).version
    services.change_session(
        session.session_id, expected_version=version, patch={"agent": {"mood": "calm"}}, actor=Actor("staff", "9")
    )
    before_it = Session.objects.values().get(), list(CheckoutHandoff.objects.values())

    page = send(sam, place, form)

    assert page.status_code == 409
    said = told(page)
    assert "the session has moved on" in said
    assert f"confirmed for version {version}; the session stands at version {version + 1}" in said
    assert f"{url('version_at', session.session_id, version + 1)}?compare={version}#differences" in said
    assert "Session changed" in said
    assert "variables changed" in said
    assert (Session.objects.values().get(), list(CheckoutHandoff.objects.values())) == before_it
    if "reason" in given:
        assert WHY in said, "nobody writes it twice"
    again = re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)"', said)
    done = send(sam, place, dict(again) | given)
    assert done.status_code in (200, 302)
    assert is_sound(session)


@pytest.mark.parametrize("version", ["", "x", "0", "-1", "99", "9" * 30])
def test_a_form_for_no_version_does_nothing(session: OpenedSession, version: str) -> None:
    sam = may("end")
    page = send(sam, address(session, "end"), {"version": version, "reason": WHY})
    assert page.status_code == 409
    assert "has moved on" in told(page)
    assert head(session).status == "active"


def test_who_is_overtaken_while_it_is_done_is_told_too(session: OpenedSession, monkeypatch: Any) -> None:
    sam = may("end")
    form = form_of(sam, address(session, "end")) | {"reason": WHY}
    claim = services.claim_key

    def overtaken(*args: Any, **facts: Any) -> Any:
        call("cart.add", session, item_id="mug")
        return claim(*args, **facts)

    monkeypatch.setattr(services, "claim_key", overtaken)
    page = send(sam, address(session, "end"), form)
    assert page.status_code == 409
    assert "Item put in the cart" in told(page)
    assert "Anna" not in told(page)
    assert head(session).status == "active"


@pytest.mark.parametrize("action", ["take_over", "note", "place_legal_hold"])
def test_what_says_nothing_of_the_cart_holds_at_any_version(session: OpenedSession, action: str) -> None:
    """A runaway agent is stopped however fast it is."""
    sam, place = may(action), address(session, action)
    form = form_of(sam, place) | {"reason": WHY, "matter": "Case 12"}
    call("cart.add", session, item_id="mug")
    assert send(sam, place, form).status_code == 302


@pytest.mark.parametrize("moved", [True, False])
def test_a_form_that_comes_while_it_is_being_carried_out_says_so(
    session: OpenedSession, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def running(*_args: Any, **_claimed: Any) -> None:
        raise RequestInProgress(retry_after=1)

    sam, place = may("end"), address(session, "end")
    form = form_of(sam, place) | {"reason": WHY} | ({"version": "1"} if moved else {})
    monkeypatch.setattr(services, "claim_key", running)
    page = told(sam.post(place, form, follow=True))
    assert "the first is being carried out" in page
    assert "Nothing was done" not in page


def test_a_form_that_comes_twice_is_carried_out_once(session: OpenedSession) -> None:
    sam = may("note", "place_legal_hold", "end")
    for action, given, kind in (
        ("note", {"reason": WHY}, "note.added"),
        ("place_legal_hold", {"matter": "Case 12"}, "legal_hold.placed"),
        ("end", {"reason": WHY}, "session.ended"),
    ):
        form = form_of(sam, address(session, action)) | given
        first = send(sam, address(session, action), form)
        second = sam.post(address(session, action), form, follow=True)
        assert first.status_code == 302
        assert "That was done already" in second.content.decode()
        assert kinds(session).count(kind) == 1
    assert LegalHold.objects.count() == 1


def test_the_same_form_with_other_words_asks_once_more(session: OpenedSession) -> None:
    sam = may("note")
    form = form_of(sam, address(session, "note"))
    send(sam, address(session, "note"), form | {"reason": WHY})
    page = send(sam, address(session, "note"), form | {"reason": "Something else"})
    assert page.status_code == 409
    assert "with other words" in told(page)
    assert kinds(session).count("note.added") == 1


def test_what_fails_can_be_sent_again(session: OpenedSession) -> None:
    sam = may("note")
    form = form_of(sam, address(session, "note"))
    assert send(sam, address(session, "note"), form | {"reason": "4111 1111 1111 1111"}).status_code == 422
    assert send(sam, address(session, "note"), form | {"reason": WHY}).status_code == 302


def test_a_session_that_ends_meanwhile_says_so(session: OpenedSession) -> None:
    sam = may("take_over", "end")
    forms = {name: form_of(sam, address(session, name)) | {"reason": WHY} for name in ("take_over", "end")}
    services.end_session(session.session_id)
    for name, form in forms.items():
        page = send(sam, address(session, name), form)
        assert page.status_code == 409
        assert "It has ended." in told(page)
        assert 'name="submission"' not in told(page)


def test_no_form_from_elsewhere_is_taken(session: OpenedSession) -> None:
    form = form_of(may("end"), address(session, "end")) | {"reason": WHY}
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="sam"))
    before = everything_stored()
    assert send(strict, address(session, "end"), form).status_code == 403
    assert everything_stored() == before


def test_there_is_no_other_action_or_method(admin_client: Client, session: OpenedSession) -> None:
    for name in ("nonsense", "approval"):
        for method in (admin_client.get, admin_client.post):
            assert method(address(session, name)).status_code == 404
    nobody = url("act", uuid.uuid4(), "end")
    assert (admin_client.get(nobody).status_code, admin_client.post(nobody).status_code) == (404, 404)
    for method in (admin_client.put, admin_client.patch, admin_client.delete):
        assert method(address(session, "end")).status_code == 405
    assert head(session).status == "active"


# Erased, held, and damaged


def test_a_minimum_period_refuses_an_erasure_with_rule_and_date(
    session: OpenedSession, configure: Any, clock: Any
) -> None:
    services.end_session(session.session_id)
    ended_at = head(session).ended_at
    assert ended_at is not None
    configure(RETENTION={"personal": {"minimum_days": 10}})
    sam, place = may("purge"), address(session, "purge")
    clock.move_to(ended_at)
    sam.force_login(User.objects.get(username="sam"))
    assert "Rule personal keeps it until" in text(sam, place)
    page = send(sam, place, {"version": str(head(session).version), "data_class": "personal", "reason": "x"})
    assert page.status_code == 409
    assert "Rule personal keeps it until" in told(page)
    assert selectors.erased(session.session_id) == {}


def test_a_legal_hold_refuses_an_erasure_with_the_date_of_its_review(session: OpenedSession) -> None:
    services.end_session(session.session_id)
    sam, place = may("purge", "lift_legal_hold"), address(session, "purge")
    form = form_of(sam, place) | {"data_class": "content", "reason": "x"}
    held_legally(session)
    page = send(sam, place, form)
    assert page.status_code == 409
    assert "It is under legal hold; the review is due" in told(page)
    assert selectors.erased(session.session_id) == {}
    assert "Case 3, placed by System on" in text(sam, address(session, "lift_legal_hold"))


def test_a_legal_hold_is_asked_again_on_the_day_that_was_set(session: OpenedSession) -> None:
    sam, place = may("place_legal_hold"), address(session, "place_legal_hold")
    assert confirm(sam, place, matter="Case 12", review="2020-01-01").status_code == 422
    assert confirm(sam, place, matter="", review="").status_code == 422
    assert not LegalHold.objects.exists()
    confirm(sam, place, matter="Case 12", review="2099-05-01")
    hold = LegalHold.objects.get()
    assert (hold.matter, hold.review_at.year, hold.session) == ("Case 12", 2099, session.session_id)


def test_holds_on_more_than_this_session_are_not_lifted_here(session: OpenedSession) -> None:
    now = head(session).created_at
    services.place_legal_hold(
        scope="period", period_start=now - timedelta(days=1), period_end=now + timedelta(days=1), matter="Case 4",
        actor=SYSTEM,
    )  # fmt: skip
    sam = may("lift_legal_hold")
    assert "on more than this session" in text(sam, address(session, "lift_legal_hold"))
    held_legally(session)
    page = confirm(sam, address(session, "lift_legal_hold"), hold=str(LegalHold.objects.get(scope="period").pk),
                   reason="x")  # fmt: skip
    assert page.status_code == 422
    assert LegalHold.objects.filter(lifted_at__isnull=True).count() == 2


def test_an_erased_session_takes_no_words(session: OpenedSession) -> None:
    services.end_session(session.session_id)
    sam = may(*PERMISSIONS)
    services.purge_session(session.session_id, "content", reason="Art. 17", actor=SYSTEM)
    for name, says in (
        ("note", "it takes no words"),
        ("purge", "All of its content was erased."),
        ("end", "It has ended."),
        ("resend_link", "Nothing was handed"),
        ("roll_back", "It has ended."),
    ):
        assert says in text(sam, address(session, name))
    assert confirm(sam, address(session, "place_legal_hold"), matter="Case 12").status_code == 302


def test_a_long_history_is_not_read_whole_whenever_somebody_opens_a_page(
    session: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_sessions.admin.acts.keeping.MOST_READ", head(session).head_seq - 1)
    monkeypatch.setattr("agent_sessions.selectors.verify_session", lambda _session: pytest.fail("it was read"))
    sam, place = may("repair"), address(session, "repair")
    command = f"manage.py verify_sessions --repair --session {session.session_id}"
    for page in (text(sam, place), text(sam, url("change", session.session_id)), told(send(sam, place, {}))):
        assert f"It is too long to be checked while a page waits. Run: {command}" in page


def test_a_quarantined_session_is_held_or_repaired_and_nothing_else(session: OpenedSession) -> None:
    Tamper(session.session_id).session(merchant="elsewhere")
    services.quarantine_damaged(selectors.verify_session(session.session_id))
    sam = may(*PERMISSIONS)
    page = text(sam, url("change", session.session_id))
    assert "It is quarantined: check and repair it first." in page
    for name in PERMISSIONS.keys() - {"approval", "place_legal_hold", "repair"}:
        assert 'name="submission"' not in text(sam, address(session, name))
    assert confirm(sam, address(session, "place_legal_hold"), matter="Case 12").status_code == 302

    page = text(sam, address(session, "repair"))
    assert "session, merchant: is not what the event session.created says" in page
    assert "The history itself is damaged" in page
    assert 'name="submission"' not in page
    refused = send(sam, address(session, "repair"), {"reason": WHY})
    assert (refused.status_code, "cannot be made again" in told(refused)) == (500, True)

    Tamper(session.session_id).session(merchant="default")
    assert "The session is opened again." in text(sam, address(session, "repair"))
    assert confirm(sam, address(session, "repair"), reason=WHY).status_code == 302
    assert head(session).status == "active"
    assert note_of(session, "session.released") == WHY


@pytest.mark.parametrize("state", STATES)
def test_every_action_opens_whatever_is_wrong(session: OpenedSession, state: str) -> None:
    STATES[state][0](session)
    _cache.local.clear()
    sam = may(*PERMISSIONS)
    for name in PERMISSIONS.keys() - {"approval"}:
        assert str(session.session_id) in text(sam, address(session, name))


def test_the_check_is_a_dry_run(session: OpenedSession) -> None:
    sam, place = may("repair"), address(session, "repair")
    page = text(sam, place)
    assert "nothing is wrong" in page
    assert "There is nothing to repair." in page
    broken(session)
    before = everything_stored()
    page = text(sam, place)
    assert "All of that is made again from the history" in page
    assert everything_stored() == before


def test_an_action_on_a_damaged_state_says_what_is_wrong(session: OpenedSession) -> None:
    tamper = Tamper(session.session_id)
    sam = may("roll_back")
    form = form_of(sam, address(session, "roll_back")) | {"reason": WHY}
    tamper.version(2, patch=flipped(tamper.versions.get(number=2).patch))
    _cache.local.clear()
    page = send(sam, address(session, "roll_back"), form)
    assert page.status_code in (409, 500)
    assert "Nothing was done" in told(page)
    assert "session.rolled_back" not in kinds(session)


# The link to pay


def link_in(page: str) -> str:
    found = re.search(r"https://shop\.example/agent-sessions/handoff/[\w-]+", page)
    assert found is not None
    return found[0]


def test_the_new_link_is_shown_once_and_stands_nowhere_else(session: OpenedSession, caplog: Any) -> None:
    handed_over(session)
    sam = may("resend_link")
    page = told(confirm(sam, address(session, "resend_link"), reason=WHY))
    link = link_in(page)
    assert selectors.handoff_by_token(link.rpartition("/")[2]).can_be_paid
    assert f'href="{link}' not in page
    for name in ("change", "timeline", "events", "versions"):
        assert link not in text(sam, url(name, session.session_id))
    assert not is_stored(link.rpartition("/")[2])
    assert link.rpartition("/")[2] not in caplog.text


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("works", [True, False])
@pytest.mark.django_db(transaction=True)
def test_where_the_shop_sends_the_link_nobody_of_the_staff_sees_it(
    session: OpenedSession, works: bool, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a request is one transaction, which would end after the page has said whether it was sent."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic)
    handed_over(session)
    sam = may("resend_link")
    sent: list[str] = []

    def mail(url: str, **_facts: Any) -> None:
        sent.append(url)
        if not works:
            raise RuntimeError("no mail server")

    checkout_link_resent.connect(mail)
    try:
        assert "you do not see it" in text(sam, address(session, "resend_link"))
        done = confirm(sam, address(session, "resend_link"), reason=WHY)
        after = text(sam, url("change", session.session_id))
    finally:
        checkout_link_resent.disconnect(mail)
    assert len(sent) == 1
    if works:
        assert done.status_code == 302
        assert "The shop was given the new link to send." in after
        assert sent[0] not in after
    else:
        assert "could not send the new link" in told(done)
        assert link_in(told(done)) == sent[0]


# Words of strangers


def test_hostile_words_do_no_harm(session: OpenedSession) -> None:
    script = "<script>alert(1)</script>\u202e"
    sam = person("sam", "view_session", "view_session_content", "note_session", "hold_session_legally")
    confirm(sam, address(session, "note"), reason=script)
    confirm(sam, address(session, "place_legal_hold"), matter=script)
    reveal(sam, session.session_id)
    for place in (url("timeline", session.session_id), address(session, "lift_legal_hold")):
        page = text(sam, place)
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "&lt;script&gt;alert(1)" in page
    stale = send(sam, address(session, "note"), {"reason": script * 100})
    assert "<script>alert" not in told(stale)


def test_a_note_is_read_by_who_may_read_what_was_said(session: OpenedSession) -> None:
    confirm(may("note"), address(session, "note"), reason=WHY)
    assert "Note left" in text(person("una", "view_session"), url("timeline", session.session_id))
    assert WHY not in text(person("ula", "view_session"), url("timeline", session.session_id))


# Refusals


@pytest.mark.parametrize("name", [name for name in PERMISSIONS if name != "approval"])
def test_a_post_without_the_permission_does_nothing_and_is_recorded(session: OpenedSession, name: str) -> None:
    others = [other for other in PERMISSIONS if PERMISSIONS[other] != PERMISSIONS[name]]
    sam, place = may(*others), address(session, name)
    before = everything_stored()
    assert sam.get(place).status_code == 403
    assert everything_stored() == before, "looking is not recorded"
    for _ in range(3):
        assert send(sam, place, {"version": "5", "reason": WHY, "matter": "x"}).status_code == 403
    made = event(session, "action.refused")
    assert (made["actor"], made["params"]) == (f"staff:{User.objects.get(username='sam').pk}", {"action": name})
    assert kinds(session).count("action.refused") == 1
    assert (head(session).version, head(session).status, head(session).held_by) == (5, "active", "")
    assert is_sound(session)
    assert "Staff action refused" in text(sam, url("timeline", session.session_id) + "?failed=1")


def test_what_other_pages_refuse_is_recorded_too(session: OpenedSession) -> None:
    asked = services.request_approval(session.session_id, reason=REASON)
    nobody, viewer = person("no"), person("una", "view_session")
    places = {
        "approval": url("approval", session.session_id, asked.approval_id),
        "reveal": url("reveal", session.session_id),
        "end": address(session, "end"),
    }
    for client in (nobody, viewer):
        for place in places.values():
            assert client.post(place, {"answer": "grant", "confirmed": "yes", "reason": "x"}).status_code == 403
    refused = [one for one in selectors.events(session.session_id) if one["kind"] == "action.refused"]  # type: ignore[index,call-overload]
    told_of = [(one["actor"], one["params"]["action"]) for one in refused]  # type: ignore[index,call-overload]
    who = [f"staff:{User.objects.get(username=name).pk}" for name in ("no", "una")]
    assert told_of == [(one, action) for one in who for action in places]
    assert selectors.get_approval(asked.approval_id).waits

    assert nobody.post(url("export"), {"reason": "x"}).status_code == 403
    assert SiteEvent.objects.filter(kind="action.refused").count() == 1


def test_nobody_fills_a_history_by_names_of_their_own(session: OpenedSession) -> None:
    nobody = person("no")
    for number in range(5):
        assert nobody.post(address(session, f"made-up-{number}")).status_code == 403
    assert kinds(session).count("action.refused") == 1
    assert event(session, "action.refused")["params"] == {"action": "act"}


def test_a_refusal_is_recorded_where_a_request_is_one_transaction(session: OpenedSession, monkeypatch: Any) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert send(person("una", "view_session"), address(session, "end"), {}).status_code == 403
    assert kinds(session)[-1] == "action.refused"


def test_a_stranger_is_sent_to_log_in(client: Client, session: OpenedSession) -> None:
    before = len(kinds(session))
    response: Any = client.post(address(session, "end"), {"reason": WHY})
    assert (response.status_code, response.headers["Location"].startswith("/admin/login/")) == (302, True)
    assert len(kinds(session)) == before
