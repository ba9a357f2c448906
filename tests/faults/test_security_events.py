"""A security event while sessions are opened and written, twice at once, and killed at any point (T3, A8, R3)."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.conf import settings as package_settings
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import InvalidToken, SessionEnded, SessionRevoked
from agent_sessions.models import Session, SiteKey
from agent_sessions.selectors import _cache
from tests.faults.support import Child, at_once, line
from tests.services.keeping_keys import key_file, wrapped_by
from tests.services.test_key_rotation import events

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["key_file"]
AGENT = Agent("Shopper", "1.0", "Example")
REASON = "a laptop was stolen"


def answer() -> services.SecurityReport:
    return services.answer_security_event(reason=REASON)


def writing(session_id: uuid.UUID) -> Callable[[], int]:
    """Write until refused; the last version that was acknowledged."""

    def write() -> int:
        version = 1
        while version < 500:
            try:
                services.change_session(session_id, expected_version=version, patch=line(f"mug-{version % 5}"))
            except (SessionRevoked, SessionEnded):
                break
            version += 1
        return version

    return write


def opening() -> list[services.OpenedSession]:
    return [services.open_session(agent=AGENT) for _ in range(10)]


def test_two_at_once_and_traffic(key_file: Path) -> None:
    """T3: nobody fails, no token of before is accepted, and what was acknowledged is in the history."""
    services.signing_keys()
    before = [services.open_session(agent=AGENT, state=line("pot")) for _ in range(3)]

    results: list[Any] = at_once([answer, answer, *(writing(one.session_id) for one in before), opening])

    assert [result for result in results if isinstance(result, Exception)] == []
    assert services.end_revoked_sessions() >= 0  # those that were being opened
    _cache.local.clear()
    for one, version in zip(before, results[2:5], strict=True):
        with pytest.raises(InvalidToken):
            selectors.authenticate(one.token)
        assert selectors.verify_session(one.session_id).ok
        head = selectors.read_head(one.session_id)
        assert (head.end_reason, head.version) == ("revoked", version + 1)  # its end is a version too
    for one in results[5]:
        head = selectors.read_head(one.session_id)
        if head.is_live():
            assert selectors.authenticate(one.token).session_id == one.session_id
        else:
            assert head.end_reason == "revoked"
    assert not Session.objects.filter(status="active", token_key__revoked_at__isnull=False).exists()
    for purpose in ("token", "artifact", "log"):
        assert SiteKey.objects.filter(purpose=purpose, retired_at__isnull=True).count() == 1
    services.rewrap()
    assert wrapped_by() == {package_settings.key_provider.active_id}
    assert sorted(event["phase"] for event in events("security.event")) == ["began", "began", "finished", "finished"]


def test_killed_in_the_middle_it_is_gone_on_with(key_file: Path) -> None:
    """R3: by SIGKILL, after each sentence that it tells in turn."""
    sessions = [services.open_session(agent=AGENT) for _ in range(3)]
    for sentence in ("Every token is worthless", "wraps from now on", "signed with new keys", "sessions ended"):

        def work(tell: Callable[..., None], until: str = sentence) -> None:
            def hang(told: str) -> None:
                if until in told:
                    tell(told.replace(" ", "_"))
                    signal.pause()

            services.answer_security_event(reason=REASON, tell=hang)

        with Child(work) as child:
            while len(child.told) < 2:  # "ready", and the sentence
                assert child.hear()
            child.kill()
            assert child.wait() == signal.SIGKILL
        report = services.resume_security_event()
        assert (report.resumed, report.left, report.still_old) == (True, 0, 0)
        for one in sessions:
            with pytest.raises(InvalidToken):
                selectors.authenticate(one.token)
            assert selectors.read_head(one.session_id).end_reason == "revoked"
        assert wrapped_by() == {report.master_key}
        sessions = [services.open_session(agent=AGENT) for _ in range(3)]
    assert [event["phase"] for event in events("security.event")] == ["began", "finished"] * 4
    assert SiteKey.objects.filter(purpose="token").count() == 5
    assert len(package_settings.key_provider.master_ids()) == 5  # type: ignore[attr-defined]
