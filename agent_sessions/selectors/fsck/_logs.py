"""All generations of the log: that each is whole, that each continues the one before, and that none is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Max, Model, QuerySet

from agent_sessions.audit.leaf import GenerationLeaf, parse_leaf
from agent_sessions.audit.notes import Checkpoint, parse_checkpoint, parse_note
from agent_sessions.exceptions import InvalidValue, NoteRefused
from agent_sessions.models import LogGeneration, LogLeaf, TreeHead
from agent_sessions.selectors._rows import write_connection
from agent_sessions.selectors.fsck._findings import Counted, Finding, Tell, Waiting, first_of_each
from agent_sessions.selectors.fsck._heads import DATABASE, Heads, Kept, named
from agent_sessions.selectors.fsck._trees import TreeCheck
from agent_sessions.selectors.fsck._trust import Trusted
from agent_sessions.selectors.log import witnessed_note

_Model = TypeVar("_Model", bound=Model)


@dataclass(frozen=True, slots=True)
class _Restart:
    """The beginning of a log after another: ``former`` is the head of that other which it names."""

    number: int
    origin: str
    former: Checkpoint
    reason: str


class LogsCheck:
    """Checks every generation. ``accepted`` are the numbers of those whose beginning after a loss is known."""

    def __init__(self, heads: Heads, trusted: Trusted, *, site_log: str, accepted: Collection[int]) -> None:
        self._heads = heads
        self._trusted = trusted
        self._accepted = accepted
        self.logs = list(_of(LogGeneration).order_by("number"))
        self._bases = {site_log, *(_base(log.origin) for log in self.logs)}
        counting = _of(TreeHead).filter(exported_at__isnull=False).values_list("generation_id")
        self._covered: dict[int, int] = dict(counting.annotate(Max("size")))
        self._begun: dict[int, GenerationLeaf] = {}

    def findings(self, counted: Counted, tell: Tell) -> Iterator[Finding]:
        yield from first_of_each(self._stored_heads())
        self._read_first_leaves()
        for origin in self._heads.origins():
            if _base(origin) not in self._bases:
                counted.other_heads += self._heads.leave_out(origin)
        counted.heads = self._heads.counts()
        known = {log.origin for log in self.logs}
        for log in self.logs:
            check = TreeCheck(log, self._heads, self._trusted, covered=self._covered.get(log.pk, 0))
            yield from first_of_each(check.findings(tell))
            yield from first_of_each(self._beyond(log.origin, check.end, check.lost, counted))
            yield from self._former_findings(log)
            counted.logs[log.origin] = check.rows
            if log.closed_at is None:
                counted.unexported.add(max(check.rows - check.covered, 0), check.waiting_since)
                yield from self._witness_findings(log, check, counted)
        for origin in self._heads.origins():
            if origin not in known:
                yield from first_of_each(self._beyond(origin, None, {}, counted))
        yield from self._stray_leaves()

    def _witness_findings(self, log: LogGeneration, check: TreeCheck, counted: Counted) -> Iterator[Finding]:
        """Count what witnesses have not co-signed; of one that has co-signed nothing, no time says how long ago."""
        for witness, size in check.cosigned.items():
            first = _of(LogLeaf).filter(generation_id=log.pk, index=size).values_list("created_at", flat=True).first()
            waiting = counted.unwitnessed.setdefault(witness.name, Waiting())
            waiting.add(max(check.rows - size, 0), first)
            if not size:
                message = "has co-signed no head of this log, so nothing shows that it was not rewritten whole"
                yield Finding("unwitnessed", log.origin, f"the witness {witness.name}", message)

    def _stored_heads(self) -> Iterator[Finding]:
        """Put the database's heads beside those from outside, and see that sinks have what they are said to have."""
        origins = {log.pk: log.origin for log in self.logs}
        for row in _of(TreeHead).order_by("generation_id", "size").iterator(chunk_size=2000):
            origin = origins.get(row.generation_id, f"log {row.generation_id}")
            where = f"the stored head of {row.size} leaves"
            try:
                said = self._heads.add(DATABASE, _with_cosignatures(row), outside=False)
            except NoteRefused as refused:
                yield Finding("head_changed", origin, where, f"cannot be read: {refused.problem}")
                continue
            if (said.origin, said.size, said.root) != (origin, row.size, bytes(row.root)):
                yield Finding("head_changed", origin, where, "says something else in its note than in its columns")
            for sink in row.exported_to:
                if self._heads.is_lost(origin, row.size, sink):
                    yield Finding("head_lost", origin, where, f"was taken by {sink}, which does not have it")

    def _read_first_leaves(self) -> None:
        """Read why each log began; the head of the former that it names is one more to compare."""
        first = _of(LogLeaf).filter(index=0, kind=LogLeaf.Kind.GENERATION)
        for row in first.filter(generation_id__in=[log.pk for log in self.logs]):
            try:
                said = parse_leaf(bytes(row.data or b""))
            except InvalidValue:  # the tree's check says so
                continue
            if isinstance(said, GenerationLeaf):
                self._begun[row.generation_id] = said
                if said.former is not None:
                    self._heads.add(f"the first leaf of {said.log}", said.former, outside=False)

    def _beyond(self, origin: str, size: int | None, lost: dict[str, Kept], counted: Counted) -> Iterator[Finding]:
        """Find heads that show more than there is: leaves were cut off, or (``size`` None) the whole log is gone."""
        largest = dict(lost)
        for kept in self._heads.above(origin, -1 if size is None else size):
            problem = self._trusted.look(kept.note, origin).problem
            if problem:
                yield Finding("head_unsigned", origin, named(kept), f"is not to be trusted: {problem}")
            else:
                largest[kept.source] = kept
        if not largest:
            return
        restart = self._restart_after(origin)
        told = ""
        if restart is not None:
            told = f"; {restart.origin} began after {restart.former.size} leaves of it: {restart.reason}"
            if restart.number in self._accepted and max(one.size for one in largest.values()) <= restart.former.size:
                counted.restarts.append(f"{origin} is not whole{told}")
                return
        for kept in largest.values():
            if size is None:
                yield Finding("log_missing", origin, named(kept), f"is of a log that is not in the database{told}")
            else:
                yield Finding("log_truncated", origin, named(kept), f"shows leaves that are not in the database{told}")

    def _restart_after(self, origin: str) -> _Restart | None:
        for log in reversed(self.logs):
            leaf = self._begun.get(log.pk)
            if leaf is not None and leaf.former is not None:
                former = parse_checkpoint(parse_note(leaf.former).text)
                if former.origin == origin:
                    return _Restart(log.pk, log.origin, former, leaf.reason)
        return None

    def _former_findings(self, log: LogGeneration) -> Iterator[Finding]:
        """Check that a log begins where the last one before that was exported ended."""
        leaf = self._begun.get(log.pk)
        if leaf is None:
            return
        former = None if leaf.former is None else parse_checkpoint(parse_note(leaf.former).text)
        named_one = ("", 0) if former is None else (former.origin, former.size)
        last = self._last_exported_before(log)
        if last[1] and named_one != last and not (named_one[0] == last[0] and named_one[1] > last[1]):
            says = "no former head" if former is None else f"the head of {former.size} leaves of {former.origin}"
            message = f"names {says}, though one of {last[1]} leaves of {last[0]} was exported"
            yield Finding("former_wrong", log.origin, "leaf 0", message)

    def _last_exported_before(self, log: LogGeneration) -> tuple[str, int]:
        """Origin and size of the largest head of the last generation before this of which one is known to count."""
        exported = {one.origin: self._covered.get(one.pk, 0) for one in self.logs}
        for origin in self._heads.origins():
            last = self._heads.largest(origin)
            if last is not None and not self._trusted.look(last.note, origin).problem:
                exported[origin] = max(exported.get(origin, 0), last.size)
        before = [
            (_number(origin), origin, size)
            for origin, size in exported.items()
            if size and _base(origin) == _base(log.origin) and _number(origin) < log.pk
        ]
        return max(before)[1:] if before else ("", 0)

    def _stray_leaves(self) -> Iterator[Finding]:
        strays = _of(LogLeaf).exclude(generation_id__in=[log.pk for log in self.logs])
        for number in strays.values_list("generation_id", flat=True).distinct()[:20]:
            yield Finding("log_missing", f"log {number}", "its row", "is not there, though leaves of it are")


def _with_cosignatures(head: TreeHead) -> str:
    """Return a stored head as it is given out. Raises NoteRefused."""
    try:
        return witnessed_note(head)
    except TypeError:
        raise NoteRefused("its cosignatures are no texts") from None


def _base(origin: str) -> str:
    return origin.rpartition("/")[0]


def _number(origin: str) -> int:
    """The number that a generation's origin ends in, 0 for any other."""
    ending = origin.rpartition("/")[2]
    return int(ending) if ending.isascii() and ending.isdigit() and len(ending) < 19 else 0


def _of(model: type[_Model]) -> QuerySet[_Model]:
    return model._default_manager.using(write_connection().alias)
