"""Signed requests over HTTP: who signed is recorded, can be required, and can be what a session is bound to (T5)."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import pytest

from agent_sessions import selectors
from agent_sessions.api import callers
from agent_sessions.identity import verifier
from agent_sessions.identity.signing import key_directory
from agent_sessions.models import Session
from tests.api.conftest import API, DEAD, AgentClient
from tests.identity.agents import AGENT, KEYID, OTHER_KEY, SIGNING_KEY, FakeDirectories, Request

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, configure: Any) -> FakeDirectories:
    """The directory of one agent."""
    directories = FakeDirectories({AGENT: key_directory(SIGNING_KEY.public_key(), OTHER_KEY.public_key())})
    made = functools.partial(verifier.SignatureVerifier, fetch=directories)
    monkeypatch.setattr(verifier, "SignatureVerifier", made)
    configure(SIGNATURE_DIRECTORIES=[AGENT])
    return directories


def send(agent: AgentClient, method: str, path: str, body: Any = None, *, change: Any = None, **facts: Any) -> Any:
    """Send a request that is signed as an agent signs it."""
    raw = b"" if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} if raw else {}
    signed = Request(method, f"http://testserver{API}{path}", given, raw).signed(**facts)
    headers = {name: value for name, value in signed.headers.items() if name != "Content-Type"}
    return agent.send(method, path, (change or raw) if raw else None, headers=headers)


def opened_by(answer: Any) -> Session:
    assert answer.status_code == 201, answer.content
    return selectors.get_session(selectors.authenticate(answer.json()["data"]["session_token"]).session_id)


def test_a_verified_agent_is_recorded_with_its_key(agent: AgentClient) -> None:
    session = opened_by(send(agent, "POST", "/session", {"agent_name": "Helper"}))

    assert (session.agent_operator, session.agent_key) == (AGENT, f"{AGENT}#{KEYID}")
    assert selectors.events(session.pk)[0]["params"]["signature"] == "verified"


@pytest.mark.parametrize("outcome", ["absent", "invalid"])
def test_others_are_recorded_as_what_they_are(agent: AgentClient, outcome: str) -> None:
    if outcome == "absent":
        answer = agent.send("POST", "/session", {"agent_name": "Helper"})
    else:
        answer = send(agent, "POST", "/session", {"agent_name": "Helper"}, change=b'{"agent_name":"Other"}')

    session = opened_by(answer)
    assert (session.agent_operator, session.agent_key) == ("", "")
    assert selectors.events(session.pk)[0]["params"]["signature"] == outcome


def test_an_unsigned_request_asks_no_directory(agent: AgentClient, network: FakeDirectories) -> None:
    agent.open()

    assert network.asked == []


def test_a_site_can_require_signatures(agent: AgentClient, configure: Any) -> None:
    configure(SIGNATURES="require")

    assert agent.refused(403, "POST", "/session")["code"] == "signature_refused"
    assert send(agent, "POST", "/session", {"agent_name": "A"}, change=b'{"agent_name":"B"}').status_code == 403
    assert send(agent, "GET", "/search?q=mug").status_code == 200
    assert agent.send("OPTIONS", "/session").status_code == 204, "a browser cannot sign its preflight"
    assert not Session.objects.exists()


def test_a_signed_request_cannot_be_sent_twice(agent: AgentClient, configure: Any) -> None:
    configure(SIGNATURES="require")
    headers = Request("GET", f"http://testserver{API}/browse", {}, b"").signed().headers

    statuses = [agent.send("GET", "/browse", headers=headers).status_code for _ in range(2)]

    assert statuses == [200, 403]


def test_a_session_can_be_bound_to_the_key_that_opened_it(agent: AgentClient, configure: Any) -> None:
    configure(BIND_TO="key")
    agent.token = send(agent, "POST", "/session", {}).json()["data"]["session_token"]

    assert agent.refused(401, "GET", "/cart")["error"] == DEAD, "the token without the key"
    assert send(agent, "GET", "/cart", private_key=OTHER_KEY).status_code == 401
    assert send(agent, "GET", "/cart").status_code == 200


def test_a_session_that_nobody_signed_is_bound_to_no_key(agent: AgentClient, configure: Any) -> None:
    configure(BIND_TO="key")
    agent.open()

    assert agent.data("GET", "/cart")["items"] == []


def test_a_verified_agent_has_places_of_its_own(agent: AgentClient, configure: Any) -> None:
    configure(MAX_SESSIONS=1)
    agent.open()
    agent.token = ""

    assert send(agent, "POST", "/session", {}).status_code == 201
    assert send(agent, "POST", "/session", {}).status_code == 429


def test_requests_of_a_verified_agent_are_counted_by_its_key(agent: AgentClient, configure: Any, clock: Any) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=2)

    statuses = [send(agent, "GET", "/browse", nonce=str(n)).status_code for n in range(3)]

    assert statuses == [200, 200, 429]
    assert agent.send("GET", "/browse").status_code == 200, "the address has its own count"


def test_whoever_has_no_requests_left_makes_us_verify_nothing(
    agent: AgentClient, configure: Any, clock: Any, network: FakeDirectories
) -> None:
    configure(MAX_REQUESTS_PER_MINUTE=1)
    agent.send("GET", "/browse")

    assert send(agent, "GET", "/browse").status_code == 429
    assert network.asked == []


def test_without_the_extra_a_signature_says_nothing(agent: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agent_sessions.identity.verifier", None)

    session = opened_by(send(agent, "POST", "/session", {}))

    assert selectors.events(session.pk)[0]["params"]["signature"] == "absent"
    assert callers.UNSIGNED.key == session.agent_key == ""


def test_a_signed_request_is_sent_again_with_a_new_signature(agent: AgentClient) -> None:
    """V7: known by its key it gets its answer again; a copy of it, with a nonce that was seen, is somebody unknown."""
    keyed = AgentClient(headers={"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"})
    helper = {"agent_name": "Helper"}
    first = send(keyed, "POST", "/session", helper, nonce="n-1")
    assert opened_by(first).agent_operator == AGENT

    copy = send(keyed, "POST", "/session", helper, nonce="n-1")
    anew = send(keyed, "POST", "/session", helper, nonce="n-2")

    assert (copy.status_code, copy.json()["code"]) == (403, "signature_refused")
    assert (anew.content, anew.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert Session.objects.count() == 1
