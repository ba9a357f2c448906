"""What a shop has given out through its database verifies for ever, also in the other verifier (A3, A4, A7).

The files were made by the version in ``made-by.txt`` (``tests.golden.make_database``) and are never made over.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.leaf import parse_leaf
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash, verify_consistency
from agent_sessions.audit.notes import Policy, open_checkpoint
from agent_sessions.audit.submissions import Submission, head_file, read_submission
from agent_sessions.audit.verify import Verification, main, verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witnessing import Witness
from agent_sessions.crypto.encoding import to_base64
from agent_sessions.crypto.signing import read_public_key
from tests.golden.make import HERE

FILES = HERE / "database"
SITE_KEY = read_public_key((FILES / "site-key.txt").read_text())
LOG_KEY = read_vkey((FILES / "log-key.txt").read_text())
WITNESS_KEY = read_vkey((FILES / "witness-key.txt").read_text())
LEAVES = (FILES / "leaves.jsonl").read_bytes().splitlines()
HEADS = [read_submission(file.read_bytes()) for file in sorted((FILES / "heads").iterdir())]
NAMES = ["bought.json", "erased.json"]


def verified(name: str) -> Verification:
    trust = LogTrust(Policy((LOG_KEY,), (WITNESS_KEY,), quorum=1), required=True)
    return verify_artifact((FILES / name).read_bytes(), [SITE_KEY], log=trust)


def options(folder: Path) -> list[str]:
    """Ask for all that can be asked: site, log, witness, and a head that was kept before, with the proof from there."""
    older, newest = HEADS[-2:]
    (folder / "head.txt").write_text(older.note)
    (folder / "proof.txt").write_text("".join(f"{to_base64(one)}\n" for one in newest.proof))
    return [
        "--key", str(FILES / "site-key.txt"), "--log-key", str(FILES / "log-key.txt"),
        "--witness-key", str(FILES / "witness-key.txt"), "--require-witness", "1", "--require-inclusion",
        "--checkpoint", str(folder / "head.txt"), "--consistency", str(folder / "proof.txt"),
    ]  # fmt: skip


def test_what_was_bought_verifies() -> None:
    found = verified("bought.json")
    assert (found.ok, found.trusted, found.problems, found.erased) == (True, True, [], [])
    assert (found.event_count, found.withheld) == (5, 0)
    assert found.logged is not None
    assert [name for name, _ in found.logged.witnesses] == ["witness.example/golden"]


def test_what_was_erased_verifies_and_says_so() -> None:
    """A7"""
    found = verified("erased.json")
    assert (found.ok, found.trusted, found.opened) == (True, True, 0)
    assert [one.data_class for one in found.erased] == ["content", "personal"]
    assert b"Ana" not in (FILES / "erased.json").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_both_verifiers_say_so(name: str, tmp_path: Path, capsys: Any) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH: the independent verifier needs it")
    document = json.loads((FILES / name).read_bytes())
    document["inclusion"]["leaf_index"] ^= 1
    (tmp_path / "forged.json").write_bytes(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())
    for file, code in ((FILES / name, 0), (tmp_path / "forged.json", 1)):
        arguments = [str(file), *options(tmp_path)]
        command = [node, str(HERE.parent / "independent" / "verify.mjs"), *arguments]
        assert main(arguments) == code, capsys.readouterr().out
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == code


def test_the_log_can_be_made_again_from_its_leaves() -> None:
    for leaf in LEAVES:
        parse_leaf(leaf)
    before: Submission | None = None
    for submission in HEADS:
        head = open_checkpoint(submission.note, [LOG_KEY]).checkpoint
        assert head.root == grow(Frontier(), map(leaf_hash, LEAVES[: head.size]))[0].root()
        known = (submission.old, before.head.root) if before else (0, Frontier().root())
        assert verify_consistency(known[0], head.size, known[1], head.root, submission.proof)
        before = submission
    assert before is not None
    assert before.head.size == len(LEAVES)
    newest = open_checkpoint((FILES / "newest-head.txt").read_text(), [LOG_KEY, WITNESS_KEY])
    assert (newest.checkpoint, [key for key, _ in newest.cosigned]) == (before.head, [WITNESS_KEY])


def test_a_witness_of_today_follows_it(tmp_path: Path) -> None:
    Witness.create(tmp_path / "home", "witness.example/today")
    witness = Witness(tmp_path / "home")
    witness.add_log(LOG_KEY)
    for submission in HEADS:
        assert witness.consider(submission).is_by(witness.key)
        assert (FILES / "heads" / head_file(submission.head.size)).is_file()
