"""A real browser obeys nothing that strangers wrote into a session, and its pages keep their shape (O1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.addresses import readable
from tests.admin.conftest import reveal
from tests.browser.conftest import Browser
from tests.hostile import ATTACK, hostile_session


@pytest.mark.parametrize("revealed", [False, True])
def test_nothing_is_obeyed_and_nothing_sticks_out(
    officer: Browser, shop: str, opened: Callable[..., Any], settings: Any, revealed: bool
) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    one = hostile_session(opened, "SENCHA-50G")
    client = Client()
    client.force_login(User.objects.get())
    if revealed:
        reveal(client, one.session_id, reason=ATTACK)
    found = []
    for name, address in readable(client, one.session_id).items():
        officer.open(shop + address)
        for width in (320, 1280):
            officer.resize(width, 900)
            found += [f"{name} at {width}: {sticking}" for sticking in officer.overflows]
            officer.shot(f"hostile-{name}-{width}")
        found += [f"{name}: {complaint}" for complaint in officer.complaints()]
    assert not found, "\n".join(found)
