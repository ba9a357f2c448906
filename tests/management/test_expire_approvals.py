"""manage.py expire_approvals: what the beat does, for those who have none (L5)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions.models import Approval
from agent_sessions.services import Requested
from tests.management.running import run
from tests.services.asking import ask, cart_of
from tests.store.calling import shop
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db
__all__ = ["shop"]


@pytest.fixture
def lapsed(clock: Any, shop: Any, opened: Any, configure: Any) -> list[Requested]:
    """Three approvals whose window has passed, and then one that is open."""
    configure(TTL={"approval": 300})
    asked = [ask(cart_of(opened)) for _ in range(3)]
    clock.shift(300)
    return [*asked, ask(cart_of(opened))]


def statuses() -> list[str]:
    return list(Approval.objects.order_by("pk").values_list("status", flat=True))


def test_it_closes_all_that_lapsed_in_batches(lapsed: list[Requested]) -> None:
    assert run("expire_approvals", "--batch", "2") == (0, "3 expired\n", "2 expired so far\n3 expired so far\n")
    assert statuses() == ["expired", "expired", "expired", "pending"]
    assert run("expire_approvals")[:2] == (0, "0 expired\n")


def test_a_dry_run_counts_and_changes_nothing(lapsed: list[Requested]) -> None:
    before = everything_stored()
    assert run("expire_approvals", "--dry-run") == (0, "3 to expire\n", "")
    assert everything_stored() == before
