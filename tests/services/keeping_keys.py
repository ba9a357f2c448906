"""Master keys for tests: in a file, in the settings."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import QuerySet

from agent_sessions.crypto.key_files import add_master_key
from agent_sessions.models import SessionKey, SiteKey
from agent_sessions.selectors import Dependents

FILE = "agent_sessions.conf.file_key_provider"
NOTHING = Dependents(content={}, personal={}, site_keys={}, live_tokens=0)
"""What hangs on a master key that can go."""


@pytest.fixture
def key_file(tmp_path: Path, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of keys, which the site uses; 2026-10 is active. A key that was replaced can be destroyed at once."""
    monkeypatch.setattr("agent_sessions.services.master_keys.SETTLED", timedelta(0))
    path = tmp_path / "keys.json"
    add_master_key(path, "2026-10")
    configure(KEY_PROVIDER=FILE, KEY_FILE=str(path))
    return path


def in_settings(*ids: str) -> dict[str, str]:
    """MASTER_KEYS of these ids, each always with the same key."""
    return {name: base64.b64encode(bytes((ord(name[-1]) * 7 + at) % 256 for at in range(32))).decode() for name in ids}


def wrapped_site_keys() -> QuerySet[SiteKey]:
    """The site's keys but those of tokens, which are derived and not wrapped."""
    return SiteKey.objects.exclude(purpose=SiteKey.Purpose.TOKEN)


def wrapped_by() -> set[str]:
    """Ids of the master keys that anything is wrapped with."""
    tables: Iterable[Iterable[str]] = (
        SessionKey.objects.values_list("master_key_id", flat=True),
        wrapped_site_keys().values_list("master_key_id", flat=True),
    )
    return {name for table in tables for name in table}
