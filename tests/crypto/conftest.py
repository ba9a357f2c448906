from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def vectors() -> Path:
    """The folder of outside test vectors, which the project does not copy."""
    found = os.environ.get("AGENT_SESSIONS_VECTORS")
    if not found:
        pytest.skip("AGENT_SESSIONS_VECTORS is not set: it names the folder of the outside test vectors")
    return Path(found)
