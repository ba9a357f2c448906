"""Looking for words everywhere that the package could have kept them, with every key that is left."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.core.cache import caches
from django.db import models

from agent_sessions.conf import settings
from agent_sessions.crypto.keys import UnknownMasterKey
from agent_sessions.crypto.sealing import place, unseal
from agent_sessions.exceptions import ContentErased, KeyProblem, SealBroken
from agent_sessions.models import IdempotencyRecord, Session, SessionKey
from agent_sessions.selectors._heads import read_head
from agent_sessions.services.idempotency import _place, _site_secret
from tests.stored import everything_stored

SEALED = {
    "SessionVersion": {
        "patch": "version.patch",
        "snapshot": "version.snapshot",
        "personal_patch": "version.personal_patch",
        "personal_snapshot": "version.personal_snapshot",
    },
    "AuditEvent": {"private": "event.private"},
    "Message": {"body": "message.body"},
    "Approval": {"body": "approval"},
    "IdempotencyRecord": {"answer": "answer"},
}
"""Columns that hold sealed bytes, and the name of the place that they are sealed at."""
OPEN = {
    "Session": {"head_hash", "token_digest"},
    "SessionKey": {"wrapped", "personal"},
    "SiteKey": {"public", "wrapped"},
    "AuditEvent": {"canonical"},
    "Artifact": {"envelope", "signature", "runtime_signature"},
    "Approval": {"token_digest"},
    "TransferGrant": {"token_digest"},
    "CheckoutHandoff": {"token_digest"},
    "IdempotencyRecord": {"digest", "fingerprint"},
    "LogLeaf": {"head", "data", "hash"},
    "LogNode": {"hash"},
    "TreeHead": {"root"},
    "SiteEvent": {"canonical", "hash"},
}
"""Columns of bytes that are no seals: they are searched as they stand."""


def unlisted_columns() -> set[str]:
    """Columns of bytes that the search does not know; there must be none, or it would pass them by."""
    found = set()
    for model in apps.get_app_config("agent_sessions").get_models():
        for field in model._meta.fields:
            name = model.__name__
            if isinstance(field, models.BinaryField) and field.name not in {*SEALED.get(name, ()), *OPEN.get(name, ())}:
                found.add(f"{name}.{field.name}")
    return found


def traces(words: set[str], *, keys: Iterable[bytes] = ()) -> dict[str, set[str]]:
    """Return where each of the words is found: in a column as it stands, under a seal that opens, or in a cache.

    Seals are tried with every key that this database still gives, and with ``keys`` from elsewhere.
    """
    found: dict[str, set[str]] = {word: set() for word in words}
    known = [*usable_keys(), *keys]
    for where, text in [*_stored(), *_unsealed(known), *_cached(known)]:
        for word in words:
            if word.encode() in text:
                found[word].add(where)
    return found


def _stored() -> Iterator[tuple[str, bytes]]:
    for table, rows in everything_stored().items():
        for row in rows:
            for value in row:
                yield table, value if isinstance(value, bytes) else str(value).encode()


def usable_keys() -> list[bytes]:
    """Every data key that still unwraps, and the site's own for what belongs to no session."""
    keys = []
    with suppress(UnknownMasterKey):
        keys.append(_site_secret())
    for row in SessionKey.objects.all():
        data = read_head(row.pk).data_keys()
        for name in ("content", "personal"):
            try:
                keys.append(getattr(data, name))
            except (ContentErased, KeyProblem):
                continue
    return keys


def _unsealed(keys: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Open every sealed column with every key."""
    for model in apps.get_app_config("agent_sessions").get_models():
        for column, what in SEALED.get(model.__name__, {}).items():
            for row in model._default_manager.exclude(**{column: None}):
                for key in keys:
                    opened = _try(key, _place_of(row, what), bytes(getattr(row, column)))
                    if opened is not None:
                        yield f"{model.__name__}.{column}, unsealed", opened


def _place_of(row: Any, what: str) -> bytes:
    if isinstance(row, IdempotencyRecord):
        return _place(bytes(row.digest), row.session_id)
    if what == "approval":
        return place(row.session_id, f"approval {row.pk.hex}", 0)
    return place(row.session_id, what, row.seq if what == "event.private" else row.number)


def _cached(keys: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Open what the shared cache keeps of sessions, by every version that there could be one of."""
    cache = caches[settings.state_cache or "default"]
    for name, value in list(getattr(cache, "_cache", {}).items()):
        yield "cache", name.encode() + bytes(value)
        uid = uuid.UUID(name.rpartition(":")[2]) if ":agent_sessions:" in f":{name}" else None
        for session in Session.objects.all() if uid else ():
            import pickle

            for key in keys:
                for number in range(1, session.version + 1):
                    at = place(session.pk, f"cached-state {uid.hex if uid else ''}", number)
                    opened = _try(key, at, pickle.loads(value))  # noqa: S301 - what Django's own cache has pickled
                    if opened is not None:
                        yield "cache, unsealed", opened


def _try(key: bytes, at: bytes, sealed: object) -> bytes | None:
    try:
        return unseal(key, at, sealed) if isinstance(sealed, bytes) else None
    except SealBroken:
        return None
