"""What an agent adds to its requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from agent_sessions.identity.signing import key_directory
from tests.identity.agents import AGENT, KEYID, SIGNING_KEY, Request

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def test_it_covers_the_whole_request() -> None:
    signed = Request(headers={"Accept": "*/*"}).signed(now=NOW, nonce="n-1")

    assert signed.headers["Signature-Agent"] == f'sig1="{AGENT}"'
    assert signed.headers["Signature-Input"] == (
        'sig1=("@method" "@authority" "@path" "@query" "signature-agent";key="sig1" "content-digest")'
        f';created=1772445600;keyid="{KEYID}";alg="ed25519";expires=1772445900;nonce="n-1";tag="web-bot-auth"'
    )
    assert set(signed.headers) == {"Accept", "Signature-Agent", "Signature-Input", "Signature", "Content-Digest"}


def test_every_request_has_a_nonce_of_its_own() -> None:
    first, second = (Request().signed(now=NOW).headers["Signature-Input"] for _ in range(2))

    assert ";nonce=" in first
    assert first != second


@pytest.mark.parametrize("body", [b"", b'{"quantity":2}'])
def test_a_digest_that_is_there_already_is_covered_and_kept(body: bytes) -> None:
    headers = Request(method="PUT", body=body).signed(now=NOW).headers
    digest = {"content-digest": headers["Content-Digest"]} if body else {}
    again = Request(method="PUT", body=body, headers=digest).signed(now=NOW)

    assert ('"content-digest"' in again.headers["Signature-Input"]) is bool(body)
    assert "Content-Digest" not in again.headers


def test_the_directory_names_each_key_by_its_thumbprint() -> None:
    [key] = json.loads(key_directory(SIGNING_KEY.public_key()))["keys"]

    assert (key["kid"], key["kty"], key["crv"]) == (KEYID, "OKP", "Ed25519")
    assert "d" not in key
