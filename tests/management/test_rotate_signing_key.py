"""manage.py rotate_signing_key: a new key, and the list of those that verify (A3)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError

from agent_sessions import services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.models import SiteKey
from tests.management.running import run
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db


def rotate(*arguments: str) -> list[list[str]]:
    """Run the command; return the words of each line."""
    return [line.split() for line in run("rotate_signing_key", *arguments).out.splitlines()]


def test_it_makes_a_new_key_and_retires_the_one_before(opened: Any) -> None:
    (first,) = services.signing_keys()

    lines = rotate()

    assert [(line[0], line[1], line[2]) for line in lines] == [
        (services.signing_keys()[0].key_id, "active", services.signing_keys()[0].public_key),
        (first.key_id, "retired", first.public_key),
    ]
    one = opened()
    services.end_session(one.session_id)
    assert verify_artifact(services.get_artifact(one.session_id), [read_public_key(lines[0][2])]).trusted


def test_list_makes_none() -> None:
    services.rotate_signing_key()
    services.rotate_signing_key()
    before = everything_stored()

    lines = rotate("--list")

    assert [line[1] for line in lines] == ["active", "retired"]
    assert everything_stored() == before


def test_without_a_master_key_it_refuses_with_a_sentence(configure: Any) -> None:
    configure(MASTER_KEYS={})

    with pytest.raises(CommandError, match="MASTER_KEYS"):
        rotate()

    assert SiteKey.objects.count() == 0
