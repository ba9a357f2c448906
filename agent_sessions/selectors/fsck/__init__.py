"""Is the log whole, and is what the sessions say what the log says? With heads from outside, also against root (A4).

In three parts: the heads from outside are read (``_heads``); each generation's tree is made again from its leaves and
compared with all heads (``_trees``, ``_logs``); every chain is hashed again and compared with the leaves (``_chains``).
Content is not looked at, so that a session whose content was erased is checked like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from agent_sessions.audit.vkeys import NoteKey
from agent_sessions.selectors.fsck._chains import ChainsCheck
from agent_sessions.selectors.fsck._findings import Counted, Finding, Tell, Waiting
from agent_sessions.selectors.fsck._heads import Heads, read_folder, read_sinks
from agent_sessions.selectors.fsck._logs import LogsCheck
from agent_sessions.selectors.fsck._rows import snapshot
from agent_sessions.selectors.fsck._trust import Trusted
from agent_sessions.sinks.base import Sink

__all__ = ["Counted", "Finding", "Sources", "Waiting", "check_log"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the database is compared with.

    ``log`` is the name that the site's logs begin with, before their number. ``sinks`` and ``folders`` (of files
    ``head-*.txt``) keep heads. ``keys`` are those of the log to trust; without any, those that the database names are
    taken. ``witnesses`` are the keys of those whose cosignatures are asked for. ``accepted`` are the numbers of logs
    that are known to have begun after a loss, which then is no finding.
    """

    log: str
    sinks: Sequence[Sink] = ()
    folders: Sequence[Path] = ()
    keys: Sequence[NoteKey] = ()
    witnesses: Sequence[NoteKey] = ()
    accepted: Collection[int] = ()


def check_log(
    sources: Sources, counted: Counted, *, now: datetime, patience: timedelta, tell: Tell = lambda _: None
) -> Iterator[Finding]:
    """Check all of the log and all of the chains; yield what is wrong, and count in ``counted`` what was seen.

    Reads one moment of the primary, while the shop goes on and the sequencer runs. Memory stays the same for any number
    of events and heads. What is not in the log, or not exported, for longer than ``patience`` at ``now`` (UTC) is a
    finding. ``tell`` is called with how far it is.
    """
    with Heads() as heads:
        yield from read_sinks(heads, sources.sinks)
        for folder in sources.folders:
            yield from read_folder(heads, folder, sources.witnesses)
        with snapshot():
            trusted = Trusted(sources.keys, sources.witnesses)
            logs = LogsCheck(heads, trusted, site_log=sources.log, accepted=sources.accepted)
            yield from logs.findings(counted, tell)
            chains = ChainsCheck(logs.logs, counted)
            yield from chains.site_findings()
            yield from chains.session_findings(tell)
    for code, waiting, what in (
        ("unsequenced", counted.unsequenced, "events that are in no leaf"),
        ("unexported", counted.unexported, "leaves that no exported head covers"),
        *(
            ("unwitnessed", one, f"leaves that the witness {name} has not co-signed")
            for name, one in counted.unwitnessed.items()
        ),
    ):
        if waiting.since is not None and now - waiting.since > patience:
            age = int((now - waiting.since).total_seconds())
            yield Finding(code, "the log", f"{waiting.count} {what}", f"wait, the oldest for {age} s")
