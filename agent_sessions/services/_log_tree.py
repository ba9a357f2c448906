"""Adding leaves to the tree of the open generation, in the transaction that has its row locked (A4)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F
from django.utils import timezone

from agent_sessions.audit.leaf import session_leaf, site_leaf
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash
from agent_sessions.models import LogGeneration, LogLeaf, LogNode
from agent_sessions.selectors import _rows

Kind = LogLeaf.Kind


@dataclass(frozen=True, slots=True)
class NewLeaf:
    """A leaf to append: ``written`` are its bytes, the rest are its columns. ``head`` is the hash of event ``seq``."""

    kind: LogLeaf.Kind
    written: bytes
    session: uuid.UUID | None = None
    seq: int | None = None
    head: bytes | None = None

    @classmethod
    def of_session(cls, log: str, session: uuid.UUID, seq: int, head: bytes) -> NewLeaf:
        """Say how far a session goes."""
        written = session_leaf(log=log, session=str(session), seq=seq, head=head.hex())
        return cls(Kind.SESSION, written, session, seq, head)

    @classmethod
    def of_site(cls, log: str, seq: int, head: bytes) -> NewLeaf:
        """Say how far the site's own chain goes."""
        return cls(Kind.SITE, site_leaf(log=log, seq=seq, head=head.hex()), None, seq, head)


def lock_open_generation() -> LogGeneration | None:
    """Lock and read the open generation, None if there is none. Whoever else would append waits for the commit."""
    rows = LogGeneration.objects.using(_rows.write_connection().alias).filter(closed_at__isnull=True)
    # Not SELECT FOR UPDATE: SQLite has none, and cannot turn a reading transaction into a writing one.
    return rows.get() if rows.update(size=F("size")) else None


def append_leaves(generation: LogGeneration, leaves: Sequence[NewLeaf]) -> None:
    """Append leaves to a generation that ``lock_open_generation`` locked, or that was just made."""
    alias = _rows.write_connection().alias
    now = timezone.now()
    frontier, nodes = grow(
        Frontier(generation.size, tuple(map(bytes.fromhex, generation.frontier))),
        [leaf_hash(leaf.written) for leaf in leaves],
    )
    hashes = [node.hash for node in nodes if node.level == 0]
    LogLeaf.objects.using(alias).bulk_create(
        LogLeaf(
            generation=generation, index=index, kind=leaf.kind, session=leaf.session, seq=leaf.seq, head=leaf.head,
            data=leaf.written if leaf.kind in (Kind.GENERATION, Kind.KEY) else None, hash=made, created_at=now,
        )
        for index, leaf, made in zip(range(generation.size, frontier.size), leaves, hashes, strict=True)
    )  # fmt: skip
    LogNode.objects.using(alias).bulk_create(
        LogNode(generation=generation, level=node.level, index=node.position, hash=node.hash)
        for node in nodes
        if node.level
    )
    generation.size = frontier.size
    generation.frontier = [one.hex() for one in frontier.hashes]
    generation.save(using=alias, update_fields=["size", "frontier"])
