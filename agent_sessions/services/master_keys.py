"""Making master keys, and destroying them for good (A7, A8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import F
from django.utils import timezone

from agent_sessions.conf import file_key_provider, settings
from agent_sessions.crypto.key_files import activate_master_key as activate_in_file
from agent_sessions.crypto.key_files import add_master_key
from agent_sessions.crypto.keys import (
    DestroysMasterKeys,
    ListsMasterKeys,
    MakesMasterKeys,
    UnknownMasterKey,
    active_key_stays,
    check_master_id,
)
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.exceptions import KeyProblem
from agent_sessions.models import SiteEvent, SiteKey
from agent_sessions.selectors import _rows
from agent_sessions.selectors._master_keys import (
    DESTROYED,
    ROTATED,
    SETTLED,
    master_key_events,
    replaced_at,
    was_destroyed,
)
from agent_sessions.selectors.master_keys import Dependents, count_wrapped_by_others, dependents_of
from agent_sessions.services.keys import active_site_key
from agent_sessions.services.site_events import record, record_if
from agent_sessions.types import JSONValue


@dataclass(frozen=True, slots=True)
class DestroyedMasterKey:
    """A master key that is gone, and what went with it."""

    master_id: str
    dependents: Dependents


def make_master_key(master_id: str, *, activate: bool = True, actor: Actor = SYSTEM) -> None:
    """Have the provider make a master key, which wraps from now on.

    ``activate`` False, for a file of keys, adds it behind the active one: every machine has to have the file first.
    Raises KeyProblem if the provider cannot make keys, the id is taken, or it was destroyed before.
    """
    check_master_id(master_id)
    # The first key is made before the first migration, which the system checks would not let run without one.
    has_history = SiteEvent._meta.db_table in _rows.write_connection().introspection.table_names()
    if has_history and was_destroyed(master_id):
        raise KeyProblem(f"Master key {master_id!r} was destroyed. Choose an id that was never used.")
    if settings.uses_key_file:
        # Not through the provider: before the first key is made there is none.
        add_master_key(_key_file(), master_id, activate=activate)
    else:
        provider = settings.key_provider
        if not activate or not isinstance(provider, MakesMasterKeys):
            raise KeyProblem(
                "This key provider cannot make such a key by itself. Make it where the keys are kept; docs/keys.md "
                "tells how."
            )
        if has_history:
            _rows.in_transaction("The master keys", lambda: _create_alone(provider, master_id))
        else:
            provider.create(master_id)
    if has_history:
        note_active_master_key(actor=actor)


def _create_alone(provider: MakesMasterKeys, master_id: str) -> None:
    """Have the provider make a key while nobody else does: not every key service minds two keys of one name."""
    alias = _rows.write_connection().alias
    key = active_site_key(SiteKey.Purpose.TOKEN)
    # An update that changes nothing, because it locks on every database.
    SiteKey.objects.using(alias).filter(pk=key.pk).update(created_at=F("created_at"))
    provider.create(master_id)


def activate_master_key(master_id: str, *, actor: Actor = SYSTEM) -> None:
    """Have a key that is in the file of keys wrap from now on. Raises UnknownMasterKey, KeyProblem."""
    if not settings.uses_key_file:
        raise KeyProblem("Only a file of keys is told here which one is active. docs/keys.md tells how elsewhere.")
    activate_in_file(_key_file(), master_id)
    note_active_master_key(actor=actor)


def note_active_master_key(*, actor: Actor = SYSTEM) -> None:
    """Record in the site's events that another master key wraps than before, if that is not recorded yet."""

    def tell() -> Mapping[str, JSONValue] | None:
        # Asked of the provider here: of two who make keys at once, the first must not be recorded after the second.
        active, known = settings.key_provider.active_id, master_key_events(ROTATED)
        if known and known[-1].master_id == active:
            return None
        return {"master_key": active, "first": not known and not count_wrapped_by_others(active)}

    record_if(ROTATED, actor, tell)


def destroy_master_key(master_id: str, *, actor: Actor = SYSTEM) -> DestroyedMasterKey:
    """Destroy a master key, and with it for good what it alone could open: in every backup, replica and log.

    What sessions it still wraps reads as erased from then on. Where the provider cannot destroy keys, take it out of
    where they are kept first: then this makes sure that it is gone, and records it. Safe to repeat after an
    interruption. The event ``keys.destroyed`` says how many sessions became unreadable.

    Raises KeyProblem, with nothing destroyed, for the active key, one that was active a moment ago, one that wraps keys
    of the site, and one that is still there and that the provider cannot destroy; UnknownMasterKey for an id that
    nothing names.
    """
    provider = settings.key_provider
    dependents = dependents_of(master_id)
    if master_id == provider.active_id:
        raise active_key_stays(master_id)
    if dependents.site_keys:
        names = ", ".join(f"{number} {purpose}" for purpose, number in dependents.site_keys.items())
        raise KeyProblem(
            f"Master key {master_id!r} still wraps keys of the site ({names}), without which nothing is signed and no "
            "consumer is known again. Run rotate_master_key first.",
            master_id=master_id,
        )
    _destroy(master_id, dependents)
    if not was_destroyed(master_id):
        record(DESTROYED, actor, {"master_key": master_id, "sessions": dependents.sessions})
    return DestroyedMasterKey(master_id, dependents)


def _destroy(master_id: str, dependents: Dependents) -> None:
    provider = settings.key_provider
    if isinstance(provider, DestroysMasterKeys):
        _require_settled(master_id)
        try:
            provider.destroy(master_id)
            return
        except UnknownMasterKey:
            # An earlier run destroyed it and could not say so any more; or it is a slip of the pen.
            if not _is_named(master_id, dependents):
                raise
            return
    there = provider.master_ids() if isinstance(provider, ListsMasterKeys) else _tried(master_id)
    if master_id in there:
        raise KeyProblem(
            f"This key provider cannot destroy master key {master_id!r} by itself. Take it out of where the keys are "
            "kept (AGENT_SESSIONS['MASTER_KEYS'], or the console of the key service), restart every process, destroy "
            "its copies, and run this again.",
            master_id=master_id,
        )
    if not _is_named(master_id, dependents):
        raise UnknownMasterKey(master_id)


def _require_settled(master_id: str) -> None:
    """Raise KeyProblem while a session that the key wraps may be on its way into the database, where none counts it."""
    note_active_master_key()
    replaced = replaced_at(master_id)
    if replaced is not None and timezone.now() < replaced + SETTLED:
        raise KeyProblem(
            f"Master key {master_id!r} was active until {replaced:%H:%M:%S} UTC: a process may still be storing what "
            f"it wrapped with it. Run this again after {replaced + SETTLED:%H:%M:%S}.",
            master_id=master_id,
        )


def _tried(master_id: str) -> list[str]:
    """Return the id if the provider can use such a key, which is all that one that lists none tells."""
    try:
        settings.key_provider.derive(master_id, b"is it there")
    except UnknownMasterKey:
        return []
    return [master_id]


def _is_named(master_id: str, dependents: Dependents) -> bool:
    """Whether rows or events name the key, so that it was one."""
    return dependents.sessions > 0 or any(event.master_id == master_id for event in master_key_events(ROTATED))


def _key_file() -> str:
    if not settings.key_file:
        file_key_provider()  # says what is missing
    return settings.key_file
