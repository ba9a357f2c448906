"""Rotating the master key while sessions are written and erased: nothing is lost, what is erased stays so (A7, A8)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from agent_sessions import selectors, services
from agent_sessions.crypto.keys import LocalKeyProvider
from agent_sessions.domain.identity import SYSTEM, Agent
from agent_sessions.exceptions import KeyProblem, SessionBusy
from agent_sessions.models import Session, SessionKey, SiteKey
from agent_sessions.selectors import _cache
from agent_sessions.services import Rewrapped, key_rotation
from agent_sessions.services.erasing import Grounds, erase
from agent_sessions.services.keys import active_site_key, revoke_token_key
from tests.faults.support import at_once, line, open_session
from tests.services.keeping_keys import key_file, wrapped_by

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["key_file"]
REQUEST = Grounds("request", "GDPR Art. 17", "erasure")
ROUNDS = 3
AGENT = Agent("Shopper", "1.0", "Example")


def rewrap_all() -> list[Rewrapped]:
    """Rewrap until a whole round finds nothing left, as the command does, ten times at most."""
    rounds = []
    for _ in range(10):
        rounds.append(services.rewrap(limit=7))
        if not rounds[-1].left:
            break
    return rounds


def writing(session_id: uuid.UUID, times: int) -> Callable[[], int]:
    def write() -> int:
        for number in range(times):
            services.change_session(session_id, expected_version=number + 1, patch=line(f"mug-{number}"))
        return times

    return write


def erasing(session_ids: list[uuid.UUID], *classes: str) -> Callable[[], int]:
    def act() -> int:
        for session_id in session_ids:
            for _ in range(5):
                try:
                    erase(selectors.read_head(session_id), frozenset(classes), REQUEST, actor=SYSTEM)  # type: ignore[arg-type]
                    break
                except SessionBusy:
                    continue
        return len(session_ids)

    return act


def test_rotation_writes_and_erasures_race(key_file: Path) -> None:
    """A7, A8: a held key changes hands, a destroyed one stays destroyed, and every write is there."""
    for number in range(ROUNDS):
        written = [open_session(line("pot")) for _ in range(3)]
        personal, content = ([open_session(line("cup")) for _ in range(4)] for _ in range(2))
        for session_id in (*personal, *content):
            services.end_session(session_id)
        master = f"2027-{number:02}"
        services.make_master_key(master)

        results = at_once(
            [
                rewrap_all, rewrap_all,
                *(writing(session_id, 6) for session_id in written),
                erasing(personal, "personal"), erasing(content, "content", "personal"),
            ]
        )  # fmt: skip

        assert [result for result in results if isinstance(result, Exception)] == []
        assert services.rewrap().left == 0
        assert wrapped_by() == {master}
        _cache.local.clear()
        for session_id in written:
            assert selectors.read_head(session_id).version == 7
            assert len(selectors.current_state(session_id).state["shopping"]["lines"]) == 7
        for session_id in (*written, *personal, *content):
            report = selectors.verify_session(session_id)
            assert report.ok, report.problems
        assert SessionKey.objects.filter(pk__in=content).count() == 0
        assert set(SessionKey.objects.filter(pk__in=personal).values_list("personal", flat=True)) == {None}
        assert Session.objects.filter(pk__in=personal, personal_erased_at__isnull=True).count() == 0


def test_sessions_are_opened_and_read_under_every_key_while_it_rotates(key_file: Path) -> None:
    """A8: no request fails."""
    tokens: list[Any] = [services.open_session(agent=AGENT) for _ in range(3)]

    def traffic() -> int:
        for number in range(8):
            opened = services.open_session(agent=AGENT, state=line(f"pot-{number}"))
            _cache.local.clear()
            assert selectors.current_state(opened.session_id).state["shopping"]["lines"]
            for known in (opened, *tokens):
                assert selectors.authenticate(known.token).session_id == known.session_id
        return 8

    def rotate() -> int:
        for number in range(3):
            services.make_master_key(f"2027-{number:02}")
            rewrap_all()
        return 3

    assert at_once([traffic, traffic, rotate]) == [8, 8, 3]
    assert rewrap_all()[-1].left == 0
    assert wrapped_by() == {"2027-02"}


class _SlowService(LocalKeyProvider):
    """A key service that would hold two keys of one name."""

    def __init__(self, made: list[str]) -> None:
        super().__init__({"a": bytes(range(32))})
        self.made = made

    def create(self, master_id: str) -> None:
        if master_id in self.made:
            raise KeyProblem("There is one already.")
        threading.Event().wait(0.05)  # the call takes its time
        self.made.append(master_id)


_made: list[str] = []


def slow_service() -> _SlowService:
    return _SlowService(_made)


def test_two_who_make_a_key_of_one_name_at_once_make_one(configure: Callable[..., None]) -> None:
    """A8: what one of two wrapped would be lost."""
    configure(KEY_PROVIDER="tests.faults.test_key_rotation.slow_service")
    services.open_session(agent=AGENT)
    _made.clear()
    results = at_once([lambda: services.make_master_key("b")] * 3)
    assert _made == ["b"]
    assert sorted(type(result).__name__ for result in results) == ["KeyProblem", "KeyProblem", "NoneType"]


@pytest.mark.parametrize(
    ("purpose", "rotate"),
    [("artifact", services.rotate_signing_key), ("token", lambda: revoke_token_key(reason="a laptop was stolen"))],
)
def test_two_who_rotate_a_key_of_the_site_at_once_both_succeed(purpose: str, rotate: Callable[[], object]) -> None:
    """T3, A8: whatever key there was before is retired, and one is active."""
    for _ in range(3):
        before = active_site_key(purpose).pk
        assert [result for result in at_once([rotate] * 4) if isinstance(result, Exception)] == []
        assert SiteKey.objects.filter(pk=before, retired_at__isnull=False).exists()
        assert SiteKey.objects.filter(purpose=purpose, retired_at__isnull=True).count() == 1


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_a_row_that_somebody_holds_is_left_for_the_next_round(key_file: Path) -> None:
    """A8: rotation waits for nobody, so it can never be one half of a deadlock."""
    held, free = open_session(), open_session()
    services.make_master_key("2026-11")

    with transaction.atomic():
        list(SessionKey.objects.select_for_update().filter(pk=held))
        (made,) = at_once([services.rewrap])
    assert isinstance(made, Rewrapped)
    assert (made.left, made.failed) == (1, 0)
    assert SessionKey.objects.get(pk=free).master_key_id == "2026-11"
    assert SessionKey.objects.get(pk=held).master_key_id == "2026-10"
    assert services.rewrap() == Rewrapped(done=1, left=0)


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("classes", [("personal",), ("content", "personal")])
def test_an_erasure_between_reading_and_writing_wins(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, classes: tuple[str, ...]
) -> None:
    """A7: by another connection, at the worst moment, committed."""
    session_id = open_session(line("pot"))
    services.end_session(session_id)
    services.make_master_key("2026-11")
    store = key_rotation._store

    def late(changes: Any) -> int:
        assert at_once([erasing([session_id], *classes)]) == [1]
        return store(changes)

    monkeypatch.setattr(key_rotation, "_store", late)
    services.rewrap()
    monkeypatch.setattr(key_rotation, "_store", store)

    rows = SessionKey.objects.filter(pk=session_id)
    assert [row.personal for row in rows] == ([None] if classes == ("personal",) else [])
    assert services.rewrap().left == 0
    assert [row.personal for row in rows.all()] == ([None] if classes == ("personal",) else [])
    assert selectors.verify_session(session_id).ok
