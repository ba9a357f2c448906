"""One generation of the log: its tree made again from its leaves, and compared with nodes, frontier and heads."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from django.db.models import Q, QuerySet

from agent_sessions.audit.leaf import GenerationLeaf, KeysLeaf, parse_leaf, session_leaf, site_leaf
from agent_sessions.audit.merkle import Frontier, Node, grow, leaf_hash
from agent_sessions.audit.vkeys import NoteKey
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import LogGeneration, LogLeaf, LogNode
from agent_sessions.selectors._rows import as_time, as_uuid, write_connection
from agent_sessions.selectors.fsck._findings import EVERY, Finding, Tell
from agent_sessions.selectors.fsck._heads import DATABASE, Heads, Kept, named
from agent_sessions.selectors.fsck._rows import stream
from agent_sessions.selectors.fsck._trust import Looked, Trusted

_BATCH: Final = 2048
"""Leaves whose nodes are compared with one query."""
_MAX_LEVEL: Final = 62

_LEAVES: Final = """
SELECT "index", kind, session, seq, head, data, hash, created_at FROM agent_sessions_logleaf
WHERE generation_id = %s ORDER BY "index"
"""
_KINDS: Final[dict[str, type]] = {LogLeaf.Kind.GENERATION: GenerationLeaf, LogLeaf.Kind.KEY: KeysLeaf}


class _Leaf(NamedTuple):
    place: int
    kind: str
    session: uuid.UUID | str | None
    seq: int | None
    head: bytes | None
    data: bytes | None
    hash: bytes
    created_at: datetime | str


class TreeCheck:
    """Checks one generation. Afterwards ``rows`` is how many leaves there are, and ``end`` the place after the last.

    ``covered`` is the size of its largest head that counts, ``waiting_since`` when the first leaf beyond was added.
    ``gap`` is the place of the first leaf that is missing. ``lost`` are heads from outside, the largest of each source,
    that a log which was closed did not come to: after a restore leaves may have been added before that was noticed.
    ``cosigned`` has for each witness the size of the largest head that it co-signed and that is of this tree.
    """

    def __init__(self, log: LogGeneration, heads: Heads, trusted: Trusted, *, covered: int) -> None:
        self._log = log
        self._heads = heads
        self._trusted = trusted
        self._tree = Frontier()
        self._compared = -1
        self.covered = covered
        self.gap: int | None = None
        self.rows = self.end = 0
        self.waiting_since: datetime | None = None
        self.lost: dict[str, Kept] = {}
        self.cosigned: dict[NoteKey, int] = dict.fromkeys(trusted.witnesses, 0)

    @property
    def size(self) -> int:
        return self._tree.size

    def findings(self, tell: Tell) -> Iterator[Finding]:
        """Rebuild the tree and compare it, in the order of the leaves; leaves after a gap are in no tree."""
        batch: list[bytes] = []
        for row in stream(_LEAVES, [self._log.pk]):
            leaf = _Leaf(*row)
            if leaf.place != self.end:
                self.gap = self.end if self.gap is None else self.gap
                yield self._missing(self.end, leaf.place)
            self.end = leaf.place + 1
            made = _written(leaf, self._log.origin)
            yield from self._leaf_findings(leaf, made)
            if leaf.place == self.covered:
                self.waiting_since = as_time(leaf.created_at)
            if self.gap is None:
                batch.append(leaf_hash(made or b""))
            if len(batch) == _BATCH:
                yield from self._grow(batch)
                batch = []
            self.rows += 1
            if self.rows % EVERY == 0:
                tell(f"{self._log.origin}: {self.rows:,} of {self._log.size:,} leaves")
        yield from self._grow(batch)
        yield from self._end_findings()

    def _leaf_findings(self, leaf: _Leaf, made: bytes | None) -> Iterator[Finding]:
        where = f"leaf {leaf.place}"
        if made is None:
            yield self._finding("leaf_changed", where, "is not what a leaf of its kind can say")
        elif leaf_hash(made) != bytes(leaf.hash):
            yield self._finding("leaf_changed", where, "does not have the hash of what it says")
        if made is not None and leaf.kind == LogLeaf.Kind.KEY:
            brought = parse_leaf(made)
            if isinstance(brought, KeysLeaf) and not self._trusted.bring_in(brought):
                yield self._finding("unknown_key", where, "brings in a key that no trusted key has signed")
        if leaf.place == 0 and leaf.kind != LogLeaf.Kind.GENERATION:
            yield self._finding("leaf_changed", where, "does not say why the log begins, as a first leaf does")

    def _grow(self, hashes: list[bytes]) -> Iterator[Finding]:
        """Add leaves to the tree, stopping at every size of which there is a head."""
        end, nodes = self.size + len(hashes), list[Node]()
        for size in self._heads.sizes(self._log.origin, self._compared, end):
            count = size - self.size
            self._add(hashes[:count], nodes)
            hashes = hashes[count:]
            yield from self._compare(size)
        self._add(hashes, nodes)
        self._compared = end
        yield from self._node_findings(nodes)

    def _add(self, hashes: list[bytes], nodes: list[Node]) -> None:
        self._tree, made = grow(self._tree, hashes)
        nodes += made

    def _compare(self, size: int) -> Iterator[Finding]:
        """Compare every head of this size with the tree as it is now."""
        root, stored = self._tree.root(), self._heads.has(self._log.origin, size, DATABASE)
        signed: dict[str, Looked] = {}
        for kept in self._heads.of_size(self._log.origin, size):
            where = named(kept)
            if kept.note not in signed:
                signed[kept.note] = self._trusted.look(kept.note, self._log.origin)
            problem, witnesses = signed[kept.note]
            if problem:
                yield self._finding("head_unsigned", where, f"is not to be trusted: {problem}")
            elif self._is_closed_before(kept) and not (stored and kept.root == root):
                self.lost[kept.source] = kept
            elif kept.root != root:
                yield self._finding("head_differs", where, "has another root than these leaves")
            else:
                self.cosigned.update(dict.fromkeys(witnesses, size))
                if kept.outside and not stored:
                    yield self._finding("head_missing", where, "is not among the heads in the database")

    def _is_closed_before(self, kept: Kept) -> bool:
        """Tell whether this log was closed without a head that counts of so many leaves; elsewhere there is one."""
        return self._log.closed_at is not None and kept.size > self.covered and kept.source != DATABASE

    def _node_findings(self, nodes: list[Node]) -> Iterator[Finding]:
        expected = {(node.level, node.position): node.hash for node in nodes if node.level}
        ranges: dict[int, tuple[int, int]] = {}
        for level, position in expected:
            first, _ = ranges.get(level, (position, position))
            ranges[level] = (first, position)
        if not ranges:
            return
        wanted = Q()
        for level, span in ranges.items():
            wanted |= Q(level=level, index__range=span)
        rows = self._nodes().filter(wanted).values_list("level", "index", "hash")
        stored = {(level, index): bytes(found) for level, index, found in rows}
        for place, right in expected.items():
            where = f"node {place[1]} of level {place[0]}"
            if place not in stored:
                yield self._finding("node_missing", where, "is not there")
            elif stored[place] != right:
                yield self._finding("node_changed", where, "is not the hash of what is below it")

    def _end_findings(self) -> Iterator[Finding]:
        """What is only known at the end: leaves cut off, heads that nothing can be compared with, frontier, nodes."""
        log = self._log
        if self.end < log.size:
            self.gap = self.end if self.gap is None else self.gap
            yield self._missing(self.end, log.size)
        if self.gap is not None:
            over = len(self._heads.sizes(log.origin, self.gap, self.end))
            if over:
                yield self._finding("leaf_missing", f"{over} heads", f"cover leaf {self.gap} and cannot be compared")
            return
        if log.size != self.size or log.frontier != [one.hex() for one in self._tree.hashes]:
            message = f"does not have the size and the hashes of {self.size} leaves"
            yield self._finding("frontier_changed", "its row", message)
        extra = Q(level__lt=1) | Q(level__gt=_MAX_LEVEL)
        for level in range(1, _MAX_LEVEL + 1):
            extra |= Q(level=level, index__gte=self.size >> level)
        for level, index in self._nodes().filter(extra).values_list("level", "index")[:_BATCH]:
            yield self._finding("node_extra", f"node {index} of level {level}", "stands over leaves that are not there")

    def _missing(self, first: int, end: int) -> Finding:
        where = f"leaf {first}" if end - first == 1 else f"leaves {first} to {end - 1}"
        return self._finding("leaf_missing", where, "is not there" if end - first == 1 else "are not there")

    def _finding(self, code: str, where: str, message: str) -> Finding:
        return Finding(code, self._log.origin, where, message)

    def _nodes(self) -> QuerySet[LogNode]:
        return LogNode.objects.using(write_connection().alias).filter(generation_id=self._log.pk)


def _written(leaf: _Leaf, origin: str) -> bytes | None:
    """Write a leaf from its columns, as it was hashed; None where they hold what no leaf of this log can say."""
    try:
        if leaf.kind == LogLeaf.Kind.SESSION:
            session, head = str(as_uuid(leaf.session)), bytes(leaf.head or b"").hex()
            return session_leaf(log=origin, session=session, seq=leaf.seq or 0, head=head)
        if leaf.kind == LogLeaf.Kind.SITE:
            return site_leaf(log=origin, seq=leaf.seq or 0, head=bytes(leaf.head or b"").hex())
        data = bytes(leaf.data or b"")
        said = parse_leaf(data)
    except (InvalidValue, TypeError, ValueError):
        return None
    return data if said.log == origin and type(said) is _KINDS.get(leaf.kind) else None
