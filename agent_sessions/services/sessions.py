"""Opening, changing and ending sessions."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import cast

from django.db import transaction
from django.utils import timezone

from agent_sessions.audit.events import CREATED, ENDED, format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.sealing import new_data_key
from agent_sessions.crypto.tokens import issue_token, token_digest
from agent_sessions.domain.calls import NO_CALL, Call, check_kind
from agent_sessions.domain.identity import AGENT, SYSTEM, Actor, Agent, Scope
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.lifecycle import LIVE, EndReason, Lineage, Status, is_expired
from agent_sessions.domain.state import SCHEMA_VERSION
from agent_sessions.domain.values import check_patch, check_value
from agent_sessions.exceptions import InvalidValue, SessionHeld, TooManySessions
from agent_sessions.models import Caller, Session, SessionKey, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._cache import measured
from agent_sessions.selectors._heads import SessionHead, data_key_context, require_live
from agent_sessions.services._commit import Changing, Committed, announce, commit, commit_first
from agent_sessions.services._entries import Draft, applied
from agent_sessions.services._write import RowChange, store_history
from agent_sessions.services.artifacts import try_to_seal
from agent_sessions.services.keys import active_site_key
from agent_sessions.types import JSONValue, Patch, State

MAX_MERCHANT = 200
MAX_NOTE = 1000
"""Characters of a purpose and of a note."""
MAX_RETRY_AFTER = 3600
"""Seconds: whoever waits for a place asks again at least once an hour, because sessions also end early."""
_PSEUDONYM = re.compile(r"[A-Za-z0-9_-]{0,64}")


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new session and its token, which is shown this once and stored only as a digest. ``expires_at`` is UTC."""

    session_id: uuid.UUID
    token: str
    version: int
    expires_at: datetime


def open_session(
    *,
    agent: Agent,
    consumer: str = "",
    merchant: str = "",
    scope: Scope | None = None,
    kind: str = "standard",
    purpose: str = "",
    state: State | None = None,
    parent_request: str = "",
    lineage: Lineage | None = None,
    caller: str = "",
    bound_to: str = "",
    max_sessions: int = 0,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> OpenedSession:
    """Open a session and return its token.

    ``consumer`` is a pseudonym from ``consumer_pseudonym``, never a name or an address; ``merchant`` defaults to the
    setting MERCHANT; ``kind`` is a key of the setting TTL, which gives the time to live; the session also ends when
    the ``scope`` expires. ``purpose`` is the agent's own words, at most 1000 characters, sealed. ``state`` is the
    state to begin with; it becomes version 1. ``lineage`` says which session it came from; see ``renew_session``,
    ``fork_session`` and ``accept_transfer``.

    ``caller`` and ``bound_to`` are pseudonyms from ``caller_pseudonym``: of who opens the session, who has at most
    ``max_sessions`` live ones (0: any number; exact under a race), and of the address that its token works from.

    Raises InvalidValue, LimitExceeded, TooManySessions, KeyProblem.
    """
    scope = scope or Scope()
    merchant = merchant or settings.merchant
    _check_opening(consumer, merchant, purpose, parent_request)
    begun = cast("Patch", state or {})
    check_patch(begun)
    applied(measured({}), begun)  # so that what is refused leaves nothing behind, not even the site's first key
    now = timezone.now()
    expires_at = _deadline(kind, scope, now)
    session_id = new_id()
    key = new_data_key()
    master_key_id, wrapped = settings.key_provider.wrap(key, context=data_key_context(session_id))
    token_key = active_site_key(SiteKey.Purpose.TOKEN)
    token = issue_token(
        settings.key_provider,
        generation=token_key.pk,
        session_id=session_id,
        consumer=consumer,
        merchant=merchant,
        started_at=now,
        version=1,
    )
    session = Session(
        id=session_id,
        status=Status.ACTIVE.value,
        kind=kind,
        merchant=merchant,
        consumer=consumer,
        agent_name=agent.name,
        agent_version=agent.version,
        agent_operator=agent.operator,
        agent_key=agent.key,
        scope=scope.as_json(),
        parent_request=parent_request,
        family=session_id if lineage is None else lineage.family,
        origin="" if lineage is None else lineage.origin.value,
        parent=None if lineage is None else lineage.parent,
        parent_version=None if lineage is None else lineage.parent_version,
        caller=caller,
        bound_to=bound_to,
        created_at=now,
        updated_at=now,
        expires_at=expires_at,
        token_digest=token_digest(token),
        token_key=token_key,
    )
    draft = Draft(CREATED, actor, call, patch=begun, private=_present(purpose=purpose, consumer=consumer))
    made = _rows.with_retries(
        f"Session {session_id}", lambda: _store_first(session, key, master_key_id, wrapped, draft, max_sessions)
    )
    announce(made)
    return OpenedSession(session_id, token, 1, expires_at)


def change_session(
    session: SessionHead | uuid.UUID,
    *,
    expected_version: int,
    patch: Patch,
    kind: str = "state.changed",
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    note: str = "",
) -> Committed:
    """Change the session's state: one version and one event, or nothing (V1, V3).

    ``patch`` is an RFC 7396 merge patch of the state at ``expected_version``. ``kind`` says what happened, dotted and
    past tense (``cart.item_added``); ``note`` says why, in at most 1000 characters, sealed. Give ``session`` as the
    SessionHead that ``authenticate`` returned to save reading it again.

    Inside a transaction of the caller the change commits and rolls back with it.

    Raises VersionConflict (with what has changed since), SessionNotFound, SessionEnded, SessionExpired,
    SessionRevoked, SessionQuarantined, ContentErased, InvalidValue, LimitExceeded, SchemaUnknown, KeyProblem,
    SessionBusy.
    """
    check_kind(kind)
    check_patch(patch)
    if not isinstance(expected_version, int) or isinstance(expected_version, bool):
        raise InvalidValue("/expected_version", "Send the number of the version that the change is based on.")
    draft = Draft(kind, actor, call, patch=patch, expected_version=expected_version, private=_note(note))
    return commit(session, draft)


def record_event(
    session: SessionHead | uuid.UUID, *, kind: str, actor: Actor = AGENT, call: Call = NO_CALL, note: str = ""
) -> Committed:
    """Record in the session's chain what changed no state: an audited read, a refusal, a decision (A1).

    Needs no expected version: whoever only adds is never refused because others did too.

    Raises what ``change_session`` raises, but VersionConflict.
    """
    check_kind(kind)
    return commit(session, Draft(kind, actor, call, private=_note(note)))


def end_session(
    session: SessionHead | uuid.UUID,
    *,
    reason: EndReason = EndReason.DELETED,
    expected_version: int | None = None,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
    note: str = "",
) -> Committed:
    """End the session and seal its artifact (L6). The token is dead from here on; the history stays readable.

    ``reason`` is COMPLETED, DELETED or REVOKED; expiry is not anyone's decision, see ``expire_session``; RENEWED and
    TRANSFERRED are for ``renew_session`` and ``accept_transfer``. Without ``expected_version`` the session ends at
    whatever version it has, paused or not.

    Raises what ``change_session`` raises; SessionExpired if the deadline came first.
    """
    if reason not in set(EndReason) - {EndReason.EXPIRED}:
        raise InvalidValue("/reason", "Send completed, deleted or revoked; for a deadline call expire_session.")
    reason = EndReason(reason)
    draft = Draft(ENDED, actor, call, patch={}, expected_version=expected_version, private=_note(note))

    def end(head: SessionHead, now: datetime) -> RowChange:
        require_live(head, now)
        if head.held_by and actor.kind == "agent":
            raise SessionHeld(head.session_id, head.held_by)
        return _ended(now, reason, when_overdue=None if reason is EndReason.REVOKED else False)

    return _end(session, draft, end)


def expire_session(session: SessionHead | uuid.UUID) -> Committed:
    """End a session whose deadline has passed, as of its deadline, and seal its artifact.

    Raises SessionEnded if it has ended, InvalidValue if the deadline has not passed.
    """

    def end(head: SessionHead, now: datetime) -> RowChange:
        if head.status not in LIVE:
            require_live(head, now)
        if not is_expired(now, head.expires_at):
            raise InvalidValue("/expires_at", f"The session is live until {head.expires_at.isoformat()}.")
        return _ended(head.expires_at, EndReason.EXPIRED, when_overdue=True)

    return _end(session, Draft(ENDED, SYSTEM, patch={}), end)


def _ended(ended_at: datetime, reason: EndReason, *, when_overdue: bool | None) -> RowChange:
    return RowChange(
        {"status": Status.ENDED.value, "ended_at": ended_at, "end_reason": reason.value},
        told={"ended_at": format_time(ended_at), "end_reason": reason.value},
        when_overdue=when_overdue,
    )


def _end(session: SessionHead | uuid.UUID, draft: Draft, end: Changing) -> Committed:
    made = commit(session, draft, row=end)
    try_to_seal(made.session_id)
    return made


def _store_first(
    session: Session, key: bytes, master_key_id: str, wrapped: bytes, draft: Draft, max_sessions: int
) -> Committed:
    digest = bytes(session.token_digest)
    head = SessionHead(
        session.pk, Status.ACTIVE, session.kind, session.merchant, session.consumer, session.created_at,
        session.updated_at, session.expires_at, None, "", 0, session.pk, SCHEMA_VERSION, 0, 0, 0, "", digest,
        master_key_id, wrapped, session.agent_name, session.agent_version, session.agent_operator, session.agent_key,
        session.bound_to, "", None, 0, session.family, session.parent_request, json.dumps(session.scope),
    )  # fmt: skip
    event, version = commit_first(head, key, draft, _header(session, digest), _params(session))
    session.version, session.version_uid, session.schema = 1, version.uid, version.schema
    session.snapshot_version, session.patch_bytes = version.snapshot_version, version.patch_bytes
    session.head_seq, session.head_hash = 1, event.hash
    alias = _rows.write_connection().alias
    with transaction.atomic(using=alias):
        if session.caller and max_sessions:
            _require_free_place(alias, session, max_sessions)
        session.save(force_insert=True, using=alias)
        SessionKey.objects.using(alias).create(session=session, master_key_id=master_key_id, wrapped=wrapped)
        store_history(alias, event, version)
    return Committed(session.pk, 1, 1, version.uid, draft.kind, session.created_at)


def _require_free_place(alias: str, session: Session, most: int) -> None:
    """Keep every other opening of this caller waiting until this one is stored, and count."""
    Caller.objects.using(alias).bulk_create(
        [Caller(caller=session.caller, seen_at=session.created_at)],
        update_conflicts=True,
        unique_fields=["caller"],
        update_fields=["seen_at"],
    )
    live = Session.objects.using(alias).filter(
        caller=session.caller, status__in=[status.value for status in LIVE], expires_at__gt=session.created_at
    )
    # Once this one of the deadlines has passed, there is one fewer than the most.
    frees_place = live.order_by("-expires_at").values_list("expires_at", flat=True)[most - 1 : most]
    for deadline in frees_place:
        wait = deadline - session.created_at
        raise TooManySessions(limit=most, retry_after=min(ceil(wait.total_seconds()), MAX_RETRY_AFTER))


def _header(session: Session, digest: bytes) -> dict[str, object]:
    """What the first event binds, so that no fact of the artifact can be changed without breaking the chain."""
    return {
        "agent": {
            "name": session.agent_name,
            "operator": session.agent_operator,
            "version": session.agent_version,
        },
        "capabilities": session.scope.get("capabilities", []),
        "created_at": format_time(session.created_at),
        "expires_at": format_time(session.expires_at),
        "merchant": session.merchant,
        "scope": session.scope,
        "session_kind": session.kind,
        "site": settings.site,
        "token_hash": digest.hex(),
    }


def _params(session: Session) -> dict[str, JSONValue]:
    """What else is known of the session when it opens and says nothing of a person."""
    lineage = {"parent": str(session.parent), "parent_version": session.parent_version, "family": str(session.family)}
    return _present(
        agent_key=session.agent_key,
        parent_request=session.parent_request,
        origin=session.origin,
        **(lineage if session.origin else {}),
    )


def _present(**values: str | int | None) -> dict[str, JSONValue]:
    return {name: value for name, value in values.items() if value}


def _deadline(kind: str, scope: Scope, now: datetime) -> datetime:
    ttl = settings.ttl(kind)
    if ttl is None:
        raise InvalidValue("/kind", f"Kinds of session are {', '.join(settings.kinds)} (AGENT_SESSIONS['TTL']).")
    deadline = now + ttl
    if scope.expires_at is None:
        return deadline
    if is_expired(now, scope.expires_at):
        raise InvalidValue("/scope/expires_at", "The scope of the agent's authority has already expired.")
    return min(deadline, scope.expires_at)


def _check_opening(consumer: str, merchant: str, purpose: str, parent_request: str) -> None:
    if not isinstance(consumer, str) or not _PSEUDONYM.fullmatch(consumer):
        raise InvalidValue(
            "/consumer", "Send a pseudonym from consumer_pseudonym(), never a name, an e-mail address or a bare id."
        )
    for path, text, longest in (
        ("/merchant", merchant, MAX_MERCHANT),
        ("/parent_request", parent_request, 64),
        ("/purpose", purpose, MAX_NOTE),
    ):
        check_text(path, text, longest)
    if len(merchant.encode()) > MAX_MERCHANT:
        raise InvalidValue("/merchant", f"Send a name of at most {MAX_MERCHANT} bytes of UTF-8; it is in every token.")


def _note(note: str) -> dict[str, JSONValue]:
    check_text("/note", note, MAX_NOTE)
    return {"note": note} if note else {}


def check_text(path: str, text: str, longest: int) -> None:
    check_value(text, path)
    if not isinstance(text, str) or len(text) > longest:
        raise InvalidValue(path, f"Send text of at most {longest} characters.")
