"""Every type that values are read into is ready once its module is imported: no two threads make it so at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FRESH = """
import ast, importlib, pathlib, sys

import django
import msgspec

django.setup()


def read_into(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "convert" and len(node.args) > 1:
                yield node.args[1]
            elif node.func.attr == "decode":
                yield from (one.value for one in node.keywords if one.arg == "type")


def is_ready(shape):
    asked = []

    def note(frame, event, _):
        if event == "call" and "msgspec" in frame.f_code.co_filename:
            asked.append(frame)

    sys.setprofile(note)
    msgspec.json.Decoder(shape)
    sys.setprofile(None)
    return not asked


class Control(msgspec.Struct):
    name: str


assert not is_ready(Control), "what tells that a type is not ready has changed"
assert is_ready(Control)
found = []
for file in sorted(pathlib.Path("agent_sessions").rglob("*.py")):
    for what in read_into(ast.parse(file.read_text())):
        module = importlib.import_module(".".join(file.with_suffix("").parts))
        name = ast.unparse(what)
        shape = getattr(module, name, None)
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            found.append((name, shape))
        elif name not in ("dict", "datetime", "dict[str, Any]", "Time"):
            found.append((f"{module.__name__}: {name}", None))
for name, shape in found:
    print(name, "" if shape is None else "ready" if is_ready(shape) else "not ready", sep="; ")
"""


def test_no_type_is_made_ready_by_the_first_value_that_is_read_into_it() -> None:
    """msgspec takes no lock for it: of two threads that are first at once, one ends the process."""
    settings = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = dict(line.split("; ") for line in done.stdout.splitlines())

    slices = {"agent_sessions.domain.state: shape", "agent_sessions.domain.tellers.making: shape"}
    assert {name for name, state in told.items() if not state} == slices, "parts of SessionState; of others, say here"
    assert {"SessionState", "StateDocument", "Jwk", "Shopping"} <= told.keys()
    assert {name for name, state in told.items() if state == "not ready"} == set()
