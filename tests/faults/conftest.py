from __future__ import annotations

import os
import random

import pytest
from django.db import connection

from tests.store.calling import shop

__all__ = ["shop"]


@pytest.fixture(autouse=True)
def _only_where_it_can_run(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("it is about PostgreSQL: set DATABASE_URL")


@pytest.fixture
def dice() -> random.Random:
    """Random moments that can be had again: run with the FAULTS_SEED that the test printed."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULTS_SEED={seed}")
    return random.Random(seed)
