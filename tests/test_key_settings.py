"""Where the master keys come from, by the settings (A8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import checks, selectors, services
from agent_sessions.conf import settings as package_settings
from agent_sessions.crypto.key_files import add_master_key
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import KeyProblem
from agent_sessions.models import SessionKey
from tests.crypto.softhsm import MODULE, PIN

FILE, TOKEN = "agent_sessions.conf.file_key_provider", "agent_sessions.conf.pkcs11_key_provider"


@pytest.fixture
def key_file(tmp_path: Path, configure: Callable[..., None]) -> Path:
    path = tmp_path / "keys.json"
    add_master_key(path, "2026-10")
    configure(KEY_PROVIDER=FILE, KEY_FILE=str(path))
    return path


@pytest.mark.django_db
def test_sessions_live_with_keys_of_a_file(key_file: Path) -> None:
    """A8."""
    opened = services.open_session(agent=Agent(name="bot"), purpose="tea")
    assert SessionKey.objects.get().master_key_id == "2026-10"
    add_master_key(key_file, "2026-11")
    assert selectors.authenticate(opened.token).session_id == opened.session_id
    assert selectors.verify_session(opened.session_id).content_checked
    services.open_session(agent=Agent(name="bot"))
    assert set(SessionKey.objects.values_list("master_key_id", flat=True)) == {"2026-10", "2026-11"}


@pytest.mark.django_db
def test_sessions_live_with_keys_of_a_token(
    softhsm: Callable[[], str],
    tmp_path: Path,
    configure: Callable[..., None],
) -> None:
    """A8: SoftHSM stands for every module that speaks PKCS#11."""
    pin = tmp_path / "pin"
    pin.touch(0o600)
    pin.write_text(PIN + "\n")
    configure(KEY_PROVIDER=TOKEN, PKCS11={"MODULE": MODULE, "TOKEN": softhsm(), "PIN_FILE": str(pin)})
    package_settings.key_provider.create("2026-10")  # type: ignore[attr-defined]
    opened = services.open_session(agent=Agent(name="bot"), purpose="tea")
    assert SessionKey.objects.get().master_key_id == "2026-10"
    assert selectors.authenticate(opened.token).session_id == opened.session_id
    services.end_session(opened.session_id)
    assert selectors.verify_session(opened.session_id).ok


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"KEY_PROVIDER": FILE}, "KEY_FILE"),
        ({"KEY_PROVIDER": FILE, "KEY_FILE": "/nowhere/keys.json"}, "make_master_key"),
        ({"KEY_PROVIDER": TOKEN}, "no MODULE"),
        ({"KEY_PROVIDER": TOKEN, "PKCS11": {"MODULE": "/m.so", "TOKEN": "t"}}, "no PIN_FILE"),
        ({"KEY_PROVIDER": TOKEN, "PKCS11": {"MODULE": "/m.so", "TOKEN": "t", "PIN_FILE": "/nowhere"}}, "/nowhere"),
    ],
)
def test_a_provider_without_what_it_needs_is_an_error(
    configure: Callable[..., None], changes: dict[str, Any], told: str
) -> None:
    """O3."""
    configure(**changes)
    (found,) = checks.check_keys(None)
    assert found.id == "agent_sessions.E005"
    assert told in found.msg


def test_a_pin_that_others_can_read_is_refused(tmp_path: Path, configure: Callable[..., None]) -> None:
    pin = tmp_path / "pin"
    pin.write_text("secret-pin")
    pin.chmod(0o644)
    configure(KEY_PROVIDER=TOKEN, PKCS11={"MODULE": "/m.so", "TOKEN": "t", "PIN_FILE": str(pin)})
    with pytest.raises(KeyProblem, match="chmod 600") as caught:
        _ = package_settings.key_provider
    assert "secret-pin" not in caught.value.message


def test_a_file_of_keys_in_the_project_is_warned_of(key_file: Path, settings: Any) -> None:
    """O3."""
    assert checks.check_keys(None) == []
    settings.BASE_DIR = key_file.parent
    (found,) = checks.check_keys(None)
    assert found.id == "agent_sessions.W010"
    settings.BASE_DIR = key_file.parent / "elsewhere"
    assert checks.check_keys(None) == []


@pytest.mark.parametrize(
    "changes", [{"KEY_FILE": 1}, {"PKCS11": {"MODULE": 1}}, {"ERASURE_HORIZON_DAYS": 0}, {"ERASURE_HORIZON_DAYS": "30"}]
)
def test_wrong_types_are_errors(configure: Callable[..., None], changes: dict[str, Any]) -> None:
    """O3."""
    configure(**changes)
    assert [found.id for found in checks.check_settings(None)] == ["agent_sessions.E002"]


def test_the_horizon_is_thirty_days_unless_it_is_set(configure: Callable[..., None]) -> None:
    """A7."""
    assert package_settings.erasure_horizon == timedelta(days=30)
    configure(ERASURE_HORIZON_DAYS=7)
    assert package_settings.erasure_horizon == timedelta(days=7)
