"""manage.py verify_sessions: finds, names, closes and repairs (R4, R5)."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from agent_sessions import selectors, services
from agent_sessions.domain.lifecycle import Status
from agent_sessions.exceptions import KeyProblem, SessionDamaged
from agent_sessions.models import Session
from agent_sessions.selectors import _cache
from agent_sessions.services import OpenedSession
from tests.conftest import MORNING
from tests.management.running import run
from tests.selectors.test_verification import TAMPERING
from tests.shopping import variables
from tests.stored import everything_stored
from tests.tampering import Act, Tamper, flipped

pytestmark = pytest.mark.django_db


def verify(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit status and what it printed."""
    return run("verify_sessions", *arguments)[:2]


CLOSED = (
    "patch altered",
    "version deleted in the middle",
    "event altered",
    "event that is no JSON",
    "last event deleted",
    "private part emptied",
    "last message deleted",
    "head hash",
    "ended without an end",
    "wrapped key",
    "key deleted",
)


@pytest.mark.parametrize(("act", "code", "where"), [TAMPERING[name] for name in CLOSED], ids=CLOSED)
def test_it_closes_the_tampered_session_and_no_other(
    opened: Any, live: OpenedSession, act: Act, code: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R5: --repair or not, history is never made again."""
    other = opened(state=variables(a=1))
    act(Tamper(live.session_id))

    status, printed = verify("--repair")

    assert status == 1
    assert f"{live.session_id}: {where} " in printed
    assert f"[{code}]" in printed
    assert f"{live.session_id}: not repaired" in printed
    assert f"{live.session_id}: quarantined" in printed
    assert "2 sessions checked, 0 repaired, 1 with problems" in printed
    assert f"Session {live.session_id} is quarantined" in caplog.text
    assert dict(Session.objects.values_list("pk", "status")) == {
        live.session_id: "quarantined",
        other.session_id: "active",
    }
    services.change_session(selectors.authenticate(other.token), expected_version=1, patch=variables(b=2))


def test_of_sound_sessions_it_only_counts(live: OpenedSession, opened: Any) -> None:
    """R4"""
    opened()
    before = everything_stored()

    assert verify() == (0, "2 sessions checked, 0 repaired, 0 with problems\n")

    assert everything_stored() == before


def test_without_sessions_there_is_nothing_to_say() -> None:
    assert verify() == (0, "0 sessions checked, 0 repaired, 0 with problems\n")


def test_it_checks_the_oldest_first(opened: Any, clock: Any) -> None:
    sessions = []
    for seconds in range(3):
        clock.move_to(MORNING + timedelta(seconds=seconds))
        sessions.append(opened().session_id)
        Tamper(sessions[-1]).session(merchant="elsewhere")

    _, printed = verify("--dry-run")

    assert [line.split(":")[0] for line in printed.splitlines()[:3]] == [str(one) for one in sessions]


def test_it_can_check_one_session(live: OpenedSession, opened: Any) -> None:
    other = opened()
    for one in (live, other):
        Tamper(one.session_id).session(merchant="elsewhere")

    status, printed = verify("--session", str(other.session_id))

    assert (status, "1 sessions checked, 0 repaired, 1 with problems" in printed) == (1, True)
    assert str(live.session_id) not in printed
    assert selectors.read_head(live.session_id).status is Status.ACTIVE


def test_a_dry_run_reports_and_changes_nothing(live: OpenedSession) -> None:
    """R4: what can be repaired and what cannot."""
    tamper = Tamper(live.session_id)
    tamper.session(patch_bytes=10**6, merchant="elsewhere")
    before = everything_stored()

    status, printed = verify("--dry-run", "--repair")

    assert status == 1
    assert "session, merchant is not what the event session.created says [wrong_column]" in printed
    assert "[snapshot_pointer]" in printed
    assert "quarantined" not in printed
    assert everything_stored() == before


def test_a_second_run_finds_it_again_and_closes_nothing_more(live: OpenedSession) -> None:
    """R5: the exit status stays until someone has looked."""
    Tamper(live.session_id).session(merchant="elsewhere")
    verify()

    status, printed = verify()

    assert status == 1
    assert "session, merchant" in printed
    assert ": quarantined" not in printed


def test_a_repair_that_was_interrupted_is_finished_by_the_next(
    live: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3, R4: what was closed is sound again, but still closed."""
    tamper = Tamper(live.session_id)
    tamper.version(3, snapshot=flipped(tamper.versions.get(number=3).snapshot))
    _cache.local.clear()
    with pytest.raises(SessionDamaged):
        services.change_session(live.session_id, expected_version=4, patch=variables(e=5))
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.integrity._open_again", _power_failure)
        with pytest.raises(RuntimeError):
            verify("--repair")
    assert selectors.read_head(live.session_id).status is Status.QUARANTINED

    status, _ = verify("--repair")

    assert status == 0
    assert selectors.authenticate(live.token).is_live()


def test_what_is_closed_and_sound_again_is_opened_by_repair(quarantined: OpenedSession) -> None:
    """R5: a backup was put back; the same command that closed the session opens it, and only when told to."""
    Tamper(quarantined.session_id).session(merchant="default")
    assert verify()[0] == 0
    assert selectors.read_head(quarantined.session_id).status is Status.QUARANTINED

    status, printed = verify("--repair")

    assert status == 0
    assert f"{quarantined.session_id}: released" in printed
    assert selectors.authenticate(quarantined.token).is_live()


@pytest.mark.parametrize("problem", ["missing", "out of reach"])
def test_a_key_that_this_machine_lacks_closes_nothing(
    live: OpenedSession, configure: Any, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """R5, A8: it says nothing of the session; but an unchecked session is not a sound one."""
    if problem == "missing":
        configure(MASTER_KEYS={"other": base64.b64encode(bytes(range(50, 82))).decode()})
    else:
        monkeypatch.setattr("agent_sessions.crypto.keys.LocalKeyProvider.unwrap", _out_of_reach)
    before = everything_stored()

    status, printed = verify()

    assert status == 1
    assert f"{live.session_id}: not checked" in printed
    assert ("no master key 'test-1'" if problem == "missing" else "out of reach") in printed
    assert everything_stored() == before


def test_a_session_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CommandError, match="There is no session 00000000-"):
        verify("--session", "00000000000000000000000000000007")


def test_an_id_that_is_none_is_an_error() -> None:
    with pytest.raises(CommandError, match="'seven' is not a session id"):
        verify("--session", "seven")


def _power_failure(*args: object, **kwargs: object) -> None:
    raise RuntimeError("power failure")


def _out_of_reach(*args: object, **kwargs: object) -> bytes:
    raise KeyProblem("The key service is out of reach.")
