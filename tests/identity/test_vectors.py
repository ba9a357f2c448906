"""The signatures that another implementation made, those of the draft's appendix."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import time_machine as clocks
from django.core.cache.backends.locmem import LocMemCache

from agent_sessions.identity import Outcome, Problem
from agent_sessions.identity.keys import Jwk, load_key
from agent_sessions.identity.outcome import Refused
from agent_sessions.identity.signature import SignedRequest, check_signature, read_agent, read_claim
from agent_sessions.identity.verifier import SignatureVerifier
from tests.identity.agents import FakeDirectories, Request

SIGNER = "https://signature-agent.test"
LONG = timedelta(days=366 * 100)


def cases(vectors: Path, version: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (vectors / "web-bot-auth" / f"web_bot_auth_architecture_{version}.json").read_bytes()
    )
    assert len(found) == 4
    return found


def request_of(case: dict[str, Any]) -> Request:
    headers = {"Signature-Input": case["signature_input"], "Signature": case["signature"]}
    if "signature_agent" in case:
        headers["Signature-Agent"] = case["signature_agent"]
    return Request(method="GET", url=case["target_url"], headers=headers, body=b"")


def public(case: dict[str, Any]) -> dict[str, str]:
    return {name: case["key"][name] for name in ("kty", "crv", "x", "n", "e", "alg") if name in case["key"]}


def verifier_of(case: dict[str, Any], cache: LocMemCache, **facts: Any) -> SignatureVerifier:
    network = FakeDirectories({SIGNER: json.dumps({"keys": [public(case)]}).encode()})
    return SignatureVerifier(directories=[SIGNER], cache=cache, fetch=network, **{"allow_test_keys": True, **facts})


def created(case: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(case["created_ms"] / 1000, UTC)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("index", range(4))
def test_the_signature_itself_verifies_and_no_altered_one_does(vectors: Path, version: str, index: int) -> None:
    case = cases(vectors, version)[index]
    sent = request_of(case)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    key = load_key(msgspec.convert(public(case), Jwk))

    with clocks.travel(created(case), tick=False):
        claim = read_claim(headers)
        check_signature(claim, key, SignedRequest("GET", sent.url, headers, b""))
        with pytest.raises(Refused) as refused:
            check_signature(claim, key, SignedRequest("GET", "https://example.org/", headers, b""))

    assert refused.value.problem is Problem.WRONG_SIGNATURE
    assert (claim.label, claim.nonce) == (case["label"], case["nonce"])
    assert claim.expires == datetime.fromtimestamp(case["expires_ms"] / 1000, UTC)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("index", range(4))
def test_the_signer_is_named_where_the_request_names_a_directory(
    vectors: Path, version: str, index: int, cache: LocMemCache
) -> None:
    """v1 has the bare string, v2 the dictionary; the first and third name no directory, so nobody is identified."""
    case = cases(vectors, version)[index]
    verifier = verifier_of(case, cache, max_window=LONG)

    with clocks.travel(created(case), tick=False):
        if "signature_agent" not in case:
            assert request_of(case).problem(verifier) == Problem.AGENT_MISSING
            return
        answer = request_of(case).identified(verifier)
        assert request_of(case).problem(verifier) == Problem.REPLAYED

    assert (answer.outcome, answer.agent) == (Outcome.VERIFIED, SIGNER)
    assert answer.key.startswith(f"{SIGNER}#")


def test_in_production_the_vectors_are_refused_for_their_window_and_their_keys(
    vectors: Path, cache: LocMemCache
) -> None:
    old, new = cases(vectors, "v1")[3], cases(vectors, "v2")[3]

    assert request_of(old).problem(verifier_of(old, cache)) == Problem.EXPIRED
    assert request_of(new).problem(verifier_of(new, cache)) == Problem.WINDOW_TOO_LONG
    for case in [*cases(vectors, "v1"), *cases(vectors, "v2")]:
        strict = verifier_of(case, cache, max_window=LONG, allow_test_keys=False)
        if "signature_agent" in case:
            with clocks.travel(created(case), tick=False):
                assert request_of(case).problem(strict) == Problem.TEST_KEY


def test_signature_agent_fields_are_read_as_the_vectors_say(vectors: Path) -> None:
    found = json.loads((vectors / "web-bot-auth" / "web_bot_auth_signature_agent_v1.json").read_bytes())
    signed = Request(headers={"Signature-Agent": 'sig1="https://a.example"'}).signed_freely(
        ["@authority", '"signature-agent";key="sig1"']
    )
    claim = read_claim({name.lower(): value for name, value in signed.headers.items()})

    for case in found:
        [entry] = case["entries"]
        claimed = replace(claim, components=(("signature-agent", {"key": entry["label"]}),))
        if entry["type"] == "directory":
            assert read_agent(claimed, {"signature-agent": case["header"]}) == entry["uri"]
        else:
            with pytest.raises(Refused) as refused:
                read_agent(claimed, {"signature-agent": case["header"]})
            assert refused.value.problem is Problem.AGENT_UNSUPPORTED
    assert {case["entries"][0]["type"] for case in found} == {"directory", "jwks_uri", "cimd"}
