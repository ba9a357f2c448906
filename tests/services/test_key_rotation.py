"""Master keys rotate while sessions go on (A8)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.conf import settings as package_settings
from agent_sessions.exceptions import InvalidValue, KeyProblem
from agent_sessions.models import SessionKey, SiteEvent
from agent_sessions.selectors import _cache
from agent_sessions.services import Rewrapped, key_rotation
from tests.services.keeping_keys import in_settings, key_file, wrapped_by, wrapped_site_keys
from tests.shopping import variables

pytestmark = pytest.mark.django_db
__all__ = ["key_file"]


def events(kind: str) -> list[dict[str, Any]]:
    rows = SiteEvent.objects.filter(kind=kind).order_by("seq")
    return [json.loads(bytes(row.canonical))["params"] for row in rows]


def test_everything_is_wrapped_anew_and_works_as_before(key_file: Path, live: Any, opened: Any) -> None:
    """A8: content, personal data, tokens, pseudonyms and signatures of before."""
    pseudonym = services.consumer_pseudonym("customer 7")
    done = opened()
    services.end_session(done.session_id)
    before = selectors.current_state(live.session_id).state
    assert before
    sessions, site_keys = SessionKey.objects.count(), wrapped_site_keys().count()

    services.make_master_key("2026-11")
    assert services.rewrap() == Rewrapped(done=sessions + site_keys, left=0, failed=0)

    assert wrapped_by() == {"2026-11"}
    _cache.local.clear()
    assert selectors.current_state(live.session_id).state == before
    assert selectors.authenticate(live.token).session_id == live.session_id
    assert services.consumer_pseudonym("customer 7") == pseudonym
    for one in (live, done):
        assert selectors.verify_session(one.session_id).ok
    services.destroy_master_key("2026-10")
    assert selectors.verify_session(live.session_id).content_checked
    assert services.rewrap() == Rewrapped(done=0, left=0, failed=0)


def test_a_process_that_remembers_the_old_wrapping_goes_on_after_the_old_key_is_gone(key_file: Path, live: Any) -> None:
    """A8: what a process remembers of a session may be older than the rotation."""
    head = selectors.read_head(live.session_id)
    services.make_master_key("2026-11")
    services.rewrap()
    services.destroy_master_key("2026-10")
    kept = _cache.local.get(live.session_id)
    assert kept is not None
    assert kept[0].master_key_id == "2026-10"

    services.change_session(live.session_id, expected_version=head.version, patch=variables(seen=1))

    assert selectors.read_head(live.session_id).version == head.version + 1
    stale = selectors.read_head(live.session_id)
    services.change_session(stale, expected_version=stale.version, patch=variables(seen=2))
    assert selectors.verify_session(live.session_id).ok


def test_it_stops_at_its_limit_and_goes_on_there(key_file: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A8, R3"""
    for _ in range(5):
        opened()
    total = 5 + wrapped_site_keys().count()
    services.make_master_key("2026-11")
    monkeypatch.setattr(key_rotation, "_CHUNK", 2)

    first = services.rewrap(limit=wrapped_site_keys().count() + 1)
    assert first == Rewrapped(done=wrapped_site_keys().count() + 1, left=4)
    assert services.rewrap(limit=100) == Rewrapped(done=total - first.done, left=0)


def test_a_personal_key_that_was_destroyed_stays_destroyed(key_file: Path, ended: Any) -> None:
    """A7"""
    SessionKey.objects.update(personal=None)
    services.make_master_key("2026-11")
    assert services.rewrap().left == 0
    row = SessionKey.objects.get()
    assert (row.master_key_id, row.personal) == ("2026-11", None)


@pytest.mark.parametrize("change", [{"personal": None}, {"wrapped": b"another"}, None])
def test_a_row_that_changed_meanwhile_is_left_as_it_is(
    key_file: Path, ended: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any] | None
) -> None:
    """A7: erased between reading and writing. Nothing brings it back."""
    services.make_master_key("2026-11")
    store = key_rotation._store

    def late(changes: Any) -> int:
        if change is None:
            SessionKey.objects.all().delete()
        else:
            SessionKey.objects.update(**change)
        return store(changes)

    monkeypatch.setattr(key_rotation, "_store", late)
    made = services.rewrap()
    assert made.left == SessionKey.objects.count()
    assert [row.master_key_id for row in SessionKey.objects.all()] == ["2026-10"] * made.left
    if change == {"personal": None}:
        assert SessionKey.objects.get().personal is None


def test_a_damaged_row_holds_up_no_other(key_file: Path, opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    broken = opened()
    opened()
    SessionKey.objects.filter(pk=broken.session_id).update(wrapped=b"x" * 60)
    services.make_master_key("2026-11")
    made = services.rewrap()
    assert (made.left, made.failed) == (1, 1)
    assert str(broken.session_id) in caplog.text
    assert SessionKey.objects.get(master_key_id="2026-10").pk == broken.session_id


def test_rows_that_do_not_unwrap_are_tried_up_to_the_limit(key_file: Path, opened: Any) -> None:
    """Another key under the same id: a run of the job stays bounded."""
    for _ in range(5):
        opened()
    SessionKey.objects.update(wrapped=b"x" * 60)
    services.make_master_key("2026-11")
    assert services.rewrap(limit=2) == Rewrapped(done=0, left=5, failed=2)
    assert services.rewrap(limit=2).failed == 2


def test_a_machine_with_an_older_file_wraps_nothing_back(
    key_file: Path, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A8: while a new file is carried from one machine to the next, their jobs do not undo one another's work."""
    opened()
    services.rewrap()
    older = key_file.read_text()
    services.make_master_key("2026-11")
    services.rewrap()
    newer = key_file.read_text()

    key_file.write_text(older)
    assert services.rewrap() == Rewrapped(done=0, left=1)
    assert "another was made active after it" in caplog.text
    assert wrapped_by() == {"2026-11"}
    key_file.write_text(newer)
    services.rewrap()
    assert [event["master_key"] for event in events("keys.rotated")] == ["2026-10", "2026-11"]

    services.activate_master_key("2026-10")  # on purpose
    assert services.rewrap() == Rewrapped(done=1, left=0)
    assert wrapped_by() == {"2026-10"}


def test_a_key_that_is_not_there_is_told(opened: Any, configure: Callable[..., None], caplog: Any) -> None:
    """A8: the old key was taken away too early; put back, the rotation goes on."""
    configure(MASTER_KEYS=in_settings("a"))
    opened()
    configure(MASTER_KEYS=in_settings("b"))
    made = services.rewrap()
    assert made.done == 0
    assert made.failed == made.left == 1 + wrapped_site_keys().count()
    assert "'a'" in caplog.text
    configure(MASTER_KEYS=in_settings("b", "a"))
    assert services.rewrap().left == 0
    assert wrapped_by() == {"b"}


def test_a_key_that_is_not_there_holds_up_no_other(opened: Any, configure: Callable[..., None]) -> None:
    for name in ("a", "b"):
        configure(MASTER_KEYS=in_settings(name))
        opened()
        opened()
    configure(MASTER_KEYS=in_settings("c", "b"))
    assert services.rewrap(limit=2) == Rewrapped(done=2, left=2, failed=2)
    assert wrapped_by() == {"a", "c"}


def test_a_provider_out_of_reach_stops_it(key_file: Path, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened()
    services.make_master_key("2026-11")

    def away(*args: object, **kwargs: object) -> None:
        raise KeyProblem("The service does not answer.")

    monkeypatch.setattr(type(package_settings.key_provider), "unwrap", away)
    with pytest.raises(KeyProblem, match="does not answer"):
        services.rewrap()
    assert wrapped_by() == {"2026-10"}


def test_the_sites_events_say_which_key_wraps_since_when(key_file: Path, opened: Any) -> None:
    """A8"""
    opened()
    services.rewrap()
    services.rewrap()
    services.make_master_key("2026-11")
    services.rewrap()
    assert events("keys.rotated") == [
        {"first": True, "master_key": "2026-10"}, {"first": False, "master_key": "2026-11"},
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [0, -1, True, "10"])
def test_a_limit_is_a_whole_number(limit: Any) -> None:
    with pytest.raises(InvalidValue):
        services.rewrap(limit=limit)
