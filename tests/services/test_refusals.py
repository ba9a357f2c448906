"""A change that cannot be held is refused with the place and the reason, and nothing is written (S7, V3, A1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    InvalidValue,
    LimitExceeded,
    SessionEnded,
    SessionExpired,
    SessionNotFound,
)
from tests.conftest import MORNING
from tests.shopping import basket, line, variables
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def nested(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"a": value}
    return value


REFUSED: dict[str, tuple[Any, str, str]] = {
    "NUL": (variables(a="x\0y"), "/agent/a", "NUL"),
    "NUL in a key": (variables(**{"x\0y": 1}), "/agent", "NUL"),
    "lone surrogate": (variables(a=["\ud83d"]), "/agent/a/0", "surrogate"),
    "float": (variables(price=12.5), "/agent/price", "minor units"),
    "2**53": (variables(a=2**53), "/agent/a", "2\\^53"),
    "-2**53": (variables(a=-(2**53)), "/agent/a", "2\\^53"),
    "null in a list": (variables(a=[1, None]), "/agent/a/1", "[Nn]ull"),
    "33 levels": ({"agent": nested(32)}, "/agent" + "/a" * 31, "32 levels"),
    "tuple": (variables(a=(1, 2)), "/agent/a", "send a list"),
    "key with a slash": (variables(**{"a/b~c": 0.5}), "/agent/a~1b~0c", "minor units"),
    "empty key": ({"agent": {"": 1}}, "/agent", "empty"),
    "long key": ({"agent": {"k" * 201: 1}}, "/agent", "200"),
    "number as key": ({"agent": {1: 1}}, "/agent", "keys are text"),
    "unknown slice": ({"basket": {}}, "/basket", "shopping, customer, conversation"),
    "deleting an unknown slice": ({"basket": None}, "/basket", "no such slice"),
    "unknown field": ({"shopping": {"colour": "red"}}, "/shopping/colour", "no such field"),
    "text where a map belongs": ({"shopping": {"lines": "a mug"}}, "/shopping/lines", "[Ss]end a map"),
    "slice that is text": ({"agent": "hello"}, "/agent", "[Ss]end a map"),
    "half a line": (basket(b={"item": "x", "quantity": 1}), "/shopping/lines/b", "unit_price, currency"),
    "quantity 0": (basket(a={"quantity": 0}), "/shopping/lines/a/quantity", "1 to 1000000"),
    "quantity true": (basket(a={"quantity": True}), "/shopping/lines/a/quantity", "1 to 1000000"),
    "small currency": (basket(a={"currency": "eur"}), "/shopping/lines/a/currency", "ISO 4217"),
    "unknown line field": (basket(a={"price": 1}), "/shopping/lines/a/price", "no such field"),
    "amount without currency": (
        {"shopping": {"delivery": {"method": "post", "amount": 1}}},
        "/shopping/delivery",
        "both or neither",
    ),
    "list for a patch": ([], "", "A patch is a map"),
    "null for a patch": (None, "", "A patch is a map"),
}


@pytest.mark.parametrize(("patch", "path", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_values_that_cannot_be_held_are_refused_with_their_place(
    opened: Any, patch: Any, path: str, reason: str
) -> None:
    """S7, V3"""
    one = opened(state=basket(a=line()))
    before = everything_stored()

    with pytest.raises(InvalidValue, match=reason) as refusal:
        services.change_session(one.session_id, expected_version=1, patch=patch)

    assert (refusal.value.path, refusal.value.details["path"]) == (path, path)
    assert everything_stored() == before


def test_the_largest_that_can_be_held_is_held(opened: Any) -> None:
    """What is refused above is refused at its limit, not below."""
    state = {"agent": {**nested(31), "most": 2**53 - 1, "least": -(2**53) + 1, "k" * 200: "🛒"}}
    one = opened()

    services.change_session(one.session_id, expected_version=1, patch=state)

    assert selectors.current_state(one.session_id).state == state


@pytest.mark.parametrize("expected", ["1", 1.0, True, None, [1]])
def test_the_expected_version_has_to_be_a_number(opened: Any, expected: object) -> None:
    """V3: nothing is guessed about what a change is based on."""
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as refusal:
        services.change_session(one.session_id, expected_version=expected, patch=variables(a=1))

    assert refusal.value.path == "/expected_version"
    assert everything_stored() == before


def test_the_expected_version_cannot_be_left_out(opened: Any) -> None:
    """V3"""
    with pytest.raises(TypeError, match="expected_version"):
        services.change_session(opened().session_id, patch=variables(a=1))


@pytest.mark.parametrize(
    "kind", ["", "changed", "Cart.Added", "cart.", "cart item.added", "cart.ädded", "a." + "b" * 63, None, 7, "a.b\n"]
)
def test_a_kind_is_dotted_lower_case_words(opened: Any, kind: Any) -> None:
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as change:
        services.change_session(one.session_id, expected_version=1, patch=variables(a=1), kind=kind)
    with pytest.raises(InvalidValue) as event:
        services.record_event(one.session_id, kind=kind)

    assert (change.value.path, event.value.path) == ("/kind", "/kind")
    assert everything_stored() == before


@pytest.mark.parametrize("kind", ["session.created", "session.ended", "state.migrated"])
def test_kinds_that_the_package_gives_a_meaning_are_its_own(opened: Any, kind: str) -> None:
    """A1, R6: an end that is none, or a migration that is none, would be believed by readers of the history."""
    one = opened()
    before = everything_stored()

    with pytest.raises(InvalidValue) as change:
        services.change_session(one.session_id, expected_version=1, patch=variables(a=1), kind=kind)
    with pytest.raises(InvalidValue) as event:
        services.record_event(one.session_id, kind=kind)

    assert (change.value.path, event.value.path) == ("/kind", "/kind")
    assert everything_stored() == before


@pytest.mark.parametrize("note", ["n" * 1001, "a\0b", "\udfff", 7, None])
def test_a_note_is_text_of_at_most_1000_characters(opened: Any, note: Any) -> None:
    one = opened()
    before = everything_stored()

    for write in (
        lambda: services.change_session(one.session_id, expected_version=1, patch=variables(a=1), note=note),
        lambda: services.record_event(one.session_id, kind="cart.viewed", note=note),
        lambda: services.end_session(one.session_id, note=note),
    ):
        with pytest.raises(InvalidValue) as refusal:
            write()
        assert refusal.value.path == "/note"

    assert everything_stored() == before


def test_a_slice_that_would_become_too_large_is_refused(opened: Any, configure: Any) -> None:
    """S7: the error names the slice, its size, the limit and the setting."""
    configure(MAX_SLICE_BYTES=60)
    one = opened(state=variables(a="x" * 40))
    before = everything_stored()

    with pytest.raises(LimitExceeded) as refusal:
        services.change_session(one.session_id, expected_version=1, patch=variables(b="y" * 40))

    error = refusal.value
    size = len('{"a":"","b":""}') + 80
    assert (error.what, error.size, error.limit, error.status) == ("slice agent", size, 60, 413)
    assert "AGENT_SESSIONS['MAX_SLICE_BYTES']" in str(error)
    assert everything_stored() == before


def test_a_slice_of_exactly_the_limit_is_kept(opened: Any, configure: Any) -> None:
    """S7: what fits is never refused, however it came to its size."""
    configure(MAX_SLICE_BYTES=len('{"a":""}') + 50)
    one = opened()
    for version, letter in enumerate("xyz", start=1):
        services.change_session(one.session_id, expected_version=version, patch=variables(a=letter * 50))

    assert selectors.current_state(one.session_id).state == variables(a="z" * 50)
    with pytest.raises(LimitExceeded):
        services.change_session(one.session_id, expected_version=4, patch=variables(a="z" * 51))


def test_a_state_that_would_become_too_large_is_refused(opened: Any, configure: Any) -> None:
    """S7: in all"""
    configure(MAX_SLICE_BYTES=200, MAX_STATE_BYTES=250)
    one = opened(state=variables(a="x" * 150))
    before = everything_stored()

    with pytest.raises(LimitExceeded) as refusal:
        services.change_session(one.session_id, expected_version=1, patch={"conversation": {"summary": "y" * 100}})

    assert (refusal.value.what, refusal.value.limit) == ("the state", 250)
    assert "AGENT_SESSIONS['MAX_STATE_BYTES']" in str(refusal.value)
    assert everything_stored() == before
    services.change_session(
        one.session_id, expected_version=1, patch={"agent": None, "conversation": {"summary": "y" * 100}}
    )


def test_the_refusal_of_a_value_does_not_repeat_it(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    """S8: what was refused may be what must not be stored or logged anywhere."""
    one = opened()
    with pytest.raises(InvalidValue) as refusal:
        services.change_session(one.session_id, expected_version=1, patch=variables(card="4111111111111111\0"))

    assert "4111" not in f"{refusal.value!r} {refusal.value.details} {caplog.text}"


def writes(session_id: UUID) -> dict[str, Any]:
    """Everything that writes to a session, by what it is called."""
    return {
        "change": lambda: services.change_session(session_id, expected_version=1, patch=variables(a=1)),
        "event": lambda: services.record_event(session_id, kind="cart.viewed"),
        "message": lambda: services.add_message(session_id, role="user", content="hello"),
        "end": lambda: services.end_session(session_id),
    }


@pytest.mark.parametrize("write", ["change", "event", "message", "end"])
def test_a_session_that_is_not_there_is_not_found(write: str) -> None:
    nowhere = uuid4()

    with pytest.raises(SessionNotFound, match=str(nowhere)) as refusal:
        writes(nowhere)[write]()

    assert refusal.value.status == 404


@pytest.mark.parametrize("write", ["change", "event", "message", "end"])
@pytest.mark.parametrize("reason", [EndReason.COMPLETED, EndReason.DELETED])
def test_an_ended_session_takes_nothing_more(opened: Any, reason: EndReason, write: str) -> None:
    """L6: and says how it ended."""
    one = opened()
    services.end_session(one.session_id, reason=reason)
    before = everything_stored()

    with pytest.raises(SessionEnded, match="Open a new session") as refusal:
        writes(one.session_id)[write]()

    assert (refusal.value.code, refusal.value.end_reason) == ("session_ended", reason.value)
    assert everything_stored() == before


@pytest.mark.parametrize("write", ["change", "event", "message", "end"])
@pytest.mark.parametrize("job_came_by", [False, True])
def test_a_session_past_its_deadline_takes_nothing_more(opened: Any, clock: Any, write: str, job_came_by: bool) -> None:
    """L1: exactly from the deadline on, whether or not a job has ended it."""
    one = opened()
    clock.move_to(one.expires_at - timedelta(seconds=0.5))
    services.record_event(one.session_id, kind="cart.viewed")
    clock.move_to(one.expires_at)
    if job_came_by:
        services.expire_session(one.session_id)
    before = everything_stored()

    with pytest.raises(SessionExpired) as refusal:
        writes(one.session_id)[write]()

    assert (refusal.value.code, refusal.value.end_reason) == ("session_expired", "expired")
    assert everything_stored() == before


def test_a_head_from_before_the_deadline_gains_nothing(opened: Any, clock: Any) -> None:
    """L1: the database decides, not what the caller read."""
    one = opened()
    head = selectors.authenticate(one.token)
    clock.move_to(one.expires_at)
    before = everything_stored()

    with pytest.raises(SessionExpired):
        services.change_session(head, expected_version=1, patch=variables(a=1))

    assert everything_stored() == before


def test_a_head_that_promises_more_time_than_there_is_gains_nothing(opened: Any, clock: Any) -> None:
    """L1: each write asks the database for the deadline."""
    one = opened()
    head = replace(selectors.authenticate(one.token), expires_at=MORNING + timedelta(days=1))
    clock.move_to(one.expires_at)
    before = everything_stored()

    for write in (
        lambda: services.change_session(head, expected_version=1, patch=variables(a=1)),
        lambda: services.record_event(head, kind="cart.viewed"),
        lambda: services.add_message(head, role="user", content="hello"),
        lambda: services.end_session(head, reason=EndReason.COMPLETED),
    ):
        with pytest.raises(SessionExpired):
            write()

    assert everything_stored() == before
