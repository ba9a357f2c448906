"""Leaves of the log and proofs of inclusion in one piece: what they say, and how strictly they are read (A4)."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from agent_sessions.audit import merkle, proofs
from agent_sessions.audit.leaf import (
    KEYS_DOMAIN,
    GenerationLeaf,
    KeysLeaf,
    SessionLeaf,
    SiteLeaf,
    generation_leaf,
    keys_leaf,
    parse_leaf,
    session_leaf,
    site_leaf,
)
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash
from agent_sessions.audit.notes import Checkpoint, sign_checkpoint
from agent_sessions.audit.proofs import LogProof
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.encoding import to_base64
from agent_sessions.crypto.signing import new_signing_key, sign
from agent_sessions.exceptions import InvalidValue, NoteRefused

ORIGIN = "shop.example/agent-sessions/2026-1"
RUN = "0193a6f0-0000-7000-8000-000000000001"
HEAD = "ab" * 32
PRIVATE, PUBLIC = new_signing_key()
KEY = NoteKey(ORIGIN, SIGNS, PUBLIC)
NEW_KEY = NoteKey(ORIGIN, SIGNS, new_signing_key()[1])
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 1, leaf_hash(b"x")), KEY, partial(sign, PRIVATE))

SESSION = session_leaf(log=ORIGIN, session=RUN, seq=3, head=HEAD)
SITE = site_leaf(log=ORIGIN, seq=9, head=HEAD)
GENERATION = generation_leaf(log=ORIGIN, former=NOTE, reason="restored from a backup")
KEYS = keys_leaf(log=ORIGIN, former=KEY, key=NEW_KEY, sign=partial(sign, PRIVATE))


def changed(leaf: bytes, **members: Any) -> bytes:
    document = json.loads(leaf)
    for name, value in members.items():
        if value is ...:
            del document[name]
        else:
            document[name] = value
    return canonical_bytes(document)


def test_a_leaf_is_canonical_json_and_nothing_else() -> None:
    assert (
        b'{"head":"%s","log":"shop.example/agent-sessions/2026-1","seq":3,"session":"%s",'
        b'"type":"agent-session-leaf/v1","v":1}' % (HEAD.encode(), RUN.encode())
    ) == SESSION
    assert parse_leaf(SESSION) == SessionLeaf(ORIGIN, RUN, 3, HEAD)
    assert parse_leaf(SITE) == SiteLeaf(ORIGIN, 9, HEAD)
    assert parse_leaf(GENERATION) == GenerationLeaf(ORIGIN, NOTE, "restored from a backup")
    first = generation_leaf(log=ORIGIN, former=None, reason="first")
    assert parse_leaf(first) == GenerationLeaf(ORIGIN, None, "first")
    keys = parse_leaf(KEYS)
    assert isinstance(keys, KeysLeaf)
    assert (keys.log, keys.former, keys.key) == (ORIGIN, KEY.text, NEW_KEY.text)
    body = {"former": KEY.text, "key": NEW_KEY.text, "log": ORIGIN, "type": "agent-session-keys/v1", "v": 1}
    assert keys.signature == sign(PRIVATE, KEYS_DOMAIN + canonical_bytes(body))


@pytest.mark.parametrize(
    ("leaf", "where"),
    [
        (b"", ""),
        (b"[]", "/type"),
        (b'{"type":"other"}', "/type"),
        (b'{"type":["agent-session-leaf/v1"]}', "/type"),
        (SESSION + b" ", ""),
        (changed(SESSION, more=1), "/more"),
        (changed(SESSION, head=HEAD.upper()), "/head"),
        (changed(SESSION, seq=0), "/seq"),
        (changed(SESSION, seq=True), "/seq"),
        (changed(SESSION, v=2), "/v"),
        (changed(SESSION, v=True), "/v"),
        (changed(SESSION, log="two words"), "/log"),
        (changed(SESSION, session=""), "/session"),
        (changed(SESSION, session=...), "/session"),
        (changed(SITE, session=RUN), "/session"),
        (changed(SITE, seq=0), "/seq"),
        (changed(GENERATION, former="not a note"), "/former"),
        (changed(GENERATION, former=5), "/former"),
        (changed(GENERATION, reason=""), "/reason"),
        (changed(KEYS, log="other.example/log"), "/former"),
        (changed(KEYS, key=KEY.text), "/key"),
        (changed(KEYS, key=KEY.text + "\n"), "/key"),
        (changed(KEYS, key=NoteKey(ORIGIN, COSIGNS, PUBLIC).text), "/key"),
        (changed(KEYS, key=NoteKey(ORIGIN, SIGNS, new_signing_key()[1]).text), "/signature"),
        (changed(KEYS, key="nonsense"), ""),
        (changed(KEYS, signature=to_base64(bytes(64))), "/signature"),
        (changed(KEYS, signature=to_base64(bytes(63))), "/signature"),
    ],
)
def test_what_is_no_leaf(leaf: bytes, where: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_leaf(leaf)
    assert refused.value.path == where


def test_a_leaf_that_would_not_be_read_is_not_written() -> None:
    with pytest.raises(InvalidValue):
        session_leaf(log=ORIGIN, session=RUN, seq=0, head=HEAD)
    with pytest.raises(InvalidValue):
        keys_leaf(log=ORIGIN, former=KEY, key=NEW_KEY, sign=partial(sign, new_signing_key()[0]))


@pytest.fixture
def proof() -> LogProof:
    """The proof of the second of three leaves."""
    leaves = [GENERATION, SESSION, KEYS]
    frontier, nodes = grow(Frontier(), map(leaf_hash, leaves))
    head = sign_checkpoint(Checkpoint(ORIGIN, 3, frontier.root()), KEY, partial(sign, PRIVATE))
    hashes = merkle.inclusion_plan(1, 3).hashes({node[:2]: node.hash for node in nodes})
    return LogProof(1, tuple(hashes), head)


def test_a_proof_proves_its_leaf_and_no_other(proof: LogProof) -> None:
    assert proof.proves(SESSION)
    assert not proof.proves(KEYS)
    assert not LogProof(0, proof.hashes, proof.checkpoint).proves(SESSION)
    assert not LogProof(1, proof.hashes[:1], proof.checkpoint).proves(SESSION)


def test_both_spellings_of_a_proof_say_all_of_it(proof: LogProof) -> None:
    assert proofs.read_proof(json.loads(json.dumps(proof.to_json()))) == proof
    first, last = map(to_base64, proof.hashes)
    assert proof.to_text() == f"c2sp.org/tlog-proof@v1\nindex 1\n{first}\n{last}\n\n{proof.checkpoint}"
    assert LogProof(0, (), NOTE).to_text() == f"c2sp.org/tlog-proof@v1\nindex 0\n\n{NOTE}"


@pytest.mark.parametrize(
    "members",
    [
        {"leaf_index": -1},
        {"leaf_index": True},
        {"tree_size": 4},
        {"hashes": ["AAAA"]},
        {"hashes": [5]},
        {"hashes": [to_base64(bytes(32))] * 64},
        {"checkpoint": "nonsense"},
        {"more": 1},
    ],
)
def test_what_is_no_proof(proof: LogProof, members: dict[str, Any]) -> None:
    with pytest.raises(NoteRefused):
        proofs.read_proof({**proof.to_json(), **members})
