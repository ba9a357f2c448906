"""Audit events: what happened, as the exact bytes that are hashed and chained (contract items 73 to 76).

An event is a flat JSON object. Always there: type, run_id, seq, event_id, timestamp, kind, actor, capability,
method, params, policy_result, response_status, prev_hash. Only where they say something: policy_rule,
version, base_version, duration_ms, private (path -> commitment, see ``crypto.commitments``) and header (the
first event only, see ``audit.artifact``). Event and root hash are plain SHA-256, so that any reader of the
protocol can recompute them; what keeps events apart is inside: type, run id and seq.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.exceptions import InvalidValue

EVENT_TYPE: Final = "agent-session-event/v1"
CREATED: Final = "session.created"
"""Kind of the first event of every session."""
ENDED: Final = "session.ended"
"""Kind of the last event that a session's artifact covers."""
ERASED: Final = "pii.purged"
"""Kind of the event that says which classes of content were erased (``classes``), by which rule, and why."""

_NOTHING: Final[Mapping[str, Any]] = {}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d\.\d{6}Z", re.ASCII)


def build_event(
    *,
    run_id: str,
    seq: int,
    event_id: str,
    timestamp: datetime,
    kind: str,
    actor: str,
    prev_hash: str,
    capability: str = "",
    method: str = "",
    params: Mapping[str, Any] = _NOTHING,
    policy_result: str = "allow",
    policy_rule: str = "",
    response_status: int = 200,
    version: int | None = None,
    base_version: int | None = None,
    duration_ms: int | None = None,
    private: Mapping[str, str] = _NOTHING,
    header: Mapping[str, Any] | None = None,
) -> bytes:
    """Write one event as canonical bytes; store them as they are and hash them with ``event_hash``.

    ``seq`` counts from 1; ``prev_hash`` is the hash of the event before, "" for the first. ``params`` are
    already redacted; what must not be read by everyone goes into ``private`` as commitments. ``duration_ms``
    is milliseconds.

    Raises InvalidValue for a time without a zone, members that the verifier would refuse, and whatever
    ``canonical_bytes`` refuses.
    """
    if policy_result != "allow" and policy_result != "deny":
        raise InvalidValue("/policy_result", "is neither allow nor deny")
    if not 100 <= response_status <= 599:
        raise InvalidValue("/response_status", "is not an HTTP status")
    if (seq == 1) is not (prev_hash == ""):
        raise InvalidValue("/prev_hash", "is empty for the first event and for no other")
    event: dict[str, Any] = {
        "actor": actor,
        "capability": capability,
        "event_id": event_id,
        "kind": kind,
        "method": method,
        "params": params if type(params) is dict else dict(params),
        "policy_result": policy_result,
        "prev_hash": prev_hash,
        "response_status": response_status,
        "run_id": run_id,
        "seq": seq,
        "timestamp": format_time(timestamp),
        "type": EVENT_TYPE,
    }
    if policy_rule:
        event["policy_rule"] = policy_rule
    if version is not None:
        event["version"] = version
    if base_version is not None:
        event["base_version"] = base_version
    if duration_ms is not None:
        # A clock that was set back between two readings must not make an event that no verifier accepts.
        event["duration_ms"] = max(duration_ms, 0)
    if private:
        event["private"] = dict(private)
    if header is not None:
        event["header"] = dict(header)
    return canonical_bytes(event)


def event_hash(canonical: bytes) -> str:
    """Hash the canonical bytes of an event: SHA-256, lowercase hex (contract item 75)."""
    return sha256(canonical).hexdigest()


def root_hash(hashes: Iterable[str]) -> str:
    """Hash all events of a session: SHA-256 over their hex hashes, joined (contract item 76)."""
    root = sha256()
    for digest in hashes:
        root.update(digest.encode("ascii"))
    return root.hexdigest()


def format_time(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC, always with six digits and Z. InvalidValue without a time zone."""
    zone = moment.tzinfo
    if zone is None:
        raise InvalidValue("", "is a time without a time zone")
    if zone is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> datetime:
    """Read what ``format_time`` writes; InvalidValue for other spellings and for days that there are not."""
    if not _TIME.fullmatch(text):
        raise InvalidValue("", "is not a time as 2026-01-31T23:59:59.000000Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue("", "is not a time that exists") from None
