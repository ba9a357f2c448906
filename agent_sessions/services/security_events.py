"""The answer to a security event: every session revoked, every key changed, and the log told (T3, A8).

First the token key is revoked, in one statement: from there on no token is accepted and no write begins; only a
transaction that had written before may still commit, and ending its session waits for that. Then keys are changed, so
that what follows is sealed and signed with new ones; then the sessions are ended, and what is stored is wrapped anew.
The site's events say that it began, and what came of it, so an interrupted run can be gone on with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from agent_sessions.conf import settings
from agent_sessions.crypto.keys import KeyProvider, ListsMasterKeys, MakesMasterKeys
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import AgentSessionsError, InvalidValue, KeyProblem
from agent_sessions.models import SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._master_keys import ROTATED, master_key_events, site_facts
from agent_sessions.selectors.sessions import revoked
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services._texts import check_text
from agent_sessions.services.expiry import end_revoked_sessions
from agent_sessions.services.key_rotation import rewrap
from agent_sessions.services.keys import revoke_token_key, rotate_signing_key
from agent_sessions.services.log_keys import rotate_log_key
from agent_sessions.services.master_keys import make_master_key, note_active_master_key
from agent_sessions.services.sequencing import sequence_log
from agent_sessions.services.site_events import record

logger = logging.getLogger("agent_sessions")

KIND: Final = "security.event"
_BATCH: Final = 1000

Telling = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class SecurityReport:
    """What the answer to a security event did.

    ``ended`` sessions were ended by this run; ``left`` live ones could not be and are tried again by every run of
    ``expire_sessions`` (their tokens are worthless already). ``master_key`` is the id of the new one, empty where there
    is none; ``master_key_problem`` says why, unless none was wanted. ``rewrapped`` rows were wrapped anew,
    ``still_old`` were not.
    ``exported`` says whether the log's sinks have the event.
    """

    reason: str
    began_at: datetime
    resumed: bool
    ended: int
    left: int
    master_key: str
    master_key_problem: str
    rewrapped: int
    still_old: int
    exported: bool


@dataclass(frozen=True, slots=True)
class _Begun:
    seq: int
    at: datetime
    reason: str
    resumed: bool


def answer_security_event(
    *, reason: str, new_master_key: bool = True, actor: Actor = SYSTEM, tell: Telling = lambda _: None
) -> SecurityReport:
    """Revoke every session and change every key. ``tell`` is called with a sentence after each step.

    ``reason``, 1 to 200 characters, stands in the clear in the site's events for good: nothing personal.
    ``new_master_key`` False keeps the master key: for a file of keys on several machines.

    Raises InvalidValue, PaymentDataRefused, KeyProblem, SessionBusy. After an interruption ``resume_security_event``
    goes on; doing all of it again, or two at once, does no harm either.
    """
    check_text("/reason", reason, 200)
    require_no_payment_data({"reason": reason})
    if not reason:
        raise InvalidValue("/reason", "Say in 1 to 200 characters what happened.")
    event = record(KIND, actor, {"phase": "began", "reason": reason})
    tell(f"Security event: {reason}")
    return _answer(_Begun(event.seq, event.created_at, reason, False), new_master_key, actor, tell)


def resume_security_event(
    *, new_master_key: bool = True, actor: Actor = SYSTEM, tell: Telling = lambda _: None
) -> SecurityReport:
    """Go on with the last security event, whose run was interrupted; nothing is done twice.

    On demand only: what happens anew is another event, and tokens that were issued since have to go too.
    Raises InvalidValue if none is unfinished, KeyProblem, SessionBusy.
    """
    begun = _unfinished()
    tell(f"Going on with: {begun.reason}")
    return _answer(begun, new_master_key, actor, tell)


def _unfinished() -> _Begun:
    last: _Begun | None = None
    for seq, at, facts in site_facts(KIND):
        if facts.get("phase") == "began":
            last = _Begun(seq, at, str(facts.get("reason", "")), resumed=True)
        elif last is not None and facts.get("began") == last.seq:
            last = None
    if last is None:
        raise InvalidValue("/resume", "No security event is unfinished. Begin one, with its reason.")
    return last


def _answer(begun: _Begun, new_master_key: bool, actor: Actor, tell: Telling) -> SecurityReport:
    if not _made_since(SiteKey.Purpose.TOKEN, begun.at):
        revoke_token_key(reason=begun.reason)
    tell("Every token is worthless, and no change is begun any more.")
    master_key, problem = _new_master_key(begun, actor) if new_master_key else ("", "")
    tell(f"Master key {master_key!r} wraps from now on." if master_key else f"The master key stays. {problem}".strip())
    if not _made_since(SiteKey.Purpose.ARTIFACT, begun.at):
        rotate_signing_key()
    if not _made_since(SiteKey.Purpose.LOG, begun.at):
        rotate_log_key(actor=actor)
    tell("Artifacts and the log are signed with new keys.")
    _export_log()  # that it began is outside before the long part
    ended = end_revoked_sessions(note=begun.reason)
    left = revoked().count()
    tell(f"{ended} sessions ended, {left} left.")
    rewrapped, still_old = _rewrap_all(tell)
    report = SecurityReport(
        begun.reason, begun.at, begun.resumed, ended, left, master_key, problem, rewrapped, still_old, False
    )
    return _finish(report, begun, actor)


def _finish(report: SecurityReport, begun: _Begun, actor: Actor) -> SecurityReport:
    facts: dict[str, Any] = asdict(report)
    for name in ("began_at", "resumed", "master_key_problem", "exported"):
        del facts[name]
    record(KIND, actor, {"phase": "finished", "began": begun.seq, **facts})
    return SecurityReport(**{**asdict(report), "exported": _export_log()})


def _made_since(purpose: str, moment: datetime) -> bool:
    keys = SiteKey.objects.using(_rows.write_connection().alias)
    return keys.filter(purpose=purpose, retired_at__isnull=True, created_at__gte=moment).exists()


def _new_master_key(begun: _Begun, actor: Actor) -> tuple[str, str]:
    """Make a master key, unless an earlier run has; return its id, or why there is none.

    Sessions are ended whether or not it can be made: a file that cannot be written must not keep them alive.
    """
    provider = settings.key_provider
    if not isinstance(provider, MakesMasterKeys):
        return "", "This key provider makes none: make it where the keys are kept, and rotate."
    try:
        return _made_master_key(provider, begun, actor), ""
    except KeyProblem as problem:
        logger.error("A security event: the master key was not changed. %s", problem.message)
        return "", problem.message


def _made_master_key(provider: KeyProvider, begun: _Begun, actor: Actor) -> str:
    active = provider.active_id
    if any(event.seq > begun.seq and event.master_id == active for event in master_key_events(ROTATED)):
        return active
    # Named after the event, so that a run that died between making and recording it is recognised.
    master_id = f"{begun.at:%Y-%m-%dT%H%M%SZ}-{begun.seq}"
    if active.endswith(master_id):
        note_active_master_key(actor=actor)
        return active
    # In a token the last id in the order of text is active.
    last = max(provider.master_ids(), default="") if isinstance(provider, ListsMasterKeys) else ""
    made = master_id if master_id > last else f"{last}+{master_id}"
    make_master_key(made, actor=actor)
    return made


def _rewrap_all(tell: Telling) -> tuple[int, int]:
    total = 0
    while True:
        made = rewrap(limit=_BATCH)
        total += made.done
        if not made.done:
            return total, made.left
        tell(f"{total} keys wrapped anew, {made.left} left.")


def _export_log() -> bool:
    """Put what happened so far into the log, and tell whether the sinks have it; what they lack waits for them."""
    try:
        done = sequence_log()
    except AgentSessionsError:
        logger.exception("The log: it could not be taken out of the database after a security event.")
        return False
    return bool(settings.log_sinks) and not done.waiting and not done.remaining
