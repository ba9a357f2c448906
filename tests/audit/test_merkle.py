"""The Merkle tree against RFC 6962, against a naive tree, and against the vectors of transparency-dev/merkle (A4)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.audit import merkle
from agent_sessions.audit.merkle import EMPTY_ROOT, Frontier, Place, grow, leaf_hash
from agent_sessions.exceptions import InvalidValue, LogDamaged

# The eight leaves of the tests of RFC 6962's own implementation, and their roots by size.
LEAVES = [bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOT_OF_EIGHT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_consistency(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_consistency(m - k, leaves[k:], False), naive_root(leaves[:k])]


class Stored:
    """A table of nodes, with a count of the queries made of it."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.frontier, nodes = grow(Frontier(), map(leaf_hash, leaves))
        self.nodes = {(level, position): hash_ for level, position, hash_ in nodes}
        assert len(self.nodes) == len(nodes) < max(2 * len(leaves), 1)
        self.queries: list[Sequence[Place]] = []

    def read(self, places: Sequence[Place]) -> Mapping[Place, bytes]:
        self.queries.append(places)
        return {place: self.nodes[place] for place in places}


def some_leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


def test_constants_of_rfc_6962() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"") != sha256(b"").digest()
    frontier, _ = grow(Frontier(), map(leaf_hash, LEAVES))
    assert frontier.root().hex() == ROOT_OF_EIGHT
    assert Frontier().root() == EMPTY_ROOT


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_roots_and_proofs_are_those_of_the_naive_tree(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 300))
    index, old = data.draw(st.integers(0, new - 1)), data.draw(st.integers(1, new))
    leaves = some_leaves(new)
    stored = Stored(leaves)
    root, old_root = stored.frontier.root(), naive_root(leaves[:old])
    assert root == naive_root(leaves)
    path = merkle.inclusion_proof(index, new, stored.read)
    assert path == naive_path(index, leaves)
    assert merkle.verify_inclusion(index, new, leaf_hash(leaves[index]), path, root)
    consistency = merkle.consistency_proof(old, new, stored.read)
    assert consistency == naive_consistency(old, leaves)
    assert merkle.verify_consistency(old, new, old_root, root, consistency)
    assert len(stored.queries) <= 2
    assert all(len(places) <= 2 * new.bit_length() for places in stored.queries)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=8))
def test_batches_make_the_tree_that_one_batch_makes(batches: list[int]) -> None:
    leaves = some_leaves(sum(batches))
    frontier, nodes, place = Frontier(), [], 0
    for count in batches:
        frontier, new = grow(frontier, map(leaf_hash, leaves[place : place + count]))
        nodes += new
        place += count
    assert (frontier, nodes) == grow(Frontier(), map(leaf_hash, leaves))
    one_by_one = Frontier()
    for leaf in leaves:
        one_by_one, _ = grow(one_by_one, [leaf_hash(leaf)])
    assert one_by_one == frontier


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_changed_proof_verifies(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 70))
    index, old = data.draw(st.integers(0, new - 1)), data.draw(st.integers(1, new - 1))
    leaves = some_leaves(new)
    stored = Stored(leaves)
    root, leaf, old_root = stored.frontier.root(), leaf_hash(leaves[index]), naive_root(leaves[:old])
    path = merkle.inclusion_proof(index, new, stored.read)
    steps = merkle.consistency_proof(old, new, stored.read)
    for changed in _changes(path, data):
        assert not merkle.verify_inclusion(index, new, leaf, changed, root)
    for changed in _changes(steps, data):
        assert not merkle.verify_consistency(old, new, old_root, root, changed)
    other = data.draw(st.integers(0, new - 1).filter(lambda number: number != index))
    assert not merkle.verify_inclusion(other, new, leaf, path, root)
    assert not merkle.verify_consistency(old, new, root, old_root, steps)
    forked = [*leaves[: old - 1], b"another", *leaves[old:]]
    assert not merkle.verify_consistency(old, new, old_root, naive_root(forked), naive_consistency(old, forked))


def _changes(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    number = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytes([proof[number][0] ^ 1]) + proof[number][1:]
    return [
        [*proof[:number], flipped, *proof[number + 1 :]],
        [*proof[:number], proof[number][:31], *proof[number + 1 :]],
        proof[:-1],
        [*proof, proof[-1]],
        [bytes(32), *proof],
    ]


def test_sizes_and_places_that_no_tree_has() -> None:
    leaf = leaf_hash(b"x")
    assert merkle.verify_inclusion(0, 1, leaf, [], leaf)
    for index, size in ((1, 1), (-1, 1), (0, 0), (0, 2**63)):
        assert not merkle.verify_inclusion(index, size, leaf, [], leaf)
    assert not merkle.verify_inclusion(0, 1, b"", [], b"")
    assert merkle.verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert merkle.verify_consistency(0, 1, EMPTY_ROOT, leaf, [])
    assert not merkle.verify_consistency(0, 0, leaf, leaf, [])
    assert not merkle.verify_consistency(0, 1, leaf, leaf, [])
    assert not merkle.verify_consistency(0, 1, EMPTY_ROOT, leaf, [leaf])
    assert not merkle.verify_consistency(2, 1, leaf, leaf, [])
    for plan in (
        partial(merkle.inclusion_plan, 3, 3),
        partial(merkle.inclusion_plan, -1, 3),
        partial(merkle.consistency_plan, 4, 3),
        partial(merkle.inclusion_plan, 0, 2**63),
    ):
        with pytest.raises(InvalidValue):
            plan()
    assert merkle.consistency_proof(0, 5, lambda _: {}) == merkle.consistency_proof(5, 5, lambda _: {}) == []


def test_a_missing_or_shortened_node_is_named() -> None:
    stored = Stored(some_leaves(7))
    del stored.nodes[0, 6]
    with pytest.raises(LogDamaged, match="node 6 of level 0"):
        merkle.inclusion_plan(5, 7).hashes(stored.nodes)
    stored.nodes[0, 6] = b"short"
    with pytest.raises(LogDamaged, match="node 6 of level 0"):
        merkle.inclusion_plan(5, 7).hashes(stored.nodes)


@pytest.mark.parametrize(
    ("size", "hashes"), [(1, ()), (2, (bytes(32), bytes(32))), (1, (b"\0",)), (-1, ()), (2**63, (bytes(32),))]
)
def test_a_frontier_has_the_hashes_that_its_size_needs(size: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidValue):
        Frontier(size, hashes)


def test_a_leaf_is_added_by_its_hash() -> None:
    with pytest.raises(InvalidValue, match="4 bytes"):
        grow(Frontier(), [b"leaf"])


def test_outside_inclusion_vectors(vectors: Path) -> None:
    """All of transparency-dev/merkle, with single-entry/empty-root-and-leaf, which only lengths refuse."""
    files = sorted((vectors / "rfc6962/inclusion").rglob("*.json"))
    assert any(file.name == "empty-root-and-leaf.json" for file in files)
    for file in files:
        case = json.loads(file.read_text())
        proof = [base64.b64decode(one) for one in case["proof"] or ()]
        leaf, root = base64.b64decode(case["leafHash"] or ""), base64.b64decode(case["root"] or "")
        good = merkle.verify_inclusion(case["leafIdx"], case["treeSize"], leaf, proof, root)
        assert good is not case["wantErr"], file


def test_outside_consistency_vectors(vectors: Path) -> None:
    """All of transparency-dev/merkle, with additional/sizes-are-equal-zero-and-proof-is-empty."""
    files = sorted((vectors / "rfc6962/consistency").rglob("*.json"))
    assert any(file.name == "sizes-are-equal-zero-and-proof-is-empty.json" for file in files)
    for file in files:
        case = json.loads(file.read_text())
        proof = [base64.b64decode(one) for one in case["proof"] or ()]
        before, after = base64.b64decode(case["root1"] or ""), base64.b64decode(case["root2"] or "")
        good = merkle.verify_consistency(case["size1"], case["size2"], before, after, proof)
        assert good is not case["wantErr"], file
    assert len(files) + len(list((vectors / "rfc6962/inclusion").rglob("*.json"))) == 196
