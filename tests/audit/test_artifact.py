from __future__ import annotations

import json
from typing import Any

import pytest

from agent_sessions.audit.artifact import (
    ENVELOPE_DOMAIN,
    Opening,
    build_artifact,
    make_seal,
    seal_with,
)
from agent_sessions.audit.events import event_hash, root_hash
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.encoding import from_base64
from agent_sessions.crypto.signing import new_signing_key, sign, verify
from agent_sessions.exceptions import InvalidValue, KeyProblem, SessionDamaged
from tests.golden.make import SITE_PRIVATE, SITE_PUBLIC, Story, empty, header_of, shopping


def test_has_the_members_of_the_protocol() -> None:
    """Contract item 78 and section 3."""
    story = shopping()
    document: dict[str, Any] = json.loads(story.artifact((1, "purpose")))
    hashes = [event_hash(event) for event in story.events]
    assert document["session_id"] == story.header["token_hash"]
    assert document["site"] == "https://shop.example"
    assert document["created_at"] == story.header["created_at"]
    assert document["ended_at"] == json.loads(story.events[-1])["params"]["ended_at"]
    assert document["agent"] == {"name": "Einkaufshelfer", "purpose": story.purpose, "version": "2.1.0"}
    assert [canonical_bytes(event) for event in document["events"]] == story.events
    assert document["root_hash"] == root_hash(hashes)
    assert verify(SITE_PUBLIC, document["root_hash"].encode("ascii"), from_base64(document["signature"]))
    assert len(from_base64(document["public_key"])) == 44


def test_the_envelope_says_who_when_how_many_and_is_signed() -> None:
    """Contract item 72; what the protocol's own signature leaves open."""
    document: dict[str, Any] = json.loads(shopping().artifact())
    envelope = document["envelope"]
    assert envelope["event_count"] == 5
    assert envelope["end_reason"] == "completed"
    assert envelope["agent"]["operator"] == "Agentur Müller"
    assert envelope["purpose_commitment"] == document["events"][0]["private"]["purpose"]
    signature = from_base64(document["runtime_signature"])
    assert verify(SITE_PUBLIC, ENVELOPE_DOMAIN + canonical_bytes(envelope), signature)


def test_two_empty_sessions_have_different_roots() -> None:
    other = Story("0193a6f0-0000-7000-8000-000000000009")
    other.end("expired")
    assert empty().seal().root_hash != other.seal().root_hash


def test_what_is_not_opened_is_not_there() -> None:
    raw = shopping().artifact()
    for secret in ("red kite", "for Zoë", '"lines"'):
        assert secret.encode() not in raw
    assert json.loads(raw)["agent"]["purpose"] is None


def test_events_after_the_end_are_not_covered() -> None:
    story = shopping()
    seal, before = story.seal(), story.artifact()
    story.add("session.purged", actor="system")
    assert build_artifact(seal, story.events) == before


def test_events_other_than_the_sealed_ones_are_not_served() -> None:
    story = shopping()
    seal = story.seal()
    for events in (story.events[:-1], story.events[::-1], [], [*story.events[:-1], story.events[-1] + b" "]):
        with pytest.raises(SessionDamaged, match=story.run_id):
            build_artifact(seal, events)


def test_openings_come_in_order_whatever_the_caller_does() -> None:
    story = shopping()
    places = [(1, "purpose"), (2, "params.note"), (2, "patch")]
    assert story.artifact(*places) == story.artifact(*reversed(places))


def test_openings_that_open_nothing_are_refused() -> None:
    story = shopping()
    good = story.opening(2, "params.note")
    for bad in (
        Opening(2, "params.note", good.salt, "for Zoe"),
        Opening(2, "params.note", good.salt[:-1], good.value),
        Opening(2, "params.note", good.salt + b"\0", good.value),  # the same key to HMAC
        Opening(2, "params.other", good.salt, good.value),
        Opening(3, "params.note", good.salt, good.value),
        Opening(0, "params.note", good.salt, good.value),
        Opening(6, "params.note", good.salt, good.value),
    ):
        with pytest.raises(InvalidValue, match="/openings/0"):
            build_artifact(story.seal(), story.events, [bad])
    with pytest.raises(InvalidValue, match="twice"):
        build_artifact(story.seal(), story.events, [good, good])


def test_a_purpose_is_text() -> None:
    story = Story("0193a6f0-0000-7000-8000-000000000009", purpose=["not", "text"])  # type: ignore[arg-type]
    story.end()
    with pytest.raises(InvalidValue, match="not text"):
        story.artifact((1, "purpose"))
    assert verify_artifact(story.artifact(), [SITE_PUBLIC]).trusted


def test_seals_only_a_whole_session() -> None:
    story = shopping()
    events, hashes = story.events, [event_hash(event) for event in story.events]
    keys = {"private_key": SITE_PRIVATE, "public_key": SITE_PUBLIC}
    for first, last, chain in (
        (events[0], events[-2], hashes[:-1]),  # has not ended
        (events[1], events[-1], hashes[1:]),  # does not begin
        (events[0], events[-1], hashes[:-1]),
        (events[0], events[-1], [*hashes, hashes[0]]),
        (events[0], events[-1], ["0" * 64, *hashes[1:]]),
        (events[0], events[-1], [*hashes[:-1], "0" * 64]),
        (events[0], events[-1], [*hashes[:-2], "0" * 64, hashes[-1]]),
        (events[0], events[-1], [hashes[0], hashes[-1]]),  # the middle left out
        (events[0], events[0], hashes[:1]),
        (b"junk", events[-1], hashes),
    ):
        with pytest.raises(SessionDamaged):
            make_seal(first, last, chain, **keys)


@pytest.mark.parametrize(
    "change",
    [
        {"site": None},
        {"extra": 1},
        {"token_hash": "ABC"},
        {"expires_at": "tomorrow"},
        {"agent": {}},
        {"capabilities": "all"},
    ],
)
def test_seals_no_header_that_does_not_verify(change: dict[str, Any]) -> None:
    story = Story("0193a6f0-0000-7000-8000-000000000009", header={**header_of("x"), **change})
    story.end()
    with pytest.raises(SessionDamaged, match="header"):
        story.seal()


def test_seals_no_end_without_time_and_reason() -> None:
    story = Story("0193a6f0-0000-7000-8000-000000000009")
    story.add("session.ended", params={"end_reason": "deleted"})
    with pytest.raises(SessionDamaged, match="time and the reason"):
        story.seal()


def test_seals_no_session_that_ends_in_something_else() -> None:
    story = Story("0193a6f0-0000-7000-8000-000000000009")
    story.add("cart.viewed", params={"end_reason": "deleted", "ended_at": story.header["created_at"]})
    with pytest.raises(SessionDamaged, match=r"last event is not session\.ended"):
        story.seal()


def test_a_signing_service_can_stand_behind_it() -> None:
    story = empty()
    hashes = [event_hash(event) for event in story.events]
    asked: list[bytes] = []

    def service(message: bytes) -> bytes:
        asked.append(message)
        return sign(SITE_PRIVATE, message)

    assert seal_with(story.events[0], story.events[-1], hashes, sign=service, public_key=SITE_PUBLIC) == story.seal()
    assert len(asked) == 2


@pytest.mark.parametrize("bad", [0, 1])
def test_each_signature_is_checked_before_it_is_kept(bad: int) -> None:
    story = empty()
    hashes = [event_hash(event) for event in story.events]
    answers = iter([bad == 0, bad == 1])

    def service(message: bytes) -> bytes:
        return sign(SITE_PRIVATE, b"something else" if next(answers) else message)

    with pytest.raises(KeyProblem):
        seal_with(story.events[0], story.events[-1], hashes, sign=service, public_key=SITE_PUBLIC)


def test_two_halves_of_different_keys_are_refused() -> None:
    with pytest.raises(KeyProblem, match="does not belong"):
        shopping().seal(private_key=new_signing_key()[0])
