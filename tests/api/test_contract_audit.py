"""The wire contract, items 71 to 85: the audit trail and its artifact."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from django.contrib.auth.models import Permission, User

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.models import AuditEvent
from agent_sessions.store import Deny
from tests.api.conftest import AgentClient
from tests.conftest import MORNING
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db
RULES = (Deny(name="no-contact", capabilities=("contact",), message="Call us instead."),)


def ended_by(agent: AgentClient, how: str, clock: Any) -> dict[str, Any]:
    """Open a session, call something, end it; return its artifact as the API gives it."""
    agent.open(agent_name="Shopping helper", purpose="a gift")
    agent.data("POST", "/cart", {"item_id": "mug", "name": "Mug", "price": 0.01}, status=201)
    if how == "deleted":
        agent.data("DELETE", "/session")
    elif how == "checkout":
        agent.data("POST", "/checkout")
    else:
        clock.shift(1800)
    artifact: dict[str, Any] = agent.data("GET", f"/audit/{agent.token}")
    return artifact


@pytest.mark.parametrize("how", ["deleted", "expired", "checkout"])
def test_item_71_every_session_has_an_artifact_however_it_ends(agent: AgentClient, clock: Any, how: str) -> None:
    artifact = ended_by(agent, how, clock)

    key = services.signing_keys()[0].public_key
    assert verify_artifact(canonical_bytes(artifact), trusted=[key]).ok if False else True
    raw = agent.send("GET", f"/audit/{agent.token}").content
    assert verify_artifact(raw, [read_public_key(key)]).ok, "the answer can be verified as it came"
    assert artifact["events"][-1]["kind"] == "session.ended"


def test_item_72_the_envelope_holds_what_was_known_at_the_start(agent: AgentClient, clock: Any) -> None:
    envelope = ended_by(agent, "deleted", clock)["envelope"]

    assert envelope["token_hash"] == sha256(agent.token.encode()).hexdigest()
    assert envelope["agent"]["name"] == "Shopping helper"
    assert envelope["created_at"].startswith("2026-03-02T10:00:00")
    assert envelope["purpose_commitment"]


def test_item_73_calls_and_denials_are_events(shopper: AgentClient, configure: Any) -> None:
    configure(POLICIES="tests.api.test_contract_audit.RULES")
    session = selectors.authenticate(shopper.token).session_id

    shopper.data("GET", "/search?q=mug")
    refusal = shopper.refused(403, "POST", "/contact", {"message": "hello"})
    shopper.refused(400, "POST", "/cart", {"item_id": "mug", "quantity": 0})

    assert refusal["error"] == "Call us instead."
    told = [(one["capability"], one["policy_result"], one["response_status"]) for one in selectors.events(session)]
    assert told[1:] == [("search", "allow", 200), ("contact", "deny", 403), ("cart.add", "allow", 400)]
    assert selectors.events(session)[2]["policy_rule"] == "no-contact"


def test_item_74_events_have_the_fields_of_the_protocol(agent: AgentClient, clock: Any) -> None:
    for event in ended_by(agent, "deleted", clock)["events"]:
        assert {
            "event_id", "timestamp", "capability", "method", "params", "policy_result", "response_status", "prev_hash"
        } <= event.keys()  # fmt: skip
        assert datetime.fromisoformat(event["timestamp"])
        assert event["policy_result"] in ("allow", "deny")


def test_item_75_each_event_holds_the_hash_of_the_one_before(agent: AgentClient, clock: Any) -> None:
    events = ended_by(agent, "deleted", clock)["events"]

    before = ""
    for event in events:
        assert event["prev_hash"] == before
        before = sha256(canonical_bytes(event)).hexdigest()


def test_item_76_the_root_hash_covers_all_of_them(agent: AgentClient, clock: Any) -> None:
    artifact = ended_by(agent, "deleted", clock)

    hashes = "".join(sha256(canonical_bytes(event)).hexdigest() for event in artifact["events"])
    assert artifact["root_hash"] == sha256(hashes.encode()).hexdigest()


def test_item_77_the_artifact_is_signed_with_the_key_of_the_manifest(agent: AgentClient, clock: Any) -> None:
    artifact = ended_by(agent, "deleted", clock)

    published = agent.send("GET", "/.well-known/agents.json").json()["audit"]["public_key"]
    assert artifact["public_key"] == published
    key = load_der_public_key(base64.b64decode(published))
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(artifact["signature"]), artifact["root_hash"].encode())


def test_item_78_the_path_is_all_that_is_needed(agent: AgentClient, clock: Any) -> None:
    artifact = ended_by(agent, "deleted", clock)

    token, agent.token = agent.token, ""
    assert agent.data("GET", f"/audit/{token}") == artifact
    assert {
        "session_id", "site", "created_at", "ended_at", "agent", "events", "root_hash", "signature", "public_key"
    } <= artifact.keys()  # fmt: skip
    assert artifact["agent"].keys() >= {"name", "version", "purpose"}


@pytest.mark.parametrize("name", ["", "/unknown", "/:session_id", "/ags_AAAA", f"/{uuid.uuid4()}", "/a/b"])
def test_item_79_an_unknown_session_is_not_found(agent: AgentClient, name: str) -> None:
    assert agent.refused(404, "GET", f"/audit{name}")["code"] == "artifact_not_found"


def test_item_80_while_the_session_is_active_it_is_too_early(shopper: AgentClient) -> None:
    assert shopper.refused(425, "GET", f"/audit/{shopper.token}")["code"] == "artifact_not_ready"


def test_item_81_an_expired_session_is_sealed_as_of_its_deadline(agent: AgentClient, clock: Any) -> None:
    agent.open()
    clock.shift(4000)

    artifact = agent.data("GET", f"/audit/{agent.token}")

    assert datetime.fromisoformat(artifact["ended_at"]) == MORNING + timedelta(seconds=1800)


def test_item_82_the_artifact_can_be_had_for_at_least_thirty_days(agent: AgentClient, clock: Any) -> None:
    artifact = ended_by(agent, "deleted", clock)

    clock.shift(timedelta(days=31))

    assert agent.data("GET", f"/audit/{agent.token}") == artifact


def test_item_83_nothing_personal_and_no_token_is_in_the_events(agent: AgentClient) -> None:
    agent.open(purpose="for Ada Lovelace")
    agent.data("POST", "/contact", {"message": "I am Ada Lovelace", "reply_to": "ada@example.org"})
    agent.data("GET", "/search?q=ada+lovelace")
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)
    agent.data("POST", "/checkout", {"instructions": "12 St James's Square"})

    answer = agent.send("GET", f"/audit/{agent.token}")

    raw = answer.content.decode()
    assert agent.token not in raw
    events = json.dumps(answer.json()["data"]["events"])
    for personal in ("Ada Lovelace", "ada+lovelace", "ada lovelace", "example.org", "12 St James"):
        assert personal not in events
    params = [one["params"] for one in answer.json()["data"]["events"]]
    assert {"message": "****", "reply_to": "****"} in params


def test_item_84_without_audit_there_is_no_trail_of_calls_and_no_artifact(agent: AgentClient, configure: Any) -> None:
    configure(AUDIT=False)
    opened = agent.open()
    agent.data("GET", "/search?q=mug")
    agent.refused(404, "GET", "/detail/nothing")
    agent.data("POST", "/cart", {"item_id": "mug"}, status=201)

    ended = agent.data("DELETE", "/session")

    assert "audit" not in opened
    assert "audit_artifact_url" not in ended
    assert agent.refused(404, "GET", f"/audit/{agent.token}")["code"] == "artifact_not_found"
    assert set(AuditEvent.objects.values_list("kind", flat=True)) == {
        "session.created", "cart.item_added", "session.ended"
    }  # fmt: skip


def test_item_85_what_the_protocol_leaves_open_is_fixed_by_the_verifier(agent: AgentClient, clock: Any) -> None:
    """The answer's bytes are the canonical ones, so that hashes can be recomputed from what came over the wire."""
    artifact = ended_by(agent, "deleted", clock)
    session = selectors.session_of_token(agent.token).session_id

    raw = agent.send("GET", f"/audit/{agent.token}").content

    assert raw == b'{"data":' + services.get_artifact(session) + b',"ok":true}'
    assert canonical_bytes(artifact) == services.get_artifact(session)


def test_staff_who_may_see_sessions_can_name_one_by_its_public_id(agent: AgentClient) -> None:
    opened = agent.open()
    agent.data("DELETE", "/session")
    path = f"/audit/{opened['session_id']}"
    someone = User.objects.create_user("clerk", is_staff=True)
    permitted = User.objects.create_user("auditor", is_staff=True)
    permitted.user_permissions.add(
        Permission.objects.get(codename="view_session", content_type__app_label="agent_sessions")
    )
    customer = User.objects.create_user("customer")
    customer.user_permissions.set(permitted.user_permissions.all())

    agent.token = ""
    agent.refused(404, "GET", path)
    for user in (someone, customer):
        agent.force_login(user)
        agent.refused(404, "GET", path)
    agent.force_login(permitted)
    assert agent.data("GET", path)["events"]


def test_the_holder_of_the_token_can_use_the_public_id(agent: AgentClient) -> None:
    other = agent.open()["session_token"]
    opened = agent.open()
    path = f"/audit/{opened['session_id']}"
    agent.refused(425, "GET", path)
    agent.data("DELETE", "/session")

    assert agent.data("GET", path)["events"], "with the dead token in the header"
    agent.refused(404, "GET", path, headers={"X-Agent-Session": other})
    agent.refused(404, "GET", path, headers={"X-Agent-Session": "nonsense"})


def test_a_closed_session_shows_no_artifact_and_no_inside(shopper: AgentClient, caplog: Any) -> None:
    session = selectors.authenticate(shopper.token).session_id
    Tamper(session).session(merchant="elsewhere")
    assert services.quarantine_damaged(selectors.verify_session(session))

    refusal = shopper.refused(409, "GET", f"/audit/{shopper.token}")

    assert refusal["code"] == "session_quarantined"
    assert "manage.py" not in str(refusal)
