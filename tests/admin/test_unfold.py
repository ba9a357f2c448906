"""The pages open in django-unfold's admin, on which nothing of the package depends (O1)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import agent_sessions

ROOT = Path(agent_sessions.__file__).parent.parent


def test_every_page_opens_in_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds=tests.unfolded"]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [*command, "tests/admin/under_unfold.py"],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
