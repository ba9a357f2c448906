"""The site's own chain: what was done to no single session, such as holds, erasures, keys and security events (A6, A8).

Its events look like a session's, with the run id ``site``, and go into the log as a session's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from django.db import IntegrityError, transaction
from django.utils import timezone

from agent_sessions.audit.events import build_event, event_hash
from agent_sessions.domain.identity import Actor
from agent_sessions.domain.ids import new_id
from agent_sessions.exceptions import SessionBusy
from agent_sessions.models import SiteEvent
from agent_sessions.selectors import _rows
from agent_sessions.services._payment_data import require_no_payment_data
from agent_sessions.types import JSONValue

RUN_ID = "site"
_RACES = 20
_EXEMPT = frozenset({"/params/order", "/params/order_ref", "/params/manifest_sha256"})
Facts = Callable[[], Mapping[str, JSONValue] | None]


def record(kind: str, actor: Actor, facts: Mapping[str, JSONValue], *, now: datetime | None = None) -> SiteEvent:
    """Append an event to the site's chain, in the transaction that is open or in one of its own.

    ``facts`` stand in it in the clear and for good: nothing personal, no secret. ``now`` is UTC.
    Raises InvalidValue, PaymentDataRefused, SessionBusy.
    """
    return cast("SiteEvent", record_if(kind, actor, lambda: facts, now=now))


def record_if(kind: str, actor: Actor, tell: Facts, *, now: datetime | None = None) -> SiteEvent | None:
    """Append an event of what ``tell`` returns, as ``record`` does, or none if that is None.

    It is asked again whenever another event came first, so that what it has read is what the event follows.
    """
    return _rows.with_retries("The site's events", lambda: _append(kind, actor, tell, now or timezone.now()))


def _append(kind: str, actor: Actor, tell: Facts, now: datetime) -> SiteEvent | None:
    alias = _rows.write_connection().alias
    for _ in range(_RACES):
        last = SiteEvent.objects.using(alias).order_by("-seq").first()
        if (facts := tell()) is None:
            return None
        require_no_payment_data({"params": dict(facts)}, exempt=_EXEMPT)
        seq, before = (1, "") if last is None else (last.seq + 1, bytes(last.hash).hex())
        # Times in a history never run backwards, whatever the clocks of its writers do.
        moment = now if last is None else max(now, last.created_at)
        canonical = build_event(
            run_id=RUN_ID, seq=seq, event_id=str(new_id()), timestamp=moment, kind=kind, actor=str(actor),
            prev_hash=before, params=facts,
        )  # fmt: skip
        digest = bytes.fromhex(event_hash(canonical))
        try:
            with transaction.atomic(using=alias):  # who comes second reads again
                return SiteEvent.objects.using(alias).create(
                    seq=seq, created_at=moment, kind=kind, canonical=canonical, hash=digest
                )
        except IntegrityError:
            continue
    raise SessionBusy("The site's events")
