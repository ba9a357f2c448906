"""``make demo`` and ``make serve``, as far as they are Python: a process of its own on a new database."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_sessions.audit.verify import verify_artifact
from agent_sessions.sinks import DirectorySink
from shop_demo.web import fetch

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: int) -> Start:
    """Start ``manage.py demo`` with these options, in a folder and on a database that last for the test."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment |= {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "SITE_URL": f"http://localhost:{port}",
        "LOG_DIRECTORY": str(tmp_path / "demo-log"),
        "PYTHONUNBUFFERED": "1",
    }

    def run(*options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, ROOT / "manage.py", "demo", *options],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_demo_sells_something_and_ends_and_can_be_run_again(start: Start, tmp_path: Path) -> None:
    for _ in range(2):
        with running(start("--once")) as demo:
            told, _ = demo.communicate(timeout=PATIENCE)

        assert demo.returncode == 0, told
        assert "All of it worked." in told
        assert "Traceback" not in told
        verified = verify_artifact((tmp_path / "demo-record.json").read_bytes())
        assert verified.ok
        assert verified.logged is not None, "A4: the record holds the proof that it is in the log"
        heads = DirectorySink("directory", tmp_path / "demo-log").heads(verified.logged.log)
        assert verified.logged.tree_size in [head.head.size for head in heads]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_shop_stays_open_until_it_is_told_to_close(start: Start, port: int, how: signal.Signals) -> None:
    with running(start("--no-agent")) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Ctrl-C closes it" in line:
                break
        assert fetch("GET", f"http://localhost:{port}/").status == 200
        assert fetch("GET", f"http://localhost:{port}/static/shop_demo/shop.css").status == 200

        demo.send_signal(how)
        told, _ = demo.communicate(timeout=PATIENCE)

    assert demo.returncode == 0
    assert told.endswith("The shop is closed.\n")
    with socket.socket() as anew:
        anew.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        anew.bind(("127.0.0.1", port))


def test_a_busy_port_is_said_before_anything_is_set_up(start: Start, port: int, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with running(start()) as demo:
            told, _ = demo.communicate(timeout=PATIENCE)

    assert demo.returncode == 1
    assert f"Port {port} is in use" in told
    assert f"make demo PORT={port + 1}" in told
    assert not (tmp_path / "db.sqlite3").exists()


def test_with_debug_off_the_demo_does_not_run(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "DEBUG": "false",
        "SECRET_KEY": "long enough for a site that is not there " * 2,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
    }
    demo = subprocess.run(
        [sys.executable, ROOT / "manage.py", "demo"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert demo.returncode == 1
    assert "it needs DEBUG on" in demo.stderr
