"""Make the golden artifacts, with fixed keys and times: ``python -m tests.golden.make``.

They pin the format. When one changes, artifacts that shops have given out no longer verify: that needs a new
type in the documents, not new goldens.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent_sessions.audit.artifact import Opening, Seal, build_artifact, make_seal
from agent_sessions.audit.events import CREATED, ENDED, build_event, event_hash, format_time
from agent_sessions.crypto.commitments import commitment, salt_for
from agent_sessions.crypto.encoding import to_base64
from agent_sessions.crypto.signing import public_key_der, public_key_text

HERE = Path(__file__).parent
START = datetime(2026, 11, 21, 9, 30, 0, 123456, tzinfo=UTC)
SITE_PRIVATE = hashlib.sha256(b"golden site key").digest()
SITE_PUBLIC = bytes.fromhex("4c96be7c1d6926f5bf31bd94222597cc5d9eb6debfc323ea4b765d5894aefb06")


@dataclass
class Story:
    """A session's chain in the making, with all that a test needs to tell it differently and sign it."""

    run_id: str
    purpose: str = ""
    header: dict[str, Any] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)
    values: dict[tuple[int, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data_key = hashlib.sha256(b"golden data key " + self.run_id.encode()).digest()
        if not self.header:
            self.header = header_of(self.run_id)
        self.add(CREATED, header=self.header, private={"purpose": self.purpose} if self.purpose else {})

    def add(self, kind: str, *, private: Mapping[str, Any] | None = None, **members: Any) -> None:
        seq = len(self.events) + 1
        for path, value in (private or {}).items():
            self.values[seq, path] = value
        self.events.append(
            build_event(
                run_id=self.run_id,
                seq=seq,
                event_id=str(uuid.uuid5(uuid.UUID(self.run_id), str(seq))),
                timestamp=START + timedelta(seconds=7 * seq),
                kind=kind,
                actor=members.pop("actor", "agent"),
                prev_hash=event_hash(self.events[-1]) if self.events else "",
                private={
                    path: commitment(self.salt(seq, path), self.run_id, seq, path, value)
                    for path, value in (private or {}).items()
                },
                **members,
            )
        )

    def end(self, reason: str = "deleted") -> None:
        ended_at = format_time(START + timedelta(seconds=7 * (len(self.events) + 1)))
        self.add(ENDED, params={"end_reason": reason, "ended_at": ended_at})

    def salt(self, seq: int, path: str) -> bytes:
        return salt_for(self.data_key, self.run_id, seq, path)

    def opening(self, seq: int, path: str) -> Opening:
        return Opening(seq, path, self.salt(seq, path), self.values[seq, path])

    def seal(self, private_key: bytes = SITE_PRIVATE, public_key: bytes = SITE_PUBLIC) -> Seal:
        hashes = [event_hash(event) for event in self.events]
        return make_seal(self.events[0], self.events[-1], hashes, private_key=private_key, public_key=public_key)

    def artifact(self, *opened: tuple[int, str]) -> bytes:
        return build_artifact(self.seal(), self.events, [self.opening(*place) for place in opened])


def header_of(run_id: str) -> dict[str, Any]:
    return {
        "agent": {"name": "Einkaufshelfer", "operator": "Agentur Müller", "version": "2.1.0"},
        "capabilities": ["cart.add", "cart.view", "checkout"],
        "created_at": format_time(START),
        "expires_at": format_time(START + timedelta(seconds=1800)),
        "merchant": "north",
        "scope": {"capabilities": ["cart.add", "cart.view", "checkout"], "max_total": 25000},
        "session_kind": "standard",
        "site": "https://shop.example",
        "token_hash": hashlib.sha256(run_id.encode()).hexdigest(),
    }


def shopping() -> Story:
    """Several events: a denied call, names beyond U+FFFF that sort differently by UTF-8, private values."""
    story = Story("0193a6f0-0000-7000-8000-000000000001", purpose="Buy a present: a red kite 🪁, under €40")
    story.add(
        "cart.item_added",
        capability="cart.add",
        method="POST",
        params={
            "item_id": "kite-7",
            "quantity": 1,
            "😀": "emoji",
            "ﬁ": "ligature",
            "a\u2028b": 'c"\\\u007f\t',
        },
        response_status=201,
        version=2,
        base_version=1,
        duration_ms=14,
        private={
            "params.note": "for Zoë",
            "patch": {"shopping": {"lines": {"l1": {"sku": "kite-7", "old": None}}}},
        },
    )
    story.add(
        "capability.denied",
        actor="policy",
        capability="checkout",
        method="POST",
        policy_result="deny",
        policy_rule="total above 250.00 needs approval",
        response_status=403,
        duration_ms=0,
    )
    story.add("cart.viewed", capability="cart.view", method="GET", params={})
    story.end("completed")
    return story


def empty() -> Story:
    """Only created and ended, by an agent that did not say its name."""
    run_id = "0193a6f0-0000-7000-8000-000000000002"
    story = Story(run_id, header={**header_of(run_id), "agent": {"name": None, "operator": None, "version": None}})
    story.end("expired")
    return story


def goldens() -> dict[str, bytes]:
    """Every golden file by name."""
    bought, nothing = shopping(), empty()
    pem = f"-----BEGIN PUBLIC KEY-----\n{to_base64(public_key_der(SITE_PUBLIC))}\n-----END PUBLIC KEY-----\n"
    return {
        "shopping.json": bought.artifact((2, "params.note"), (1, "purpose"), (2, "patch")),
        "withheld.json": bought.artifact((2, "patch")),
        "empty.json": nothing.artifact(),
        "empty-answer.json": b'{"data":%b,"ok":true}' % nothing.artifact(),
        "site-key.txt": public_key_text(SITE_PUBLIC).encode() + b"\n",
        "site-key.pem": pem.encode(),
    }


if __name__ == "__main__":
    for name, content in goldens().items():
        (HERE / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
