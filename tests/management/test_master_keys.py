"""The commands for master keys: what they print, ask and refuse (A7, A8, T3, O3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError

from agent_sessions import selectors, services
from agent_sessions.conf import settings as package_settings
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.exceptions import KeyProblem
from agent_sessions.management.commands import destroy_master_key
from agent_sessions.models import SessionKey, SiteEvent
from agent_sessions.selectors._master_keys import SETTLED
from agent_sessions.services import security_events
from agent_sessions.services.erasing import Grounds, erase
from tests.conftest import MORNING
from tests.crypto.softhsm import MODULE, PIN
from tests.management.running import run
from tests.services.keeping_keys import FILE, key_file, wrapped_by

pytestmark = pytest.mark.django_db
__all__ = ["key_file"]


def test_the_first_key_is_made_where_there_is_none(tmp_path: Path, configure: Callable[..., None]) -> None:
    """A8"""
    path = tmp_path / "keys.json"
    configure(KEY_PROVIDER=FILE, KEY_FILE=str(path))
    assert run("make_master_key", "2026-10").out == "2026-10 is the active master key\n"
    assert path.stat().st_mode & 0o777 == 0o600
    services.caller_pseudonym("10.0.0.1")
    assert wrapped_by() == {"2026-10"}


def test_the_first_key_is_made_before_the_first_migration(
    tmp_path: Path, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key the system checks stop migrate, so it has to work without tables."""
    configure(KEY_PROVIDER=FILE, KEY_FILE=str(tmp_path / "keys.json"))
    monkeypatch.setattr("django.db.backends.base.introspection.BaseDatabaseIntrospection.table_names", lambda *_: [])
    assert run("make_master_key", "2026-10").out == "2026-10 is the active master key\n"
    assert SiteEvent.objects.count() == 0


def test_a_key_for_several_machines_waits_until_it_is_activated(key_file: Path) -> None:
    assert run("make_master_key", "2026-11", "--inactive").out == "2026-10 is the active master key\n"
    assert set(json.loads(key_file.read_text())["keys"]) == {"2026-10", "2026-11"}
    assert run("make_master_key", "2026-11", "--activate").out == "2026-11 is the active master key\n"
    with pytest.raises(CommandError, match="already"):
        run("make_master_key", "2026-11")
    with pytest.raises(CommandError, match="2027"):
        run("make_master_key", "2027", "--activate")


def test_a_key_is_made_rotated_to_and_destroyed_in_a_token(
    softhsm: Callable[[], str], tmp_path: Path, configure: Callable[..., None], opened: Any, clock: Any
) -> None:
    """A8: hardware modules and cloud HSMs, by SoftHSM."""
    pin = tmp_path / "pin"
    pin.touch(0o600)
    pin.write_text(PIN)
    where = {"MODULE": MODULE, "TOKEN": softhsm(), "PIN_FILE": str(pin)}
    configure(KEY_PROVIDER="agent_sessions.conf.pkcs11_key_provider", PKCS11=where)
    run("make_master_key", "2026-10")
    session = opened()
    assert run("rotate_master_key", "--new", "2026-11").out.endswith("1 wrapped anew, 0 failed, 0 left\n")
    clock.shift(SETTLED)
    assert selectors.authenticate(session.token).is_live()
    assert run("destroy_master_key", "2026-10", "--yes-destroy", "2026-10").out.endswith("2026-10 is destroyed\n")
    assert selectors.verify_session(session.session_id).content_checked
    assert package_settings.key_provider.master_ids() == ["2026-11"]  # type: ignore[attr-defined]


def test_rotation_counts_works_and_tells_how_far_it_is(key_file: Path, opened: Any) -> None:
    """A8"""
    services.signing_keys()
    for _ in range(3):
        opened()
    assert run("rotate_master_key", "--dry-run").out == "2026-10  active   sessions: 3, keys of the site: 1\n"
    ran = run("rotate_master_key", "--new", "2026-11", "--batch", "2")
    assert ran.out == "2026-11 is the active master key\n4 wrapped anew, 0 failed, 0 left\n"
    assert ran.err.splitlines() == ["2 wrapped anew, 2 left so far", "4 wrapped anew, 0 left so far"]
    assert wrapped_by() == {"2026-11"}


def test_who_goes_back_to_an_older_key_says_so_with_the_command(key_file: Path, opened: Any) -> None:
    """A8: the job takes it for an old file, a person may mean it."""
    opened()
    services.rewrap()
    older = json.loads(key_file.read_text())
    run("rotate_master_key", "--new", "2026-11")
    newer = json.loads(key_file.read_text())
    key_file.write_text(json.dumps({**newer, "active": older["active"]}))
    assert run("rotate_master_key").out.endswith("1 wrapped anew, 0 failed, 0 left\n")
    assert wrapped_by() == {"2026-10"}


def test_rotation_that_leaves_something_says_so(key_file: Path, opened: Any) -> None:
    opened()
    SessionKey.objects.update(wrapped=b"x" * 60)
    ran = run("rotate_master_key", "--new", "2026-11")
    assert (ran.status, ran.out.splitlines()[-1]) == (1, "0 wrapped anew, 1 failed, 1 left")


def test_destroying_lists_and_asks(key_file: Path, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A8"""
    services.make_master_key("2026-11")
    with monkeypatch.context() as patched:  # a rotation that was stopped before it came to the sessions
        patched.setattr("agent_sessions.services.key_rotation.old_masters", lambda _: [])
        services.rewrap()
    listed = (
        "Master key 2026-10 alone opens:\n"
        "  content of sessions:        1 active\n"
        "  personal data of sessions:  1 active\n"
        "  keys of the site:           none\n"
        "  tokens of live sessions:    1\n"
    )
    before = key_file.read_bytes()
    assert run("destroy_master_key", "2026-10", "--dry-run").out == listed
    monkeypatch.setattr(destroy_master_key, "input", lambda _: "yes", raising=False)
    with pytest.raises(CommandError, match=r"'yes' is not '2026-10'\. Nothing was destroyed"):
        run("destroy_master_key", "2026-10")
    with pytest.raises(CommandError, match="Nothing was destroyed"):
        run("destroy_master_key", "2026-10", "--yes-destroy", "2026-11")
    assert key_file.read_bytes() == before

    monkeypatch.setattr(destroy_master_key, "input", lambda _: "2026-10", raising=False)
    assert run("destroy_master_key", "2026-10").out == listed + "2026-10 is destroyed\n"
    assert set(json.loads(key_file.read_text())["keys"]) == {"2026-11"}


def test_the_epochs_say_what_to_do_by_when_and_raise_an_alarm(key_file: Path, opened: Any) -> None:
    """A7: the promise of every erasure, checked."""
    with time_machine.travel(MORNING, tick=False) as clock:
        first, second = opened(), opened()
        assert "nothing was erased since" in run("key_epochs").out
        for one in (first, second):
            services.end_session(one.session_id)
        head = selectors.read_head(first.session_id)
        erase(head, frozenset({"personal"}), Grounds("request", "GDPR Art. 17", "erasure"), actor=SYSTEM)
        assert "rotate by 2026-03-25" in run("key_epochs").out
        clock.shift(timedelta(days=24))
        services.make_master_key("2026-11")
        ran = run("key_epochs")
        assert (ran.status, ran.out.splitlines()[2].split()) == (
            0,
            ["2026-10", "old", "2026-03-02", "2", "0", "run", "rotate_master_key,", "destroy", "it", "by",
             "2026-04-01"],
        )  # fmt: skip
        services.rewrap()
        clock.shift(timedelta(days=6))
        ran = run("key_epochs")
        assert (ran.status, ran.out.splitlines()[2].split()) == (
            1, ["2026-10", "old", "2026-03-02", "0", "0", "destroy", "it", "OVERDUE", "since", "2026-04-01"],
        )  # fmt: skip
        assert "30 days of ERASURE_HORIZON_DAYS" in ran.err
        document = json.loads(run("key_epochs", "--json").out)
        assert [(one["master_key"], one["status"], one["overdue"]) for one in document] == [
            ("2026-11", "active", False), ("2026-10", "old", True),
        ]  # fmt: skip
        services.destroy_master_key("2026-10")
        assert run("key_epochs").status == 0


def test_a_security_event_reports_what_was_done(key_file: Path, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: interrupted, and run again."""

    def die(**_: object) -> None:
        raise RuntimeError("power failure")

    with monkeypatch.context() as patched:
        patched.setattr(security_events, "end_revoked_sessions", die)
        with pytest.raises(RuntimeError):
            run("security_event", "--reason", "a laptop was stolen")
    ran = run("security_event", "--resume")
    assert ran.status == 0
    report = dict(line.split(":", 1) for line in ran.out.splitlines())
    assert {name: value.strip() for name, value in report.items() if name in ("reason", "sessions ended")} == {
        "reason": "a laptop was stolen", "sessions ended": "1, 0 left",
    }  # fmt: skip
    assert report["master key"].strip() == package_settings.key_provider.active_id
    assert "Going on with: a laptop was stolen" in ran.err
    assert selectors.read_head(live.session_id).end_reason == "revoked"


def test_a_security_event_tells_what_it_could_not_do(
    key_file: Path, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T3, O3"""

    def away(*_: object, **__: object) -> None:
        raise KeyProblem("The key service does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(security_events, "make_master_key", away)
        ran = run("security_event", "--reason", "a laptop was stolen")
    assert (ran.status, "not changed. The key service does not answer." in ran.out) == (1, True)
    with monkeypatch.context() as patched:
        patched.setattr(security_events, "rotate_signing_key", away)
        with pytest.raises(CommandError, match=r"does not answer\. What is said above is done; go on with --resume"):
            run("security_event", "--reason", "a laptop was stolen")
    assert run("security_event", "--resume").status == 0


@pytest.mark.parametrize("arguments", [["--reason", ""], ["--reason", "r" * 201]])
def test_a_security_event_needs_a_reason(key_file: Path, arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="200 characters"):
        run("security_event", *arguments)
    assert SiteEvent.objects.count() == 0


def test_the_job_wraps_what_is_left(key_file: Path, opened: Any) -> None:
    """A8: nothing to do until a key was rotated."""
    from agent_sessions.tasks import rewrap_keys

    opened()
    assert rewrap_keys.apply().get() == {"done": 0, "left": 0, "failed": 0}
    services.make_master_key("2026-11")
    opened()
    services.make_master_key("2026-12")
    assert rewrap_keys.apply(kwargs={"limit": 1}).get() == {"done": 1, "left": 1, "failed": 0}
    assert rewrap_keys.apply().get() == {"done": 1, "left": 0, "failed": 0}
