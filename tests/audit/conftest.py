from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.artifact import ENVELOPE_DOMAIN
from agent_sessions.audit.events import event_hash, root_hash
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.encoding import to_base64
from agent_sessions.crypto.signing import key_id, public_key_text, sign
from tests.golden.make import SITE_PRIVATE, SITE_PUBLIC, shopping

DEEP = 200
"""Levels: more than a document may have, for those that have too many."""

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def artifact() -> dict[str, Any]:
    """The shopping golden as an object: three openings, five events."""
    document: dict[str, Any] = json.loads(shopping().artifact((1, "purpose"), (2, "params.note"), (2, "patch")))
    return document


def changed(document: dict[str, Any], change: Change) -> bytes:
    """The document after ``change``, in canonical spelling, otherwise as it was."""
    other = copy.deepcopy(document)
    change(other)
    return canonical_bytes(other, max_depth=DEEP)


def chained_again(document: dict[str, Any]) -> None:
    """Repair numbers, links and hashes, as a forger without the site's key can."""
    hashes: list[str] = []
    for number, event in enumerate(document["events"]):
        event["seq"] = number + 1
        event["prev_hash"] = hashes[-1] if hashes else ""
        hashes.append(event_hash(canonical_bytes(event, max_depth=DEEP)))
    document["root_hash"] = document["envelope"]["root_hash"] = root_hash(hashes)
    document["envelope"]["head_hash"] = hashes[-1]
    document["envelope"]["event_count"] = len(hashes)


def signed_again(document: dict[str, Any], private_key: bytes = SITE_PRIVATE, public_key: bytes = SITE_PUBLIC) -> None:
    """Sign whatever is there: with the site's own key it shows which checks do not rest on signatures."""
    document["public_key"] = public_key_text(public_key)
    document["envelope"]["key_id"] = key_id(public_key)
    document["signature"] = to_base64(sign(private_key, document["root_hash"].encode()))
    envelope = canonical_bytes(document["envelope"])
    document["runtime_signature"] = to_base64(sign(private_key, ENVELOPE_DOMAIN + envelope))


@pytest.fixture
def vectors() -> Path:
    """The folder of outside test vectors, which the project does not copy."""
    found = os.environ.get("AGENT_SESSIONS_VECTORS")
    if not found:
        pytest.skip("AGENT_SESSIONS_VECTORS is not set: it names the folder of the outside test vectors")
    return Path(found)
