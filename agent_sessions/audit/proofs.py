"""Proof that a leaf is in a log, in one piece: its index, the hashes up to the root, and the signed head they lead to.

Two spellings: members of an artifact's ``inclusion`` (JSON), and the text of C2SP tlog-proof, which other tools read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent_sessions.audit.merkle import leaf_hash, verify_inclusion
from agent_sessions.audit.notes import Checkpoint, hash_lines, parse_checkpoint, parse_note
from agent_sessions.audit.shapes import PROOF, shape_problems
from agent_sessions.crypto.canonical import JSON, canonical_bytes
from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.exceptions import NoteRefused

_TEXT_TYPE: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class LogProof:
    """The proof for the leaf ``index`` (from 0). ``checkpoint`` is the signed note, with all its signatures."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    @property
    def head(self) -> Checkpoint:
        """The tree head, its signatures unchecked (``notes.open_checkpoint`` checks them). Raises NoteRefused."""
        return parse_checkpoint(parse_note(self.checkpoint).text)

    def proves(self, leaf: bytes) -> bool:
        """Tell whether the leaf with these bytes is in the tree with this head; who signed it is not looked at."""
        head = self.head
        return verify_inclusion(self.index, head.size, leaf_hash(leaf), self.hashes, head.root)

    def to_json(self) -> dict[str, JSON]:
        """Write it as the members ``leaf_index``, ``tree_size``, ``hashes`` (base64) and ``checkpoint``."""
        return {
            "checkpoint": self.checkpoint,
            "hashes": [to_base64(one) for one in self.hashes],
            "leaf_index": self.index,
            "tree_size": self.head.size,
        }

    def to_text(self) -> str:
        """Write it as C2SP tlog-proof."""
        return f"{_TEXT_TYPE}\nindex {self.index}\n{hash_lines(self.hashes)}\n{self.checkpoint}"


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A leaf (its bytes) with its proof, as an artifact carries it."""

    leaf: bytes
    proof: LogProof

    def to_json(self) -> bytes:
        """Write it as the artifact's member ``inclusion``, canonical, the leaf as the bytes that were hashed."""
        members = {name: canonical_bytes(value) for name, value in self.proof.to_json().items()}
        members["leaf"] = self.leaf
        return b"{" + b",".join(b'"%b":%b' % (name.encode(), members[name]) for name in sorted(members)) + b"}"


def read_proof(document: Mapping[str, Any]) -> LogProof:
    """Read what ``LogProof.to_json`` writes. Raises NoteRefused for anything else, and for two different sizes."""
    problems = shape_problems(dict(document), PROOF, "")
    if problems:
        raise NoteRefused(f"{problems[0].where} {problems[0].message}")
    hashes = tuple(from_base64(one) for one in document["hashes"])
    proof = LogProof(document["leaf_index"], hashes, document["checkpoint"])
    if proof.head.size != document["tree_size"]:
        raise NoteRefused("the tree_size of a proof is not that of its checkpoint")
    return proof
