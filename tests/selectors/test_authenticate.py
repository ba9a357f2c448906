"""Tokens that are good for nothing all get the same answer; only those made here cost a query (T1, T3)."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.crypto.keys import KeyProvider, LocalKeyProvider
from agent_sessions.crypto.tokens import issue_token
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.exceptions import InvalidToken
from agent_sessions.models import Session, SessionKey, SiteKey
from agent_sessions.selectors import SessionHead
from agent_sessions.services import OpenedSession
from tests.shopping import variables
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

THE_ANSWER = (InvalidToken, "Session token is missing, invalid, or expired.", "invalid_token", 401, {})


def refusal(token: object) -> tuple[object, ...]:
    """Everything that a caller can tell about a refused token."""
    with pytest.raises(InvalidToken) as refused:
        selectors.authenticate(token)
    error = refused.value
    assert error.__suppress_context__ or error.__context__ is None
    return type(error), str(error), error.code, error.status, error.details


def another_token(provider: KeyProvider, one: OpenedSession, **claims: Any) -> str:
    """A token that was never handed out, made with ``provider`` like the session's own."""
    session = Session.objects.get(pk=one.session_id)
    facts: dict[str, Any] = {
        "generation": session.token_key_id,
        "session_id": session.pk,
        "consumer": session.consumer,
        "merchant": session.merchant,
        "started_at": session.created_at,
        "version": 1,
    }
    return issue_token(provider, **{**facts, **claims})


def swapped(token: str, place: int) -> str:
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


def test_a_good_token_gives_the_session_as_it_stands(opened: Any) -> None:
    one = opened(consumer="c-1", merchant="mugs", kind="standard")
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))

    head = selectors.authenticate(one.token)

    assert isinstance(head, SessionHead)
    assert (head.session_id, head.version, head.head_seq, head.status) == (one.session_id, 2, 2, Status.ACTIVE)
    assert (head.consumer, head.merchant, head.kind) == ("c-1", "mugs", "standard")
    assert head.expires_at == one.expires_at
    assert head == selectors.read_head(one.session_id)


def test_a_good_token_costs_one_query(opened: Any, django_assert_num_queries: Any) -> None:
    one = opened()

    with django_assert_num_queries(1):
        selectors.authenticate(one.token)


MALFORMED: dict[str, object] = {
    "nothing": None,
    "empty": "",
    "bytes": b"ags_AAAA",
    "number": 7,
    "another word": "hello",
    "prefix only": "ags_",
    "not base64url": "ags_%%%%",
    "padded": "ags_AAAA====",
    "not ASCII": "ags_ä",
    "NUL": "ags_\0",
    "lone surrogate": "ags_\ud800",
    "very long": "ags_" + "A" * 5000,
    "unknown format": "ags_" + "A" * 200,
    "SQL": "ags_' OR 1=1 --",
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_tokens_are_refused_without_a_query(token: object, django_assert_num_queries: Any) -> None:
    """T1, T3"""
    with django_assert_num_queries(0):
        assert refusal(token) == THE_ANSWER


def test_altered_tokens_are_refused_without_a_query(opened: Any, django_assert_num_queries: Any) -> None:
    """T1: whichever character was changed, cut or added."""
    token = opened().token
    altered = [swapped(token, place) for place in range(len(token))]
    altered += [token[:-1], token[:-4], token + "A", token + "=", f" {token}", token.upper()]

    with django_assert_num_queries(0):
        for one in altered:
            assert refusal(one) == THE_ANSWER


def test_tokens_of_another_site_are_refused_without_a_query(opened: Any, django_assert_num_queries: Any) -> None:
    """T1, T3: under another key id, and under another key with our key's id."""
    one = opened()
    other_key = bytes(range(32, 64))
    foreign = [another_token(LocalKeyProvider({name: other_key}), one) for name in ("elsewhere", "test-1")]

    with django_assert_num_queries(0):
        assert [refusal(token) for token in foreign] == [THE_ANSWER] * 2


def test_tokens_of_another_generation_are_refused(opened: Any, provider: KeyProvider) -> None:
    """T3: made by this site with the key of another token generation."""
    one = opened()
    generation = SiteKey.objects.get(purpose="token").pk + 1

    assert refusal(another_token(provider, one, generation=generation)) == THE_ANSWER


def test_a_token_of_this_site_that_was_not_handed_out_is_refused(opened: Any, provider: KeyProvider) -> None:
    """T3: so is one that a newer one has superseded; only the one whose digest is stored is good."""
    one = opened()

    assert refusal(another_token(provider, one)) == THE_ANSWER
    assert selectors.authenticate(one.token).session_id == one.session_id


def test_a_token_of_a_session_that_is_not_there_is_refused(opened: Any) -> None:
    one = opened()
    SessionKey.objects.all().delete()
    Session.objects.all().delete()

    assert refusal(one.token) == THE_ANSWER


@pytest.mark.parametrize("reason", [EndReason.COMPLETED, EndReason.DELETED, EndReason.REVOKED])
def test_the_token_of_an_ended_session_is_dead(opened: Any, reason: EndReason) -> None:
    """T3, L6"""
    one = opened()
    services.end_session(one.session_id, reason=reason)

    assert refusal(one.token) == THE_ANSWER


def test_the_token_dies_at_the_deadline_and_not_before(opened: Any, clock: Any) -> None:
    """T3, L1: no job has to come by first."""
    one = opened()

    clock.move_to(one.expires_at - timedelta(seconds=0.5))
    assert selectors.authenticate(one.token).is_live()
    clock.move_to(one.expires_at)
    assert refusal(one.token) == THE_ANSWER

    services.expire_session(one.session_id)
    assert refusal(one.token) == THE_ANSWER


def test_revoked_tokens_are_dead(opened: Any) -> None:
    """T3"""
    one = opened()
    services.revoke_all_sessions(reason="a laptop was stolen")

    assert refusal(one.token) == THE_ANSWER


def test_the_token_of_a_quarantined_session_is_refused_until_it_is_released(opened: Any) -> None:
    """R5"""
    one = opened()
    Tamper(one.session_id).session(merchant="somewhere else")
    services.quarantine_damaged(selectors.verify_session(one.session_id))

    assert refusal(one.token) == THE_ANSWER

    Tamper(one.session_id).session(merchant="default")
    services.release_session(one.session_id)
    assert selectors.authenticate(one.token).session_id == one.session_id


def test_a_token_is_refused_when_its_master_key_is_gone(opened: Any, configure: Any) -> None:
    """T3, A8"""
    one = opened()
    configure(MASTER_KEYS={"new": base64.b64encode(bytes(range(1, 33))).decode()})

    assert refusal(one.token) == THE_ANSWER


def test_a_head_is_a_value_that_nothing_changes(opened: Any) -> None:
    head = selectors.authenticate(opened().token)

    with pytest.raises(AttributeError):
        head.version = 7
