"""Writes that may be sent again: under one key, the same request has one effect and one answer (V7).

A write first claims its key, in a short transaction of its own. Its effect and its answer are then stored in one
transaction, so a claim without an answer has had no effect: when its process is gone, whoever sends the request again
takes the claim over. Who finds that its claim was taken over writes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar, cast

import msgspec
from django.db import Error
from django.db.models import QuerySet
from django.utils import timezone

from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.sealing import place, seal, unseal
from agent_sessions.exceptions import IdempotencyKeyReused, RequestInProgress, SessionBusy
from agent_sessions.models import IdempotencyRecord, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead, read_head
from agent_sessions.selectors.legal_holds import keep_holds_still
from agent_sessions.selectors.sessions import old_answers
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.services.keys import active_site_key, site_key_secret
from agent_sessions.types import JSONValue

T = TypeVar("T")
Writing = Callable[[Callable[[], T]], T]
"""Runs the part of a service that writes: as it is, or in one transaction with something else (``Claim.complete``)."""

KEPT: Final = timedelta(hours=24)
"""How long an answer is kept, from when its key was claimed."""
LEASE: Final = timedelta(seconds=60)
"""How long a claim without an answer counts as running; no web server lets a request run longer."""
_ATTEMPTS: Final = 8
_WHAT: Final = "The request"
_REQUEST: Final = b"agent-sessions/v1\0idempotent-request\0"
_SITE: Final = b"agent-sessions/v1\0idempotent-answers"
_NO_SESSION: Final = uuid.UUID(int=0)
# In SQL, because a key that is there already is no error here: the ORM would have the database raise and log one.
_INSERT: Final = """
    INSERT INTO agent_sessions_idempotencyrecord (digest, fingerprint, session_id, claimed_at, expires_at)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (digest) DO NOTHING"""


def as_it_is(write: Callable[[], T]) -> T:
    return write()


@dataclass(slots=True)
class Claim:
    """A write that is being carried out under its key.

    ``session_id`` is the session whose key seals the answer, None for the site's: set it to a session that the write
    opens, so that its token is under its own key. ``kept`` tells whether the answer is stored.
    """

    digest: bytes
    fingerprint: bytes
    claimed_at: datetime
    session_id: uuid.UUID | None
    kept: bool = False

    def complete(self, act: Callable[[], T], answer: Callable[[T], bytes | None]) -> T:
        """Run ``act`` and keep the ``answer`` to what it returns, in one transaction; return what it returned.

        With None for an answer nothing is kept and the key is free again. ``act`` is run again if the database asks for
        that, so all that it does is in this database. Raises RequestInProgress, with nothing done, if the claim was
        taken over; SessionBusy.
        """

        def attempt() -> T:
            # A write first, because SQLite cannot take a write lock after a read; elsewhere too it keeps whoever wants
            # to take the claim over waiting for how this ends.
            if not self._row().update(claimed_at=self.claimed_at):
                raise RequestInProgress(retry_after=1)
            done = act()
            self._keep(answer(done))
            return done

        return _rows.in_transaction(_WHAT, attempt)

    def release(self) -> None:
        """Let the key go, unless an answer was kept: the request is decided anew when it is sent again."""
        with suppress(Error, SessionBusy):  # what is not released is taken over when the lease is over
            _rows.with_retries(_WHAT, self._row().delete)

    def _keep(self, answer: bytes | None) -> None:
        self.kept = answer is not None
        if answer is None:
            self._row().delete()
            return
        key = _site_secret() if self.session_id is None else read_head(self.session_id).data_keys().personal
        sealed = seal(key, _place(self.digest, self.session_id), answer)
        self._row().update(answer=sealed, session_id=self.session_id)

    def _row(self) -> QuerySet[IdempotencyRecord]:
        return _records().filter(pk=self.digest, claimed_at=self.claimed_at, answer__isnull=True)


def claim_key(
    session: SessionHead | None, *, caller: str = "", operation: str, key: str, request: bytes
) -> Claim | bytes:
    """Claim ``key`` for one ``operation`` of a session, or of a caller who has none; or return what it was answered.

    ``caller`` is a pseudonym from ``caller_pseudonym``. ``request`` is what was asked for, in one spelling; of it only
    a keyed digest is stored. Whoever gets a Claim completes or releases it.

    Raises IdempotencyKeyReused if the key came with another request in the last 24 hours, RequestInProgress while the
    same one is running, ContentErased, SealBroken, KeyProblem, SessionBusy.
    """
    scope = f"caller:{caller}" if session is None else str(session.session_id)
    digest = hashlib.sha256(canonical_bytes([scope, operation, key])).digest()
    secret = _site_secret() if session is None else session.data_keys().personal
    fingerprint = hmac.digest(secret, _REQUEST + digest + request, hashlib.sha256)
    for _ in range(_ATTEMPTS):
        now = timezone.now()
        claim = Claim(digest, fingerprint, now, None if session is None else session.session_id)
        if _rows.with_retries(_WHAT, partial(_insert, claim)):
            return claim
        found = _records().filter(pk=digest).first()
        if found is None:
            continue  # it has just been released
        if found.expires_at > now:
            if not hmac.compare_digest(bytes(found.fingerprint), fingerprint):
                raise IdempotencyKeyReused
            if found.answer is not None:
                return _opened(found, session, secret)
            _require_over(found, now)
        if _rows.with_retries(_WHAT, partial(_take_over, claim, found)):
            return claim
    raise SessionBusy(_WHAT)


def run_once(
    session: SessionHead | uuid.UUID | None,
    act: Callable[[], JSONValue],
    *,
    operation: str,
    key: str,
    request: JSONValue,
    caller: str = "",
) -> JSONValue:
    """Run ``act`` once for each ``key`` of a session and ``operation``; return what it returned, now or then (V7).

    ``act`` runs in one transaction with keeping what it returns, so all that it does is in this database. ``request``
    tells one request from another. What ``act`` raises frees the key again.

    Raises what ``claim_key`` raises, InvalidValue for a request that JSON cannot hold, PaymentDataRefused for one of
    which not even a digest is kept, and what ``act`` raises.
    """
    require_no_payment_data({"operation": operation, "key": key, "request": request})
    head = read_head(session) if isinstance(session, uuid.UUID) else session
    claimed = claim_key(head, caller=caller, operation=operation, key=key, request=canonical_bytes(request))
    if isinstance(claimed, bytes):
        return cast(JSONValue, msgspec.json.decode(claimed))
    try:
        return claimed.complete(act, _encode)
    except Exception:
        claimed.release()
        raise


def purge_idempotency_records(*, limit: int = 5000) -> int:
    """Delete up to ``limit`` keys and answers that are older than 24 hours; return how many."""
    old = old_answers()
    some = old.order_by("expires_at").values("pk")[: _rows.checked_limit(limit)]

    # The time is asked for again by the statement that deletes: a key that is claimed anew meanwhile stays.
    def act() -> int:
        keep_holds_still()
        return old.filter(pk__in=some).delete()[0]

    return _rows.in_transaction("Old answers", act)


def _encode(returned: JSONValue) -> bytes:
    return msgspec.json.encode(returned)


def _insert(claim: Claim) -> bool:
    connection = _rows.write_connection()
    params: tuple[Any, ...] = (
        claim.digest,
        claim.fingerprint,
        None if claim.session_id is None else _rows.uuid_param(connection, claim.session_id),
        _rows.time_param(connection, claim.claimed_at),
        _rows.time_param(connection, claim.claimed_at + KEPT),
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, params)
        return bool(cursor.rowcount)


def _take_over(claim: Claim, found: IdempotencyRecord) -> bool:
    """Make a claim that is over ours, unless it has got its answer, or another one has taken it, in between."""
    as_found = _records().filter(pk=found.pk, claimed_at=found.claimed_at, expires_at=found.expires_at)
    if found.answer is None:
        as_found = as_found.filter(answer__isnull=True)
    taken = as_found.update(
        fingerprint=claim.fingerprint,
        session_id=claim.session_id,
        claimed_at=claim.claimed_at,
        expires_at=claim.claimed_at + KEPT,
        answer=None,
    )
    return bool(taken)


def _require_over(found: IdempotencyRecord, now: datetime) -> None:
    """Raise RequestInProgress while the lease is on, with a wait that grows with what was waited already."""
    age = now - found.claimed_at
    if age < LEASE:
        raise RequestInProgress(retry_after=max(1, int(min(age, LEASE - age).total_seconds())))


def _opened(found: IdempotencyRecord, session: SessionHead | None, secret: bytes) -> bytes:
    if found.session_id is None:
        key = secret
    elif session is not None and session.session_id == found.session_id:
        key = session.data_keys().personal
    else:
        key = read_head(found.session_id).data_keys().personal
    return unseal(key, _place(bytes(found.digest), found.session_id), bytes(found.answer or b""))


def _place(digest: bytes, session_id: uuid.UUID | None) -> bytes:
    return place(session_id or _NO_SESSION, f"answer {digest.hex()}", 0)


def _site_secret() -> bytes:
    """Return the key for what no session is there to keep: made of the one that makes callers' pseudonyms."""
    return hmac.digest(site_key_secret(active_site_key(SiteKey.Purpose.CONSUMER)), _SITE, hashlib.sha256)


def _records() -> QuerySet[IdempotencyRecord]:
    return IdempotencyRecord.objects.using(_rows.write_connection().alias)
