"""What is derived from history can be made again; history itself never is (R4)."""

from __future__ import annotations

import uuid
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.selectors import _cache
from agent_sessions.selectors._keys import SNAPSHOT
from agent_sessions.selectors._states import PERSONAL_SNAPSHOT
from agent_sessions.services import OpenedSession
from tests.shopping import variables
from tests.tampering import Act, Tamper, flipped, found

pytestmark = pytest.mark.django_db

FALSE_STATE = _cache.measured({"agent": {"a": "false"}})


def _alter_snapshot(tamper: Tamper) -> None:
    tamper.version(3, snapshot=flipped(tamper.versions.get(number=3).snapshot))


def _false_snapshot(tamper: Tamper) -> None:
    tamper.version(3, personal_snapshot=tamper.sealed(PERSONAL_SNAPSHOT, 3, variables(a="false")))


def _added_snapshot(tamper: Tamper) -> None:
    tamper.version(
        4,
        snapshot=tamper.sealed(SNAPSHOT, 4, {}),
        personal_snapshot=tamper.sealed(PERSONAL_SNAPSHOT, 4, variables(a=1, b=2, c=3, d=4)),
    )


def _false_local_state(tamper: Tamper) -> None:
    kept = _cache.local.get(tamper.session_id)
    assert kept is not None
    _cache.local.put(kept[0], FALSE_STATE, limit=10**6)


POINTER = "session, snapshot_version and patch_bytes"
DERIVED: dict[str, tuple[Act, str, str]] = {
    "snapshot altered": (_alter_snapshot, "snapshot", "snapshot 3"),
    "snapshot made anew with the key": (_false_snapshot, "snapshot", "snapshot 3"),
    "snapshot emptied": (lambda t: t.version(3, snapshot=None), "snapshot_pointer", POINTER),
    "snapshot added": (_added_snapshot, "snapshot_pointer", POINTER),
    "snapshot pointer": (lambda t: t.session(snapshot_version=2), "snapshot_pointer", POINTER),
    "weight of the patches": (lambda t: t.session(patch_bytes=10**9), "snapshot_pointer", POINTER),
    "cached state": (_false_local_state, "cached_state", "cached state in this process"),
}


@pytest.mark.parametrize(("act", "code", "where"), DERIVED.values(), ids=DERIVED.keys())
def test_damage_to_what_is_derived_is_found_and_closes_nothing(
    live: OpenedSession, act: Act, code: str, where: str
) -> None:
    """R4: history itself is sound."""
    act(Tamper(live.session_id))
    out = StringIO()

    report = selectors.verify_session(live.session_id)
    with pytest.raises(SystemExit):
        call_command("verify_sessions", stdout=out)

    assert found(report) == [(code, where)]
    assert report.repairable
    assert f"{live.session_id}: {where} " in out.getvalue()
    assert f"[{code}]" in out.getvalue()
    assert selectors.read_head(live.session_id).status is Status.ACTIVE


@pytest.mark.parametrize("how", ["service", "command"])
@pytest.mark.parametrize("act", [row[0] for row in DERIVED.values()], ids=DERIVED.keys())
def test_damage_to_what_is_derived_is_repaired(live: OpenedSession, act: Act, how: str) -> None:
    """R4: repairable by command; the state is what history says, and the session goes on."""
    act(Tamper(live.session_id))

    if how == "service":
        assert services.repair_session(live.session_id).ok
    else:
        out = StringIO()
        call_command("verify_sessions", "--repair", stdout=out)
        assert f"{live.session_id}: repaired" in out.getvalue()
        assert "1 sessions checked, 1 repaired, 0 with problems" in out.getvalue()

    assert selectors.current_state(live.session_id).state == variables(a=1, b=2, c=3, d=4)
    services.change_session(live.session_id, expected_version=4, patch=variables(e=5))
    _cache.local.clear()
    assert selectors.current_state(live.session_id).state == variables(a=1, b=2, c=3, d=4, e=5)
    assert selectors.verify_session(live.session_id).ok


def test_a_session_that_a_damaged_snapshot_closed_is_opened_by_its_repair(live: OpenedSession) -> None:
    """R4, R5"""
    _alter_snapshot(Tamper(live.session_id))
    _cache.local.clear()
    with pytest.raises(SessionDamaged):
        services.change_session(live.session_id, expected_version=4, patch=variables(e=5))
    assert selectors.read_head(live.session_id).status is Status.QUARANTINED

    call_command("verify_sessions", "--repair", "--session", str(live.session_id), stdout=StringIO())

    assert selectors.authenticate(live.token).is_live()
    assert services.change_session(live.session_id, expected_version=4, patch=variables(e=5)).version == 5


@pytest.mark.parametrize("value", ["altered", "false"])
def test_a_wrong_state_in_the_shared_cache_is_found_and_dropped(
    opened: Any, settings: Any, configure: Any, value: str
) -> None:
    """R4: sealed with another key, or with the right one over another state."""
    settings.CACHES = {
        name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}
        for name in ("default", "states")
    }
    configure(STATE_CACHE="states")
    one = opened(state=variables(a=1))
    head = selectors.read_head(one.session_id)
    key = f"agent_sessions:{head.version_uid.hex}"
    if value == "altered":
        caches["states"].set(key, flipped(caches["states"].get(key)))
    else:
        _cache.put(head, FALSE_STATE, head.data_keys())
    _cache.local.clear()

    assert found(selectors.verify_session(one.session_id)) == [("cached_state", "cached state in the shared cache")]
    assert services.repair_session(one.session_id).ok
    assert selectors.current_state(one.session_id).state == variables(a=1)


def test_history_itself_is_never_made_again(live: OpenedSession) -> None:
    """R4: repair refuses, and changes nothing."""
    tamper = Tamper(live.session_id)
    _alter_snapshot(tamper)
    tamper.version(2, event_seq=3)

    with pytest.raises(SessionDamaged, match=r"version 2, seq.*cannot be made again"):
        services.repair_session(live.session_id)

    assert ("snapshot", "snapshot 3") in found(selectors.verify_session(live.session_id))
    assert selectors.read_head(live.session_id).snapshot_version == 3


def test_repairing_a_sound_session_changes_nothing(live: OpenedSession) -> None:
    head = selectors.read_head(live.session_id)

    assert services.repair_session(live.session_id).ok

    assert selectors.read_head(live.session_id) == head
