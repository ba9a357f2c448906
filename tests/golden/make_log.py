"""Make the golden log, with fixed keys and times: ``python -m tests.golden.make_log``.

Seven leaves, two heads, the proof between them, and an artifact that is in it. As with the artifacts (``make``): when
one of these changes, what shops have published no longer verifies.
"""

from __future__ import annotations

import hashlib
from functools import partial

from agent_sessions.audit import merkle
from agent_sessions.audit.artifact import build_artifact
from agent_sessions.audit.events import event_hash
from agent_sessions.audit.leaf import generation_leaf, keys_leaf, session_leaf
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash
from agent_sessions.audit.notes import Checkpoint, add_signatures, cosign, hash_lines, sign_checkpoint
from agent_sessions.audit.proofs import Inclusion, LogProof
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey
from agent_sessions.crypto.signing import sign
from tests.golden.make import HERE, Story, empty, shopping

ORIGIN = "shop.example/agent-sessions/2026-1"
LOG_PRIVATE = hashlib.sha256(b"golden log key").digest()
LOG_KEY = NoteKey(ORIGIN, SIGNS, bytes.fromhex("ac27c6d83807be65ed9d2791d35b63b9d036fc59fda77efc314a5798c1695f67"))
NEW_KEY = NoteKey(ORIGIN, SIGNS, bytes.fromhex("ad556b9734fac24020f07841cd08f2bb03b559bb09e5183f85dff0c90c7c025a"))
WITNESS_PRIVATE = hashlib.sha256(b"golden witness key").digest()
WITNESS_KEY = NoteKey(
    "witness.example/w1", COSIGNS, bytes.fromhex("fab8a685eae63266c3d3f9624da04ea1fc8111ccf8100e524a3ba126967f2c5f")
)
WITNESSED_AT = 1_795_255_800
"""2026-11-21T10:10:00Z"""
PLACE = 3
"""Of the leaf that is the end of the shopping session."""


def leaf_of(story: Story, seq: int) -> bytes:
    return session_leaf(log=ORIGIN, session=story.run_id, seq=seq, head=event_hash(story.events[seq - 1]))


def leaves() -> list[bytes]:
    """A first leaf, sessions that went on and ended, and a new key."""
    bought, nothing = shopping(), empty()
    unfinished = Story("0193a6f0-0000-7000-8000-000000000003")
    unfinished.add("cart.viewed", capability="cart.view", method="GET")
    return [
        generation_leaf(log=ORIGIN, former=None, reason="first"),
        leaf_of(bought, 2),
        leaf_of(nothing, 2),
        leaf_of(bought, 5),
        leaf_of(unfinished, 1),
        keys_leaf(log=ORIGIN, former=LOG_KEY, key=NEW_KEY, sign=partial(sign, LOG_PRIVATE)),
        leaf_of(unfinished, 2),
    ]


def nodes() -> dict[tuple[int, int], bytes]:
    return {(level, position): made for level, position, made in grow(Frontier(), map(leaf_hash, leaves()))[1]}


def head(size: int) -> str:
    """The tree head as it was exported: signed by the log, co-signed by the witness."""
    frontier, _ = grow(Frontier(), map(leaf_hash, leaves()[:size]))
    signed = sign_checkpoint(Checkpoint(ORIGIN, size, frontier.root()), LOG_KEY, partial(sign, LOG_PRIVATE))
    text = signed.partition("\n\n")[0] + "\n"
    line = cosign(text, WITNESS_KEY, partial(sign, WITNESS_PRIVATE), time=WITNESSED_AT + size)
    return add_signatures(signed, [line])


def inclusion(size: int) -> Inclusion:
    """The proof that the shopping session's end is in the log of this size."""
    hashes = merkle.inclusion_plan(PLACE, size).hashes(nodes())
    return Inclusion(leaves()[PLACE], LogProof(PLACE, tuple(hashes), head(size)))


def logged_artifact(size: int) -> bytes:
    story = shopping()
    return build_artifact(story.seal(), story.events, [story.opening(1, "purpose")], inclusion=inclusion(size))


def log_goldens() -> dict[str, bytes]:
    """Every golden file of the log by name."""
    return {
        "log/leaves.jsonl": b"".join(leaf + b"\n" for leaf in leaves()),
        "log/head-4.txt": head(4).encode(),
        "log/head-7.txt": head(7).encode(),
        "log/consistency-4-7.txt": hash_lines(merkle.consistency_plan(4, 7).hashes(nodes())).encode(),
        "log/log-key.txt": LOG_KEY.text.encode() + b"\n",
        "log/witness-key.txt": WITNESS_KEY.text.encode() + b"\n",
        "log/shopping-4.json": logged_artifact(4),
        "log/shopping-7.json": logged_artifact(7),
        "log/shopping.tlog-proof": inclusion(7).proof.to_text().encode(),
    }


if __name__ == "__main__":
    (HERE / "log").mkdir(exist_ok=True)
    for name, content in log_goldens().items():
        (HERE / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
