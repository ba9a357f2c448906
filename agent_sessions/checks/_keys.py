"""Where master keys are, and the database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router

from agent_sessions.checks._settings import check_settings
from agent_sessions.conf import settings
from agent_sessions.exceptions import AgentSessionsError

_DATABASES = ("postgresql", "sqlite")


@register(Tags.security)
def check_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E005, W001 and W010: whether there is a safe master key. Nothing works with an unsafe one outside DEBUG."""
    if check_settings(None):
        return []  # one thing at a time: a wrong setting is reported there
    try:
        _ = settings.key_provider
    except AgentSessionsError as problem:
        return [_no_key(f"There is no safe master key: {problem.message}")]
    except Exception as problem:  # noqa: BLE001 - the host's provider may fail with anything; its text may hold a key
        return [_no_key(f"AGENT_SESSIONS['KEY_PROVIDER'] gives no provider ({type(problem).__name__}).")]
    if not settings.master_keys and settings.uses_settings_keys and django_settings.DEBUG:
        return [
            Warning(
                "No master key is set; a development key derived from SECRET_KEY is used.",
                hint="Set AGENT_SESSIONS['MASTER_KEYS'] before DEBUG is turned off: without it nothing works then.",
                id="agent_sessions.W001",
            )
        ]
    inside = _inside_project(settings.key_file)
    if inside:
        return [
            Warning(
                f"AGENT_SESSIONS['KEY_FILE'] is inside the project's folder ({inside}).",
                hint="Move it to where neither the repository nor the backup of the database takes it along.",
                id="agent_sessions.W010",
            )
        ]
    return []


def _inside_project(path: str) -> str:
    """Return the project's folder if the path is in it and the project says which folder that is (BASE_DIR)."""
    folder = getattr(django_settings, "BASE_DIR", None)
    return str(folder) if path and folder and Path(path).resolve().is_relative_to(Path(folder).resolve()) else ""


def _no_key(message: str) -> CheckMessage:
    return Error(
        message,
        hint="Until there is a key, every session is refused. docs/settings.md tells how to make one, or to name a "
        "callable without arguments that returns a KeyProvider.",
        id="agent_sessions.E005",
    )


@register(Tags.database)
def check_database(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E006: the database of the sessions is one that the package works on."""
    from agent_sessions.models import Session

    vendor = connections[router.db_for_write(Session)].vendor
    if vendor in _DATABASES:
        return []
    return [
        Error(
            f"agent_sessions does not work on {vendor}.",
            hint="Route its models to PostgreSQL (production) or SQLite (development, small shops).",
            id="agent_sessions.E006",
        )
    ]
