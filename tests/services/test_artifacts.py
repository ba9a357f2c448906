"""The artifact: sealed when the session ends, provable to anyone, telling no more than is asked (A1, A3, L6)."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.verify import Verification, verify_artifact
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.calls import Call
from agent_sessions.domain.identity import Scope
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import ArtifactNotReady, InvalidValue, KeyProblem, SessionDamaged, SessionNotFound
from agent_sessions.models import Artifact, SessionKey
from agent_sessions.selectors import SessionHead
from agent_sessions.services import Expired, OpenedSession, artifacts
from tests.conftest import MORNING
from tests.shopping import variables
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db


def site_key() -> bytes:
    """The key that the site publishes."""
    return read_public_key(services.signing_keys()[0].public_key)


def checked(artifact: bytes) -> Verification:
    return verify_artifact(artifact, [site_key()])


def ended(opened: Any, **facts: Any) -> OpenedSession:
    """A session with a purpose, a change, a private parameter and a turn, ended."""
    one: OpenedSession = opened(purpose="find a blue mug", **facts)
    call = Call("cart.add", private={"gift_for": "Ann"})
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1), note="she asked", call=call)
    services.add_message(one.session_id, role="user", content="hello")
    services.end_session(one.session_id, reason=EndReason.COMPLETED)
    return one


def test_it_verifies_with_the_key_of_the_site(opened: Any) -> None:
    """A3"""
    one = ended(opened)

    result = checked(services.get_artifact(one.session_id))

    assert (result.ok, result.trusted, result.problems) == (True, True, [])
    assert (result.run_id, result.event_count) == (str(one.session_id), 4)
    assert result.key_id == services.signing_keys()[0].key_id


def test_it_says_who_did_what_from_when_to_when(opened: Any, clock: Any) -> None:
    """S3, S4, A1"""
    scope = Scope(capabilities=("cart.add",), spend_cap=5000, currency="EUR", expires_at=MORNING + timedelta(hours=1))
    one = ended(opened, merchant="mugs", scope=scope)

    document = json.loads(services.get_artifact(one.session_id))

    assert document["agent"] == {"name": "Shopping helper", "version": "2.1", "purpose": "find a blue mug"}
    assert document["session_id"] == hashlib.sha256(one.token.encode()).hexdigest()
    assert (document["created_at"], document["site"]) == ("2026-03-02T10:00:00.000000Z", "https://shop.example")
    envelope = document["envelope"]
    assert (envelope["merchant"], envelope["end_reason"], envelope["event_count"]) == ("mugs", "completed", 4)
    assert Scope.from_json(envelope["scope"]) == scope
    assert document["events"] == selectors.events(one.session_id)


DISCLOSED = {
    "none": [],
    "purpose": [(1, "purpose", "find a blue mug")],
    "all": [
        (1, "purpose", "find a blue mug"),
        (2, "note", "she asked"),
        (2, "params.gift_for", "Ann"),
        (2, "personal", {"agent": {"a": 1}}),
        (3, "message", {"role": "user", "content": "hello"}),
    ],
}


@pytest.mark.parametrize(("disclose", "values"), DISCLOSED.items(), ids=DISCLOSED.keys())
def test_it_discloses_what_was_asked_for_under_the_same_signature(
    opened: Any, disclose: str, values: list[Any]
) -> None:
    """A3, A7"""
    one = ended(opened)

    raw = services.get_artifact(one.session_id, disclose=disclose)

    document, result = json.loads(raw), checked(raw)
    assert [(opening["seq"], opening["path"], opening["value"]) for opening in document["openings"]] == values
    assert (result.trusted, result.opened, result.withheld) == (True, len(values), 5 - len(values))
    assert document["agent"]["purpose"] == (None if disclose == "none" else "find a blue mug")
    assert document["signature"] == json.loads(services.get_artifact(one.session_id))["signature"]
    assert ("Ann" in raw.decode()) is (disclose == "all")


def test_by_default_only_the_purpose_is_disclosed(opened: Any) -> None:
    one = ended(opened)

    assert services.get_artifact(one.session_id) == services.get_artifact(one.session_id, disclose="purpose")


@pytest.mark.parametrize("disclose", ["everything", "", "ALL", None])
def test_a_disclosure_that_there_is_not_is_refused(opened: Any, disclose: Any) -> None:
    one = ended(opened)

    with pytest.raises(InvalidValue, match="purpose, content, all, none") as refusal:
        services.get_artifact(one.session_id, disclose=disclose)

    assert refusal.value.path == "/disclose"


def test_it_is_the_same_document_every_time(opened: Any) -> None:
    """A3: sealed once."""
    one = ended(opened)

    first = services.get_artifact(one.session_id, disclose="all")

    assert services.get_artifact(one.session_id, disclose="all") == first
    assert Artifact.objects.count() == 1


def test_whatever_byte_is_changed_it_does_not_verify(opened: Any) -> None:
    """A3: every 97th byte here; every one in tests/audit."""
    raw = services.get_artifact(ended(opened).session_id, disclose="all")

    for place in range(0, len(raw), 97):
        altered = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert checked(altered).ok is False, place


def test_while_the_session_is_live_there_is_none(opened: Any, clock: Any) -> None:
    """A3: 425, until the very deadline."""
    one = opened()
    clock.move_to(one.expires_at - timedelta(seconds=0.5))

    for ask in (services.get_artifact, services.seal_artifact):
        with pytest.raises(ArtifactNotReady, match="still active") as refusal:
            ask(one.session_id)
        assert (refusal.value.status, refusal.value.code) == (425, "artifact_not_ready")

    assert Artifact.objects.count() == 0
    assert selectors.read_head(one.session_id).is_live()


def test_of_a_session_that_is_not_there_there_is_none() -> None:
    with pytest.raises(SessionNotFound):
        services.get_artifact(uuid4())


def test_after_the_deadline_whoever_asks_need_not_wait_for_a_job(opened: Any, clock: Any) -> None:
    """L6: sealed lazily."""
    one = opened(purpose="find a blue mug")
    clock.move_to(one.expires_at)

    raw = services.get_artifact(one.session_id)

    assert checked(raw).trusted
    document = json.loads(raw)
    assert (document["ended_at"], document["envelope"]["end_reason"]) == ("2026-03-02T10:30:00.000000Z", "expired")
    assert services.expire_sessions() == Expired(ended=0, sealed=0, failed=0)


def test_it_is_given_when_a_job_ends_the_session_at_that_moment(
    opened: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L6: two at once do no harm."""
    one = opened()
    clock.move_to(one.expires_at)
    read = artifacts.read_head

    def read_and_be_overtaken(session_id: Any) -> SessionHead:
        head = read(session_id)
        monkeypatch.setattr(artifacts, "read_head", read)
        services.expire_session(session_id)
        return head

    monkeypatch.setattr(artifacts, "read_head", read_and_be_overtaken)

    assert checked(services.get_artifact(one.session_id)).trusted


def test_a_session_whose_artifact_cannot_be_sealed_ends_all_the_same(
    opened: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """L6: the key service is out of reach for a while."""
    one = opened()
    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "site_key_secret", _out_of_reach)
        services.end_session(one.session_id, reason=EndReason.COMPLETED)

        session = selectors.get_session(one.session_id)
        assert (session.status, session.end_reason, session.sealed_at) == ("ended", "completed", None)
        assert "could not be sealed" in caplog.text
        assert services.expire_sessions() == Expired(ended=0, sealed=0, failed=1)
        with pytest.raises(KeyProblem, match="out of reach"):
            services.get_artifact(one.session_id)
    caplog.clear()

    assert services.expire_sessions() == Expired(ended=0, sealed=1, failed=0)

    assert selectors.get_session(one.session_id).sealed_at is not None
    assert checked(services.get_artifact(one.session_id)).trusted
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_whoever_asks_seals_what_could_not_be_sealed(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """L6"""
    one = opened()
    with monkeypatch.context() as patched:
        patched.setattr(artifacts, "site_key_secret", _out_of_reach)
        services.end_session(one.session_id)

    assert checked(services.get_artifact(one.session_id)).trusted


def test_when_the_content_was_erased_it_still_verifies_and_discloses_nothing(opened: Any) -> None:
    """A7: the chain verifies without the key."""
    one = ended(opened)
    SessionKey.objects.all().delete()

    raw = services.get_artifact(one.session_id, disclose="all")

    result = checked(raw)
    assert (result.trusted, result.opened, result.withheld) == (True, 0, 5)
    assert json.loads(raw)["agent"]["purpose"] is None


def test_of_a_history_that_is_not_what_was_sealed_none_is_given(opened: Any) -> None:
    """A3, R5"""
    one = ended(opened)
    tamper = Tamper(one.session_id)
    canonical = bytes(tamper.events.get(seq=2).canonical)
    tamper.event(2, canonical=canonical.replace(b'"cart.add"', b'"cart.get"'))

    with pytest.raises(SessionDamaged, match="not the ones that were sealed"):
        services.get_artifact(one.session_id, disclose="none")


@pytest.mark.parametrize("seq", [1, 2, 4], ids=["first", "middle", "end"])
def test_a_history_that_was_altered_before_is_never_signed(opened: Any, seq: int) -> None:
    """A3, R5: nothing but the chain stands between an altered event and the signature over it."""
    one = ended(opened)
    Artifact.objects.all().delete()
    tamper = Tamper(one.session_id)
    tamper.session(sealed_at=None)
    canonical = bytes(tamper.events.get(seq=seq).canonical)
    tamper.event(seq, canonical=canonical.replace(b'"actor":"agent"', b'"actor":"staff"'))

    with pytest.raises(SessionDamaged):
        services.seal_artifact(one.session_id)

    assert Artifact.objects.count() == 0
    assert services.expire_sessions().failed == 1


def test_a_history_that_lost_its_tail_is_never_signed(opened: Any) -> None:
    """A3, R5: events behind the end are gone that the session's row tells of."""
    one = ended(opened)
    Artifact.objects.all().delete()
    Tamper(one.session_id).session(head_seq=5)

    with pytest.raises(SessionDamaged, match="do not end where its row says"):
        services.seal_artifact(one.session_id)


def _out_of_reach(key: object) -> bytes:
    raise KeyProblem("The key service is out of reach.")
