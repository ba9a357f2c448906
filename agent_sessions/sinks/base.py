"""What a sink is: a place outside the database that keeps every signed tree head of every generation of the log.

A store adds its own by naming a class in ``LOG_SINKS`` that has these members.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from agent_sessions.audit.submissions import Submission
from agent_sessions.exceptions import AgentSessionsError


@runtime_checkable
class Sink(Protocol):
    """A place for tree heads. ``name`` is what the settings call it; it stands in ``TreeHead.exported_to``.

    ``readable`` says whether the heads that it keeps can be read back. Before a head is signed, the sinks that can be
    read are asked for the newest one they keep, so that no two heads of one size are ever signed.

    A sink that brings lines of witnesses can say in ``witnesses`` which keys (``audit.vkeys.NoteKey``) they sign with:
    then pages that show a proof check these lines again.
    """

    name: str
    readable: bool

    def write(self, submission: Submission) -> Sequence[str]:
        """Keep a head for good, and return the signature lines of witnesses, none where nobody signs.

        It is durable when this returns, and writing the same once more changes nothing. Raises SinkFailed when it
        cannot be kept now, OtherHeadKept when the proof has to begin at another size, SinkBehind when what is kept
        already does not go with it (another root for this size, or larger heads, as after the database was restored
        from a backup).
        """

    def newest(self, origin: str) -> Submission | None:
        """Read the largest head of a log that it keeps, None if it keeps none or cannot be read. Raises SinkFailed."""

    def cosignatures(self, note: str) -> Sequence[str]:
        """Return signature lines of witnesses that have come since the head was written. Raises SinkFailed."""

    def origins(self) -> list[str]:
        """List the logs whose heads it keeps, by their origins. Empty for a sink that cannot be read. Raises
        SinkFailed.
        """

    def heads(self, origin: str) -> Iterator[Submission]:
        """Read the heads of a log as they were written, the smallest first. Raises SinkFailed."""


class OtherHeadKept(Exception):
    """What a sink keeps ends at another size (``known``, 0 for nothing): send the head again with the proof from it."""

    def __init__(self, known: int) -> None:
        super().__init__(known)
        self.known = known


class SinkFailed(AgentSessionsError):
    """A sink did not take a head, or cannot be read; it is tried again with the next batch."""

    code = "sink_failed"
    status = 503

    def __init__(self, sink: str, problem: str) -> None:
        super().__init__(
            f"The sink {sink!r} failed: {problem}. The head is kept and sent again with the next batch.",
            sink=sink,
            problem=problem,
        )
        self.sink = sink
        self.problem = problem


class SinkBehind(AgentSessionsError):
    """The database is behind what a sink keeps: it was restored from a backup, or rolled back, or rewritten."""

    code = "log_behind"
    status = 503

    def __init__(self, sink: str, origin: str, *, size: int, known: int) -> None:
        super().__init__(
            f"The sink {sink!r} keeps a head of {known} leaves of {origin} that the database, at {size}, has not. "
            "It was restored from a backup or rewritten: a new generation of the log has to begin.",
            sink=sink,
            origin=origin,
            size=size,
            known=known,
        )
        self.sink = sink
        self.known = known
