"""The log as it stands in the database, made again from its leaves; and a database that goes back in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agent_sessions.audit.leaf import session_leaf, site_leaf
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash
from agent_sessions.audit.notes import open_checkpoint
from agent_sessions.audit.submissions import Submission
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.models import AuditEvent, LogGeneration, LogLeaf, LogNode, Session, SiteEvent, SiteKey, TreeHead
from agent_sessions.selectors.log import log_keys
from agent_sessions.sinks import SinkFailed
from tests.sinks.trees import Tree

DISK = "agent_sessions.sinks.DirectorySink"


def leaf_bytes(leaf: LogLeaf) -> bytes:
    """The bytes of a leaf, made again from its columns."""
    if leaf.data is not None:
        return bytes(leaf.data)
    facts = {"log": leaf.generation.origin, "seq": leaf.seq or 0, "head": bytes(leaf.head or b"").hex()}
    return site_leaf(**facts) if leaf.session is None else session_leaf(session=str(leaf.session), **facts)


def wrong_with_the_log() -> list[str]:
    """Everything that does not fit together: leaves, nodes, frontier, heads, their keys, and sessions left out."""
    found = []
    keys = [read_vkey(one.vkey) for one in log_keys()]
    for generation in LogGeneration.objects.order_by("number"):
        leaves = list(LogLeaf.objects.filter(generation=generation).select_related("generation").order_by("index"))
        written = [leaf_bytes(leaf) for leaf in leaves]
        frontier, nodes = grow(Frontier(), map(leaf_hash, written))
        stored = LogNode.objects.filter(generation=generation).values_list("level", "index", "hash")
        facts: dict[str, tuple[Any, Any]] = {
            "indexes": ([leaf.index for leaf in leaves], list(range(len(leaves)))),
            "hashes": ([bytes(leaf.hash) for leaf in leaves], list(map(leaf_hash, written))),
            "nodes": ({(a, b, bytes(c)) for a, b, c in stored}, {tuple(node) for node in nodes if node.level}),
            "row": (
                (generation.size, generation.frontier), (frontier.size, [one.hex() for one in frontier.hashes])
            ),
            "twice": (len({(leaf.session, leaf.seq) for leaf in leaves if leaf.session}),
                      sum(leaf.session is not None for leaf in leaves)),
        }  # fmt: skip
        found += [f"{generation}, {what}: {one} is not {other}" for what, (one, other) in facts.items() if one != other]
        for head in TreeHead.objects.filter(generation=generation):
            opened = open_checkpoint(head.note, keys).checkpoint
            root = grow(Frontier(), map(leaf_hash, written[: head.size]))[0].root()
            if (opened.origin, opened.size, opened.root, bytes(head.root)) != (
                generation.origin, head.size, root, root
            ):  # fmt: skip
                found.append(f"the head of {head.size} leaves is not that of the tree")
        waiting = TreeHead.objects.filter(generation=generation, exported_at=None).count()
        if waiting > 1:
            found.append(f"{waiting} heads wait")
    return found


def left_out() -> list[str]:
    """Sessions, and the site's chain, whose end has no leaf in the open generation."""
    leaves = LogLeaf.objects.filter(generation__closed_at=None)
    logged = {(one, seq, bytes(head)) for one, seq, head in leaves.values_list("session", "seq", "head") if head}
    there = {(one.pk, one.head_seq, bytes(one.head_hash)) for one in Session.objects.all()}
    last = SiteEvent.objects.order_by("-seq").first()
    if last is not None:
        there.add((None, last.seq, bytes(last.hash)))  # type: ignore[arg-type]
    return [f"{one} {seq}" for one, seq, head in there - logged]


_LOG = (TreeHead, LogNode, LogLeaf, LogGeneration)


def backup() -> Callable[[], None]:
    """Remember the rows of the sessions' history and of the log; what is returned restores them.

    Rows that were added since are deleted and those that were changed are put back, which no trigger prevents.
    """
    kept = {model: list(model.objects.all()) for model in (Session, *reversed(_LOG))}
    events = set(AuditEvent.objects.values_list("session_id", "seq"))
    sites = set(SiteEvent.objects.values_list("seq", flat=True))
    keys = set(SiteKey.objects.values_list("pk", flat=True))

    def restore() -> None:
        for model in _LOG:
            model.objects.all().delete()
        for model in reversed(_LOG):
            model.objects.bulk_create(kept[model])
        Session.objects.exclude(pk__in=[one.pk for one in kept[Session]]).delete()
        for one in kept[Session]:
            one.save(force_update=True)
        for session, seq in set(AuditEvent.objects.values_list("session_id", "seq")) - events:
            AuditEvent.objects.filter(session_id=session, seq=seq).delete()
        SiteEvent.objects.exclude(seq__in=sites).delete()
        SiteKey.objects.exclude(pk__in=keys).delete()

    return restore


class FakeSink:
    """A sink in memory that fails when it is told to; all that it was ever sent stays in ``seen``."""

    readable = True

    def __init__(self, name: str, store: dict[str, Any]) -> None:
        self.name = name
        self._store = store

    @property
    def kept(self) -> dict[tuple[str, int], Submission]:
        return self._store.setdefault("kept", {})

    def _check(self) -> None:
        if self._store.get("down"):
            raise SinkFailed(self.name, "it is down")

    def write(self, submission: Submission) -> Sequence[str]:
        self._store.setdefault("seen", []).append(submission)
        self._check()
        self.kept[submission.head.origin, submission.head.size] = submission
        return ()

    def newest(self, origin: str) -> Submission | None:
        self._check()
        sizes = [size for log, size in self.kept if log == origin]
        return self.kept[origin, max(sizes)] if sizes else None

    def origins(self) -> list[str]:
        self._check()
        return sorted({log for log, _ in self.kept})

    def heads(self, origin: str) -> Any:
        return iter([self.kept[key] for key in sorted(self.kept) if key[0] == origin])

    def cosignatures(self, note: str) -> Sequence[str]:
        return ()


__all__ = ["DISK", "FakeSink", "Tree", "backup", "leaf_bytes", "left_out", "wrong_with_the_log"]
