"""The token of a session: opaque, shown once, and stored nowhere (T1, T2)."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.domain.calls import Call
from agent_sessions.exceptions import AgentSessionsError
from agent_sessions.models import Session
from agent_sessions.services import OpenedSession
from tests.shopping import variables
from tests.stored import is_stored

pytestmark = pytest.mark.django_db


def decoded(token: str) -> bytes:
    """The bytes that a token spells."""
    return base64.urlsafe_b64decode(token.removeprefix("ags_") + "==")


def lived(opened: Any) -> OpenedSession:
    """A session with some of everything, ended."""
    one: OpenedSession = opened(purpose="find a mug")
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1), note="why")
    services.record_event(one.session_id, kind="cart.viewed", call=Call("cart.view", private={"email": "a@b.c"}))
    services.add_message(one.session_id, role="user", content="hello")
    services.end_session(one.session_id)
    return one


def test_token_is_one_long_path_safe_word(opened: Any) -> None:
    """T1: at least 32 characters that need no escaping in a path, a header or a shell."""
    token = opened().token

    assert re.fullmatch(r"[A-Za-z0-9_-]{32,1024}", token)


def test_token_looks_opaque(opened: Any) -> None:
    """T1: what it says, only this site can read."""
    one = opened(consumer="pseudonym-7", merchant="mug-shop")

    said = decoded(one.token)

    assert not any(fact in said for fact in (b"pseudonym-7", b"mug-shop", one.session_id.bytes))


def test_two_tokens_have_nothing_in_common_but_the_public_start(opened: Any) -> None:
    """T1: 256 random bits each."""
    one, other = (decoded(opened().token) for _ in range(2))

    start = 2 + one[1] + 4  # format, key id and generation
    assert one[:start] == other[:start]
    assert sum(a == b for a, b in zip(one[start:], other[start:], strict=True)) < 16


def test_only_the_digest_is_stored(opened: Any) -> None:
    """T2: in no column of any table, in no spelling."""
    one = lived(opened)
    raw = decoded(one.token)

    assert is_stored(hashlib.sha256(one.token.encode()).digest())  # the search finds what is there
    spellings = [one.token, one.token.removeprefix("ags_"), raw, raw[-48:], raw.hex(), base64.b64encode(raw)]
    assert [spelling for spelling in spellings if is_stored(spelling)] == []


def test_it_never_goes_into_a_query(opened: Any) -> None:
    """T2: what is logged of slow queries holds no token."""
    with CaptureQueriesContext(connection) as queries:
        one = lived(opened)
        with pytest.raises(AgentSessionsError):
            selectors.authenticate(one.token)

    assert len(queries) > 10
    assert not any(one.token in query["sql"] for query in queries)


def test_it_is_not_in_the_artifact(opened: Any) -> None:
    """T2: the artifact names the session by the token's hash."""
    one = lived(opened)

    artifact = services.get_artifact(one.session_id, disclose="all").decode()

    assert one.token not in artifact
    assert f'"session_id":"{hashlib.sha256(one.token.encode()).hexdigest()}"' in artifact


def test_it_is_not_in_errors_or_logs(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    """T2"""
    caplog.set_level(logging.DEBUG)
    one = lived(opened)

    with pytest.raises(AgentSessionsError) as refusal:
        selectors.authenticate(one.token)
    with pytest.raises(AgentSessionsError) as ended:
        services.change_session(one.session_id, expected_version=3, patch={})

    told = f"{refusal.value!r} {refusal.value.details} {ended.value!r} {ended.value.details} {caplog.text}"
    assert one.token not in told


def test_it_is_in_no_text_of_the_session_and_its_head(opened: Any) -> None:
    """T2: whatever is printed while debugging."""
    one = opened()

    session = Session.objects.get()

    assert one.token not in f"{session} {session!r} {session.__dict__} {selectors.authenticate(one.token)!r}"
