"""The Merkle tree of the log: RFC 6962 section 2.1 with SHA-256, proofs as RFC 9162 section 2.1 verifies them.

What is stored are nodes that never change: a node at (level, position) is the root over the leaves from
``position * 2^level`` up to ``(position + 1) * 2^level``, and it is stored once all of these are there. Level 0 are the
leaves. The root of a tree of any size and every proof in it are made from a few such nodes a level: a *plan* names
them, so that they can be fetched with one query, and then makes the hashes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeAlias

from agent_sessions.exceptions import InvalidValue, LogDamaged

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of a tree without leaves."""

MAX_SIZE: Final = 2**63 - 1
"""Leaves of the largest tree: what other implementations and a database's whole numbers hold."""


class Place(NamedTuple):
    """Where a complete node stands."""

    level: int
    position: int


class Node(NamedTuple):
    """A complete node with its hash (32 bytes), as it is stored."""

    level: int
    position: int
    hash: bytes


ReadNodes: TypeAlias = Callable[[Sequence[Place]], Mapping[Place, bytes]]
"""Fetches stored nodes, all in one go. Keys may be plain (level, position) tuples."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf's bytes: SHA-256 over 0x00 and them."""
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two nodes into the one above them: SHA-256 over 0x01 and both hashes."""
    return sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed of a tree to add to it: its size and the roots of its complete subtrees, largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Raise InvalidValue when there are not as many hashes as the size has ones in binary."""
        if not 0 <= self.size <= MAX_SIZE:
            raise InvalidValue("/size", f"is not a tree's size (0 to {MAX_SIZE})")
        if len(self.hashes) != self.size.bit_count() or any(len(one) != HASH_SIZE for one in self.hashes):
            raise InvalidValue("/hashes", f"are not the {self.size.bit_count()} hashes that a tree of this size has")

    def root(self) -> bytes:
        """Compute the tree's root."""
        return _join(self.hashes) if self.hashes else EMPTY_ROOT


def grow(frontier: Frontier, leaf_hashes: Iterable[bytes]) -> tuple[Frontier, list[Node]]:
    """Add leaves to a tree: the new frontier and every node that became complete, leaves among them, in that order.

    ``leaf_hashes`` are what ``leaf_hash`` makes. A batch of n leaves completes fewer than 2n nodes.

    Raises InvalidValue for a hash that is not 32 bytes long.
    """
    size, hashes, nodes = frontier.size, list(frontier.hashes), []
    for leaf in leaf_hashes:
        if len(leaf) != HASH_SIZE:
            raise InvalidValue("", f"is a leaf's hash of {len(leaf)} bytes; it must have {HASH_SIZE}")
        level, position, joined = 0, size, leaf
        nodes.append(Node(level, position, joined))
        while position & 1:
            level, position, joined = level + 1, position >> 1, node_hash(hashes.pop(), joined)
            nodes.append(Node(level, position, joined))
        hashes.append(joined)
        size += 1
    return Frontier(size, tuple(hashes)), nodes


@dataclass(frozen=True, slots=True)
class Plan:
    """Which stored nodes make up which hashes: ``parts`` has, for each hash, the places that are joined to it."""

    parts: tuple[tuple[Place, ...], ...]

    @property
    def places(self) -> list[Place]:
        """Every node that is needed, for one query; two a level at most."""
        return sorted({place for part in self.parts for place in part})

    def hashes(self, nodes: Mapping[Any, bytes]) -> list[bytes]:
        """Make the hashes from stored nodes, by (level, position).

        Raises LogDamaged when one of them is missing or not 32 bytes long.
        """
        made = []
        for part in self.parts:
            found = []
            for place in part:
                one = nodes.get(place)
                if one is None or len(one) != HASH_SIZE:
                    raise LogDamaged(f"its node {place.position} of level {place.level} is missing or no hash")
                found.append(bytes(one))
            made.append(_join(found))
        return made


def inclusion_plan(index: int, size: int) -> Plan:
    """Plan the proof that the leaf ``index`` (from 0) is in the tree of ``size`` leaves (RFC 6962 section 2.1.1)."""
    _check(1 <= size <= MAX_SIZE, "size", size)
    _check(0 <= index < size, "index", index)
    parts: list[tuple[Place, ...]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            parts.append(_cover(middle, end))
            end = middle
        else:
            parts.append(_cover(start, middle))
            start = middle
    return Plan(tuple(reversed(parts)))


def consistency_plan(old: int, new: int) -> Plan:
    """Plan the proof that the tree of ``old`` leaves begins the tree of ``new`` (RFC 6962 section 2.1.2).

    Nothing needs proof from size 0, or between equal sizes: the plan is empty then.
    """
    _check(0 <= new <= MAX_SIZE, "new size", new)
    _check(0 <= old <= new, "old size", old)
    if old in (0, new):
        return Plan(())
    parts: list[tuple[Place, ...]] = []
    start, end = 0, new
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            parts.append(_cover(middle, end))
            end = middle
        else:
            parts.append(_cover(start, middle))
            start = middle
    # What is left are leaves of the old tree only. From the very first one on, it is the old tree, whose root the
    # verifier has.
    if start:
        parts.append(_cover(start, end))
    return Plan(tuple(reversed(parts)))


def inclusion_proof(index: int, size: int, read: ReadNodes) -> list[bytes]:
    """Make an inclusion proof from stored nodes; ``read`` is called once. See ``inclusion_plan``."""
    return _fetched(inclusion_plan(index, size), read)


def consistency_proof(old: int, new: int, read: ReadNodes) -> list[bytes]:
    """Make a consistency proof from stored nodes; ``read`` is called once at most. See ``consistency_plan``."""
    return _fetched(consistency_plan(old, new), read)


def verify_inclusion(index: int, size: int, leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the leaf is at ``index`` of the tree with this size and root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes([leaf_hash, root, *proof]):
        return False
    place, last, made = index, size - 1, leaf_hash
    for one in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            made = node_hash(one, made)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            made = node_hash(made, one)
        place, last = place >> 1, last >> 1
    return last == 0 and made == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether one tree begins the other, leaf by leaf (RFC 9162 section 2.1.4.2).

    From size 0, and between equal sizes, the proof must be empty.
    """
    if not 0 <= old <= new <= MAX_SIZE or not _are_hashes(proof):
        return False
    if (old == 0 and old_root != EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
        return False
    if old == new:  # nothing is computed, so that there is nothing for which a root would need its right length
        return not proof and old_root == new_root
    if not _are_hashes([old_root, new_root]):
        return False
    if old == 0:
        return not proof
    hashes = list(proof)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = hashes[0]
    for one in hashes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node_hash(one, before), node_hash(one, after)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            after = node_hash(after, one)
        place, last = place >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _fetched(plan: Plan, read: ReadNodes) -> list[bytes]:
    return plan.hashes(read(plan.places)) if plan.parts else []


def _split(count: int) -> int:
    """The largest power of two below ``count``: where RFC 6962 divides so many leaves."""
    return 1 << (count - 1).bit_length() - 1


def _cover(start: int, end: int) -> tuple[Place, ...]:
    """The complete nodes over a range as the recursion of RFC 6962 makes them, from left to right."""
    places = []
    while start < end:
        level = (end - start).bit_length() - 1
        places.append(Place(level, start >> level))
        start += 1 << level
    return tuple(places)


def _join(hashes: Sequence[bytes]) -> bytes:
    """Join complete subtrees, the largest first, to the root over all their leaves."""
    *others, joined = hashes
    for one in reversed(others):
        joined = node_hash(one, joined)
    return joined


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_SIZE for value in values)


def _check(good: bool, what: str, value: int) -> None:
    if not good:
        raise InvalidValue("", f"is no {what} of the tree: {value}")
