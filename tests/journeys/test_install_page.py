"""docs/install.md is followed word for word: its files are written, its commands are run, its agent buys."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shop_demo.human import Human
from shop_demo.web import Problem, fetch

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60
STEP = re.compile(
    r"^(?:At the end of )?`(?P<file>[^`\n]+)`\n\n```(?:python|html)\n(?P<text>.*?)```"
    r"|^```console\n(?P<commands>.*?)```",
    re.DOTALL | re.MULTILINE,
)
NOT_HERE = ("-m venv", "pip install", "createsuperuser")
"""The tests have a Python with everything in it; and nobody is there to be asked for a password."""


def test_the_page_leads_to_a_shop_in_which_an_agent_buys(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = (ROOT / "docs" / "install.md").read_text().replace("localhost:8000", f"localhost:{port}")
    before, after = page.split("manage.py runserver\n```")
    during, last = after.split("## 8.")

    told = follow(before, tmp_path)
    assert "agent_sessions.W001" in told
    assert told.count("HINT") == told.count("agent_sessions.W001"), "the page says that check names one thing"
    with running(tmp_path, port):
        told = follow(during, tmp_path)
        answers = [json.loads(line) for line in told.splitlines() if line.startswith('{"')]
        assert [answer["ok"] for answer in answers] == [True, True, True, False, True]
        assert "Good: session" in told
        assert "which you gave." in told
        human = Human()
        shown = human.open(answers[-1]["data"]["handoff_url"])
        form = shown.form_with("email")
        assert form is not None, shown.text
        ordered = human.send(shown, form, email="ada@example.com")
        again = human.send(shown, form, email="ada@example.com")
    assert "over 2500 cents is with us" in ordered.text
    assert "It has become order" in again.text
    assert "Unapplying agent_sessions.0001_initial" in follow(last, tmp_path)


def follow(page: str, folder: Path) -> str:
    """Do what a part of the page says; return what its commands print."""
    script = []
    for step in STEP.finditer(page):
        if step["commands"] is None:
            text = step["text"].replace("'", "'\\''")
            sign = ">>" if step["file"].endswith("settings.py") else ">"
            script.append(f"mkdir -p $(dirname {step['file']}); printf '%s' '{text}' {sign} {step['file']}")
            continue
        script += [
            line[2:] + "; echo" if line.startswith("$ curl") else line[2:]
            for line in step["commands"].splitlines()
            if line.startswith("$ ") and not any(words in line for words in NOT_HERE)
        ]
    text = re.sub(r"(\.venv/bin/python|\bpython3)\b", sys.executable, "\n".join(script))
    text = text.replace(".venv/bin/agent-sessions-verify", f"{sys.executable} -m agent_sessions.audit.verify")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def running(folder: Path, port: int) -> Iterator[None]:
    server = subprocess.Popen(
        [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
        cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port):
            assert server.poll() is None, "The server has ended."
            assert time.monotonic() < deadline, "The server does not answer."
            time.sleep(0.05)
        yield
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    try:
        return fetch("GET", f"http://localhost:{port}/.well-known/agents.json").status == 200
    except Problem:
        return False


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
