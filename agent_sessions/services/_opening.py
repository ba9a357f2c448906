"""Making a session: what is slow or from outside first, then its rows, in a transaction that may hold more.

A session that goes on from another one is stored together with the other's end, or not at all.
"""

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

from agent_sessions.audit.events import CREATED, format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.tokens import issue_token, token_digest
from agent_sessions.domain.calls import NO_CALL, Call
from agent_sessions.domain.identity import AGENT, Actor, Agent, Scope
from agent_sessions.domain.ids import new_id
from agent_sessions.domain.lifecycle import LIVE, Lineage, Origin, Status, is_expired
from agent_sessions.domain.state import SCHEMA_VERSION
from agent_sessions.domain.values import check_patch
from agent_sessions.exceptions import InvalidValue, TooManySessions
from agent_sessions.models import Caller, Session, SessionKey, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._cache import measured
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import DataKeys, new_keys
from agent_sessions.selectors.audit import private_values
from agent_sessions.services._commit import Committed, announce, commit_first
from agent_sessions.services._entries import Draft, changed
from agent_sessions.services._payment_data import check_opening
from agent_sessions.services._texts import MAX_NOTE, check_text
from agent_sessions.services._write import store_history
from agent_sessions.services.keys import active_site_key
from agent_sessions.types import JSONValue, Patch, State

MAX_MERCHANT = 200
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


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that is ready to be stored; ``opened`` is what its agent is given once it is."""

    opened: OpenedSession
    session: Session
    keys: DataKeys
    master_key_id: str
    wrapped: bytes
    wrapped_personal: bytes
    draft: Draft
    max_sessions: int

    def store(self) -> Committed:
        """Store all of it, in the transaction that is open or in one of its own. Raises TooManySessions."""
        made = _store(self)
        announce(made)
        return made


def prepare(
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
    until: datetime | None = None,
    caller: str = "",
    bound_to: str = "",
    max_sessions: int = 0,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> Opening:
    """Make everything of a session but its rows; ``until`` (UTC) is a deadline that its own may not pass.

    The rest is as in ``open_session``. Raises InvalidValue, PaymentDataRefused, LimitExceeded, KeyProblem.
    """
    scope = scope or Scope()
    merchant = merchant or settings.merchant
    _check_opening(consumer, merchant, purpose, parent_request)
    begun = cast("Patch", state or {})
    check_patch(begun)
    check_opening(
        agent=agent,
        merchant=merchant,
        scope=scope,
        purpose=purpose,
        parent_request=parent_request,
        state=state or {},
        call=call,
    )
    changed(measured({}), begun)  # so that what is refused leaves nothing behind, not even the site's first key
    now = timezone.now()
    expires_at = _deadline(kind, scope, now, until)
    session_id = new_id()
    keys, master_key_id, wrapped, wrapped_personal = new_keys(session_id)
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
    opened = OpenedSession(session_id, token, 1, expires_at)
    return Opening(opened, session, keys, master_key_id, wrapped, wrapped_personal, draft, max_sessions)


def prepare_from(
    head: SessionHead,
    origin: Origin,
    state: State,
    *,
    version: int,
    agent: Agent | None = None,
    kind: str = "",
    until: datetime | None = None,
    caller: str,
    bound_to: str,
    max_sessions: int = 0,
    actor: Actor = AGENT,
    call: Call = NO_CALL,
) -> Opening:
    """Make a session that goes on from ``version`` of another one, for the same consumer, within the same scope.

    Raises what ``prepare`` raises, SessionDamaged, ContentErased.
    """
    return prepare(
        agent=agent or head.agent,
        consumer=head.consumer,
        merchant=head.merchant,
        scope=head.scope,
        kind=kind or head.kind,
        purpose=str(private_values(head, 1).get("purpose", "")),
        state=state,
        parent_request=head.parent_request,
        lineage=Lineage(origin, head.session_id, version, head.family),
        until=until,
        caller=caller,
        bound_to=bound_to,
        max_sessions=max_sessions,
        actor=actor,
        call=call,
    )


def _store(opening: Opening) -> Committed:
    session = opening.session
    digest = bytes(session.token_digest)
    head = SessionHead(
        session.pk, Status.ACTIVE, session.kind, session.merchant, session.consumer, session.created_at,
        session.updated_at, session.expires_at, None, "", 0, session.pk, SCHEMA_VERSION, 0, 0, 0, "", digest,
        opening.master_key_id, opening.wrapped, session.agent_name, session.agent_version, session.agent_operator,
        session.agent_key, session.bound_to, "", None, 0, session.family, session.parent_request,
        json.dumps(session.scope), opening.wrapped_personal,
    )  # fmt: skip
    event, version = commit_first(head, opening.keys, opening.draft, _header(session, digest), _params(session))
    session.version, session.version_uid, session.schema = 1, version.uid, version.schema
    session.snapshot_version, session.patch_bytes = version.snapshot_version, version.patch_bytes
    session.head_seq, session.head_hash = 1, event.hash
    alias = _rows.write_connection().alias
    with transaction.atomic(using=alias):
        if session.caller and opening.max_sessions:
            _require_free_place(alias, session, opening.max_sessions)
        if session.parent is not None:  # whoever opens it holds that session's row
            family = Session.objects.using(alias).filter(pk=session.parent)
            session.ordered_at = family.values_list("ordered_at", flat=True).first()
        session.save(force_insert=True, using=alias)
        SessionKey.objects.using(alias).create(
            session=session,
            master_key_id=opening.master_key_id,
            wrapped=opening.wrapped,
            personal=opening.wrapped_personal,
        )
        store_history(alias, event, version)
    return Committed(session.pk, 1, 1, version.uid, opening.draft.kind, session.created_at)


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


def _deadline(kind: str, scope: Scope, now: datetime, until: datetime | None) -> datetime:
    ttl = settings.ttl(kind)
    if ttl is None:
        raise InvalidValue("/kind", f"Kinds of session are {', '.join(settings.kinds)} (AGENT_SESSIONS['TTL']).")
    if scope.expires_at is not None and is_expired(now, scope.expires_at):
        raise InvalidValue("/scope/expires_at", "The scope of the agent's authority has already expired.")
    return min(deadline for deadline in (now + ttl, scope.expires_at, until) if deadline is not None)


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
