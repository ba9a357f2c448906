"""Erasure is real (A7): after the purge, VACUUM and the destruction of master keys nothing gives back what was said.

Searched are all files of a PostgreSQL server: its data directory, every WAL segment that it ever wrote (archived), a
base backup from before the purge, and its log, which holds every statement with its values. The sealed bytes and the
wrapped keys are still in there, which is shown; what is gone is every key that opens them.

What was never sealed is in there too: ids, times, references of goods and pseudonyms (docs/compliance.md names them).
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.db import connection

from agent_sessions import selectors, services
from agent_sessions.conf import settings
from agent_sessions.crypto.key_files import FileKeyProvider
from agent_sessions.crypto.keys import UnknownMasterKey, WrappedKeyBroken
from agent_sessions.domain.identity import Actor
from agent_sessions.models import Message, SessionKey
from agent_sessions.selectors import _cache
from agent_sessions.selectors._keys import DataClass, data_key_context
from tests.faults.cluster import Cluster
from tests.faults.support import open_session
from tests.leaks import traces, usable_keys
from tests.planting import ADDRESS, CONTENT, PERSONAL, WHO, end, imported, told_everything
from tests.services.keeping_keys import NOTHING, key_file
from tests.store.calling import shop

__all__ = ["key_file", "shop"]
pytestmark = pytest.mark.postgres

MARKERS = PERSONAL | CONTENT
KEPT, MATTER, CONTROL = "ZKkept7Q", "ZKmatter7Q", "ZKcontrol7Q"
AREAS = ("data", "archive", "backup", "log")
_SETTINGS = {
    "fsync": "off",  # nothing is lost here on purpose
    "archive_mode": "on",
    "archive_command": "mkdir -p ../archive && cp %p ../archive/%f",
    "log_statement": "all",
}


class Wrapped(NamedTuple):
    """A data key as it was stored at some time, and what it was."""

    session_id: uuid.UUID
    data_class: DataClass
    wrapped: bytes
    key: bytes


@contextmanager
def connected(server: Cluster) -> Iterator[None]:
    """Have the tests' connection lead to another server."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(HOST="127.0.0.1", PORT=str(server.port), NAME="postgres", USER="postgres")
    _cache.local.clear()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)
        _cache.local.clear()


@pytest.fixture
def server(transactional_db: None, key_file: Path) -> Iterator[Cluster]:
    """The test's database, on a server of its own that forgets nothing."""
    with Cluster(settings=_SETTINGS) as cluster, connected(cluster):
        call_command("migrate", verbosity=0)
        yield cluster


def run_sql(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def wrapped_now(session_ids: Iterable[uuid.UUID]) -> set[Wrapped]:
    found = set()
    for row in SessionKey.objects.filter(pk__in=list(session_ids)):
        columns: list[tuple[DataClass, Any]] = [("content", row.wrapped), ("personal", row.personal)]
        for name, wrapped in columns:
            key = settings.key_provider.unwrap(
                row.master_key_id, bytes(wrapped), context=data_key_context(row.pk, name)
            )
            found.add(Wrapped(row.pk, name, bytes(wrapped), key))
    return found


def sealed_now(session_ids: Iterable[uuid.UUID]) -> set[bytes]:
    """Some of what the keys seal: the sessions' messages."""
    return {bytes(body) for body in Message.objects.filter(session_id__in=session_ids).values_list("body", flat=True)}


def opened_by(one: Wrapped, path: Path) -> set[str]:
    """Which of the master keys in the file open a wrapped key."""
    provider, found = FileKeyProvider(path), set()
    for master_id in provider.master_ids():
        try:
            provider.unwrap(master_id, one.wrapped, context=data_key_context(one.session_id, one.data_class))
        except (UnknownMasterKey, WrappedKeyBroken):
            continue
        found.add(master_id)
    return found


class Files:
    """All files of a server, by area: in one piece, without the zeros that WAL segments end with."""

    def __init__(self, folder: Path) -> None:
        pieces: dict[str, set[bytes]] = {}
        for path in folder.rglob("*"):
            if path.is_file():
                pieces.setdefault(path.relative_to(folder).parts[0], set()).add(path.read_bytes().rstrip(b"\0"))
        self._areas = {area: b"\0".join(found) for area, found in pieces.items()}

    def areas(self, wanted: bytes) -> set[str]:
        """Where bytes are found: as they are, in hexadecimal digits as in a statement, or in base64."""
        spellings = wanted, wanted.hex().encode(), base64.b64encode(wanted).rstrip(b"=")
        return {area for area, content in self._areas.items() if any(one in content for one in spellings)}


def plant(shop: Any, configure: Callable[..., None]) -> tuple[tuple[uuid.UUID, uuid.UUID], uuid.UUID]:
    """Two sessions that are to be purged, full of markers; and one under legal hold."""
    configure(SNAPSHOT_EVERY=4, RETENTION={"personal": {"maximum_days": 0}, "decision_log": {"maximum_days": 0}})
    consumer = services.consumer_pseudonym(WHO)
    purged = told_everything(consumer), imported(consumer)
    kept = open_session({"agent": {"wish": KEPT}}, consumer=services.consumer_pseudonym("somebody else"))
    services.place_legal_hold(scope="session", session_id=kept, matter=MATTER, actor=Actor("staff", "7"))
    run_sql("CREATE TABLE control (word text)", f"INSERT INTO control VALUES ('{CONTROL}')")
    return purged, kept


def found(words: set[str], *, keys: Iterable[bytes] = ()) -> set[str]:
    _cache.local.clear()
    return {word for word, places in traces(words, keys=keys).items() if places}


@pytest.mark.timeout(120)
def test_nothing_gives_back_what_was_purged(
    server: Cluster, key_file: Path, shop: Any, configure: Callable[..., None]
) -> None:
    """A5, A7, A8: two epochs have wrapped the purged sessions' keys; both are destroyed."""
    purged, kept = plant(shop, configure)
    wrapped, sealed = wrapped_now(purged), sealed_now(purged)
    services.make_master_key("2026-11")
    assert services.rewrap().left == 0
    masters = {base64.b64decode(text) for text in json.loads(key_file.read_text())["keys"].values()}
    wrapped |= wrapped_now(purged)
    assert {len(opened_by(one, key_file)) for one in wrapped} == {1}
    end(*purged)
    services.end_session(kept)
    backup = server.base_backup()

    with Cluster(copy=backup) as restored:
        with connected(restored):
            assert found(MARKERS) == MARKERS, "the search finds them before"
        assert services.purge().erased == 4
        assert found(MARKERS) == set()
        with connected(restored):
            assert found(MARKERS) == MARKERS, "purged is not erased from a backup while the master keys are there"
        services.make_master_key("2026-12")
        assert services.rewrap().left == 0
        for master_id in ("2026-10", "2026-11"):
            assert services.destroy_master_key(master_id).dependents == NOTHING
        run_sql("VACUUM", "CHECKPOINT")
        live = usable_keys()
        assert found({KEPT, WHO, ADDRESS} | MARKERS) == {KEPT}
        with connected(restored):
            assert found({WHO, ADDRESS} | MARKERS, keys=live) == set()

    assert [selectors.verify_session(one).problems for one in (*purged, kept)] == [[], [], []]
    assert {master for one in wrapped for master in opened_by(one, key_file)} == set()
    connection.close()
    server.stop()
    files = Files(server.folder)
    for word in (CONTROL, MATTER):
        assert files.areas(word.encode()) == set(AREAS), "the search finds plain text, wherever it is"
    for one in wrapped:
        assert {"archive", "log"} <= files.areas(one.wrapped), "they are still there, and of no use"
    for body in sealed:
        assert {"archive", "log", "backup"} <= files.areas(body)
    gone = {word.encode() for word in MARKERS | {KEPT, WHO, ADDRESS}} | {one.key for one in wrapped} | masters
    assert {word: areas for word in gone if (areas := files.areas(word))} == {}
