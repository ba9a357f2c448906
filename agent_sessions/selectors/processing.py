"""The records of processing (GDPR Art. 30(1)), made of what is in force here: settings, rules, tables, numbers (A5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Count
from django.utils import timezone

from agent_sessions.audit.events import format_time
from agent_sessions.conf import settings
from agent_sessions.crypto.keys import ListsMasterKeys
from agent_sessions.domain.privacy import PERSONAL
from agent_sessions.domain.processing import CATEGORIES, KEPT_BY_RULES, Category, columns_of
from agent_sessions.domain.retention import RetentionRule, as_json
from agent_sessions.domain.state import SLICES
from agent_sessions.models import Session
from agent_sessions.selectors import _rows
from agent_sessions.selectors.legal_holds import in_force, reviews_due
from agent_sessions.selectors.receipts import erasures, kept_erasures, open_erasures
from agent_sessions.selectors.retention import count_covered, retention_rules, rule_state

RECORDS_TYPE: Final = "agent-session-processing-records/v1"
TO_COMPLETE: Final = (
    "the controller's address, its representative and its data protection officer; joint controllers",
    "that the legal grounds, which are proposals, are those that the controller relies on",
    "processors: who runs the servers, the database, the cache and the keys",
    "transfers to third countries, and their safeguards",
    "what the shop itself keeps: customers, orders, invoices, its own logs",
    "what is kept outside of these tables: copies of the database, logs of servers, artifacts that were handed out",
)
"""What the records of a controller need and this package cannot know."""
AT_THE_END: Final = "the key of the class is destroyed, what it sealed is emptied, and the session's history says so"
"""What every rule does when its time is over."""
_AGENTS: Final = 100
_STATE: Final = {
    "personal_content": list(PERSONAL),
    "content": [f"/{name}" for name in SLICES if f"/{name}" not in PERSONAL],
}


def processing_records(now: datetime | None = None) -> dict[str, Any]:
    """Return the records of processing as a JSON document of the type ``agent-session-processing-records/v1``.

    It names categories, purposes, time limits and recipients, and counts; nobody's data is in it. Counts are exact, so
    with millions of sessions it takes seconds. Raises InvalidValue if the setting RETENTION cannot be read, KeyProblem.
    """
    now = now or timezone.now()
    rules = retention_rules()
    return {
        "type": RECORDS_TYPE,
        "made_at": format_time(now),
        "controller": {"name": settings.site_name, "site": settings.site, "contact": settings.site_contact},
        "to_complete": list(TO_COMPLETE),
        "categories": [_category(one, rules) for one in CATEGORIES],
        "retention": [_rule(rule, now) for rule in rules],
        "erasure": {
            "horizon_days": settings.erasure_horizon.days,
            "requests": erasures().count(),
            "unfinished": open_erasures().count(),
            "overdue": open_erasures().filter(due_at__lte=now).count(),
            "partly_refused": kept_erasures().count(),
        },
        "legal_holds": {"in_force": in_force().count(), "review_due": reviews_due(now).count()},
        "recipients": _recipients(),
        "stored_in": _places(),
        "security": _measures(),
    }


def _category(category: Category, rules: tuple[RetentionRule, ...]) -> dict[str, Any]:
    limits = [rule.name for rule in rules if rule.data_class == category.kept]
    kept = category.kept
    if kept in KEPT_BY_RULES:
        kept = f"by rule: {', '.join(limits)}" if limits else "for good: no retention rule is about this class"
    return {
        "name": category.name,
        "what": category.what,
        "data_subjects": category.subjects,
        "purpose": category.purpose,
        "legal_ground": category.basis,
        "kept": kept,
        "protection": category.protection,
        "columns": columns_of(category.name),
        "parts_of_the_state": _STATE.get(category.name, []),
    }


def _rule(rule: RetentionRule, now: datetime) -> dict[str, Any]:
    state = rule_state(rule, now)
    return {
        **as_json(rule),
        "at_the_end": AT_THE_END,
        "sessions": count_covered(rule),
        "due": state.due,
        "held": state.held,
        "quarantined": state.quarantined,
        "next_due": None if state.next_due is None else format_time(state.next_due),
    }


def _recipients() -> list[dict[str, Any]]:
    """Who is given something: agents by whose they say they are, the shop, and whom the settings name."""
    named = Session.objects.using(_alias()).values("agent_name", "agent_operator").annotate(sessions=Count("pk"))
    agents = [
        {
            "who": " of ".join(filter(None, (one["agent_name"] or "an agent without a name", one["agent_operator"]))),
            "gets": "the session that it opened or took over",
            "sessions": one["sessions"],
        }
        for one in named.order_by("-sessions", "agent_name", "agent_operator")[:_AGENTS]
    ]
    sinks = settings.log_sinks
    others = [
        (settings.store, "goods and quantities of carts, to price and to hold them; orders"),
        *((f"log sink {sink.get('name')} ({sink.get('class')})", "signed tree heads: hashes") for sink in sinks),
    ]
    return [*agents, *({"who": who, "gets": gets} for who, gets in others if who)]


def _places() -> list[dict[str, str]]:
    connection = connections[_alias()]
    where = connection.settings_dict
    server = "a file" if connection.vendor == "sqlite" else f"{where.get('HOST') or 'local'}:{where.get('PORT') or ''}"
    places = [{"what": "all tables", "where": f"{connection.vendor} at {server.rstrip(':')}, database {where['NAME']}"}]
    caches = [("counts of requests by pseudonym of the caller", settings.limits_cache)]
    if settings.caches_state and settings.state_cache:
        caches.append(("states of live sessions, sealed with their keys", settings.state_cache))
    places += [{"what": what, "where": f"cache {alias!r} ({_backend(alias)})"} for what, alias in caches]
    provider = settings.key_provider
    masters = f", {len(provider.master_ids())} of them" if isinstance(provider, ListsMasterKeys) else ""
    return [*places, {"what": "master keys", "where": f"{type(provider).__name__}{masters}"}]


def _backend(alias: str) -> str:
    known: Mapping[str, Any] = django_settings.CACHES.get(alias, {})
    return str(known.get("BACKEND", "not configured"))


def _measures() -> list[str]:
    """Technical measures (Art. 32(1)) as the settings have them; organisational ones are the controller's to add."""
    bound = {"address": "the caller's address", "key": "the agent's key"}.get(settings.bind_to)
    return [
        "content sealed with AES-256-GCM under two keys of each session, wrapped by a master key kept elsewhere",
        f"erased by destroying keys; master keys to be destroyed {settings.erasure_horizon.days} days after an erasure",
        "consumers, callers and addresses as keyed pseudonyms",
        "session tokens kept as digests; revoked at once",
        f"tokens bound to {bound}" if bound else "tokens not bound to an address or a key",
        "signed requests required" if settings.requires_signatures else "signed requests verified, not required",
        f"requests limited per caller: {settings.max_requests_per_minute or 'no limit'} a minute",
        "card numbers, track data, security codes and PINs refused on every input",
        "every change recorded in a hash chain",
        "artifacts of ended sessions signed" if settings.audit else "artifacts not given out",
        f"tree heads of the log written to {len(settings.log_sinks)} places outside the database",
    ]


def _alias() -> str:
    return _rows.write_connection().alias
