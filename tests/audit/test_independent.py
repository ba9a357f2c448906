"""The verifier in Node, written from the format alone, has to come to the same verdicts."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.verify import main
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.signing import new_signing_key, public_key_text
from tests.audit.conftest import Change, chained_again, changed, signed_again
from tests.audit.test_verify import NAMED, PLACES, SIGNED
from tests.golden.make import HERE, SITE_PUBLIC

VERIFIER = HERE.parent / "independent" / "verify.mjs"
Node = Callable[..., int]


@pytest.fixture
def node() -> Node:
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not on PATH: the independent verifier needs it")

    def run(*arguments: str | Path) -> int:
        done = subprocess.run([program, VERIFIER, *arguments], capture_output=True, check=False, timeout=60)
        assert done.returncode in (0, 2, 3) or done.stdout.startswith(b"NOT GOOD"), done.stderr
        return done.returncode

    return run


@pytest.mark.parametrize("name", ["shopping.json", "withheld.json", "empty.json", "empty-answer.json"])
def test_goldens(node: Node, name: str) -> None:
    other = public_key_text(new_signing_key()[1])
    for arguments, code in (
        (("--key", public_key_text(SITE_PUBLIC)), 0),
        (("--key", HERE / "site-key.txt"), 0),
        (("--key", other, "--key", HERE / "site-key.pem"), 0),
        (("--key", other), 1),
        ((), 3),
        (("--key", "nonsense"), 2),
    ):
        assert node(HERE / name, *arguments) == code
        assert main([str(HERE / name), *map(str, arguments)]) == code


def _both(change: Change, *repairs: Change) -> Change:
    def forge(document: dict[str, Any]) -> None:
        for step in (change, *repairs):
            step(document)

    return forge


def test_tampering(node: Node, artifact: dict[str, Any], tmp_path: Path) -> None:
    forgeries = {
        **{name: case for name, case, _ in NAMED},
        **{f"signed {name}": _both(case, signed_again) for name, case, _ in SIGNED},
        **{f"chained {name}": _both(case, chained_again, signed_again) for name, case, _ in PLACES},
    }
    files = []
    for number, (name, change) in enumerate(forgeries.items()):
        file = tmp_path / f"{number}.json"
        file.write_bytes(changed(artifact, change))
        files.append((name, file))
    with ThreadPoolExecutor(2) as pool:
        codes = pool.map(lambda pair: (pair[0], node(pair[1], "--key", HERE / "site-key.txt")), files)
        assert {name: code for name, code in codes if code != 1} == {}


def test_other_spellings(node: Node, artifact: dict[str, Any], tmp_path: Path) -> None:
    raw = canonical_bytes(artifact)
    file = tmp_path / "other.json"
    for other in (
        json.dumps(artifact).encode(),
        json.dumps(artifact, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(),
        raw + b"\n",
        b"\xef\xbb\xbf" + raw,
        raw[:-1],
        raw.replace(b"kite-7", b"kite\xff7"),
        raw.replace(b"kite-7", b"\\ud8007"),
        raw.replace(b'"quantity":1', b'"quantity":1.5'),
        raw.replace(b'"quantity":1', b'"quantity":9007199254740993'),
    ):
        file.write_bytes(other)
        assert node(file, "--key", HERE / "site-key.txt") == 1


@pytest.mark.parametrize(("levels", "code"), [(64, 0), (65, 1)])
def test_depth(node: Node, artifact: dict[str, Any], tmp_path: Path, levels: int, code: int) -> None:
    def nest(document: dict[str, Any]) -> None:
        for _ in range(levels):
            document["events"][2]["params"] = {"a": document["events"][2]["params"]}

    file = tmp_path / "deep.json"
    file.write_bytes(changed(artifact, _both(nest, chained_again, signed_again)))
    assert node(file, "--key", HERE / "site-key.txt") == code
    assert main([str(file), "--key", str(HERE / "site-key.txt")]) == code
