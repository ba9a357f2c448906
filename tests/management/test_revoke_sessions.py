"""manage.py revoke_sessions: the answer to a security event (T3)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError

from agent_sessions import selectors
from agent_sessions.exceptions import InvalidToken
from agent_sessions.models import SiteKey
from agent_sessions.services import expiry
from tests.management.running import run
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def revoke(*arguments: str) -> str:
    """Run the command; return what it printed."""
    return run("revoke_sessions", *arguments).out


def test_it_ends_every_session_and_keeps_the_reason(opened: Any) -> None:
    sessions = [opened() for _ in range(2)]

    assert revoke("--reason", "a laptop was stolen") == "2 sessions ended\n"

    for one in sessions:
        assert selectors.read_head(one.session_id).end_reason == "revoked"
        with pytest.raises(InvalidToken):
            selectors.authenticate(one.token)
    assert SiteKey.objects.get(revoked_at__isnull=False).reason == "a laptop was stolen"


def test_an_interrupted_run_is_resumed_and_revokes_nothing_new(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3, R3"""
    opened()
    with monkeypatch.context() as patched:
        patched.setattr(expiry, "end_session", _power_failure)
        with pytest.raises(RuntimeError):
            revoke("--reason", "a laptop was stolen")
    new = opened()

    assert revoke("--resume") == "1 sessions ended\n"

    assert selectors.authenticate(new.token).is_live()
    assert SiteKey.objects.filter(purpose="token").count() == 2
    assert revoke("--resume") == "0 sessions ended\n"


@pytest.mark.parametrize("arguments", [[], ["--reason", ""], ["--reason", "r" * 201]])
def test_without_a_reason_it_refuses_with_a_sentence(opened: Any, arguments: list[str]) -> None:
    """T3: an error of the caller is no traceback."""
    opened()
    before = everything_stored()

    with pytest.raises(CommandError, match="200 characters"):
        revoke(*arguments)

    assert everything_stored() == before


def _power_failure(*args: object, **kwargs: object) -> None:
    raise RuntimeError("power failure")
