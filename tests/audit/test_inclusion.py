"""The proof in an artifact that its session is in the log, as both verifiers check it (A3, A4)."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.artifact import build_artifact
from agent_sessions.audit.inclusion import Logged, LogTrust
from agent_sessions.audit.leaf import session_leaf
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash
from agent_sessions.audit.notes import (
    Checkpoint,
    Policy,
    add_signatures,
    cosign,
    hash_lines,
    parse_checkpoint,
    parse_note,
    read_hashes,
    sign_checkpoint,
)
from agent_sessions.audit.proofs import Inclusion, LogProof
from agent_sessions.audit.verify import main, verify_artifact
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.encoding import to_base64
from agent_sessions.crypto.signing import new_signing_key, sign
from agent_sessions.exceptions import InvalidValue, NoteRefused
from tests.audit.conftest import Change, changed
from tests.golden.make import HERE, SITE_PUBLIC, empty, shopping
from tests.golden.make_log import (
    LOG_KEY,
    LOG_PRIVATE,
    ORIGIN,
    WITNESS_KEY,
    WITNESSED_AT,
    inclusion,
    leaves,
    log_goldens,
    logged_artifact,
)

LOG = HERE / "log"
POLICY = Policy((LOG_KEY,), (WITNESS_KEY,), quorum=1)
TRUST = LogTrust(POLICY, required=True)
HEAD_7 = (LOG / "head-7.txt").read_text()
CONSISTENCY = log_goldens()["log/consistency-4-7.txt"]
KEYS = ("--key", str(HERE / "site-key.txt"))
LOG_OPTIONS = ("--log-key", str(LOG / "log-key.txt"), "--witness-key", str(LOG / "witness-key.txt"))
STRICT = (*KEYS, *LOG_OPTIONS, "--require-witness", "1", "--require-inclusion")
VERIFIER = HERE.parent / "independent" / "verify.mjs"


def code_of(raw: bytes, trust: LogTrust | None = TRUST) -> str:
    found = verify_artifact(raw, [SITE_PUBLIC], log=trust)
    assert found.ok is not bool(found.problems)
    return found.problems[0].code if found.problems else "good"


def document(size: int = 7) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(logged_artifact(size))
    return found


def forged_head(size: int, leaf_hashes: list[bytes], private: bytes = LOG_PRIVATE, name: str = ORIGIN) -> str:
    """A head of another history, signed with the log's key: what a thief of the key can make."""
    frontier, _ = grow(Frontier(), leaf_hashes[:size])
    key = NoteKey(name, SIGNS, LOG_KEY.public)
    return sign_checkpoint(Checkpoint(name, size, frontier.root()), key, partial(sign, private))


@pytest.mark.parametrize("name", sorted(log_goldens()))
def test_the_format_has_not_changed(name: str) -> None:
    assert (HERE / name).read_bytes() == log_goldens()[name]


def test_a_logged_session_is_found_with_its_witness() -> None:
    found = verify_artifact(logged_artifact(7), [SITE_PUBLIC], log=TRUST)
    assert (found.ok, found.trusted, found.problems) == (True, True, [])
    assert found.logged == Logged(ORIGIN, 3, 7, True, ((WITNESS_KEY.name, WITNESSED_AT + 7),))
    assert inclusion(7).proof.proves(leaves()[3])


def test_without_a_log_key_the_proof_is_checked_by_itself_only() -> None:
    found = verify_artifact(logged_artifact(7), [SITE_PUBLIC])
    assert (found.ok, found.logged) == (True, Logged(ORIGIN, 3, 7, False))
    other = document()
    other["inclusion"]["hashes"][0] = to_base64(bytes(32))
    assert code_of(canonical_bytes(other), None) == "bad_proof"


def test_without_a_proof_nothing_changes_unless_one_is_asked_for() -> None:
    bare = (HERE / "shopping.json").read_bytes()
    assert code_of(bare, None) == code_of(bare, LogTrust(Policy((LOG_KEY,)))) == "good"
    assert code_of(bare, LogTrust(Policy((LOG_KEY,)), required=True)) == "no_inclusion"
    assert code_of(bare, LogTrust(POLICY)) == "no_inclusion"
    assert verify_artifact(bare, [SITE_PUBLIC]).logged is None


def test_every_changed_byte_of_the_proof_is_found() -> None:
    raw = logged_artifact(7)
    start, end = raw.index(b'"inclusion"'), raw.index(b'"openings"')
    for place in range(start, end):
        for bit in (1, 32):
            assert not verify_artifact(
                raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :], [SITE_PUBLIC], log=TRUST
            ).ok, place


def _set(path: str, value: object) -> Change:
    def change(document: dict[str, Any]) -> None:
        *parents, name = path.split(".")
        place = document["inclusion"]
        for parent in parents:
            place = place[parent]
        place[name] = value

    return change


def _drop_hash(document: dict[str, Any]) -> None:
    del document["inclusion"]["hashes"][-1]


def _add_hash(document: dict[str, Any]) -> None:
    document["inclusion"]["hashes"].append(to_base64(bytes(32)))


def _other_leaf(number: int) -> Change:
    return _set("leaf", json.loads(leaves()[number]))


def _without_witness(document: dict[str, Any]) -> None:
    note = document["inclusion"]["checkpoint"].splitlines(keepends=True)
    document["inclusion"]["checkpoint"] = "".join(note[:-1])


def _by_a_stranger(document: dict[str, Any]) -> None:
    private, public = new_signing_key()
    head = parse_checkpoint(parse_note(document["inclusion"]["checkpoint"]).text)
    document["inclusion"]["checkpoint"] = sign_checkpoint(head, NoteKey(ORIGIN, SIGNS, public), partial(sign, private))


FORGED: list[tuple[str, Change, str]] = [
    ("another index", _set("leaf_index", 2), "bad_proof"),
    ("an index beyond", _set("leaf_index", 7), "bad_proof"),
    ("another size", _set("tree_size", 8), "bad_checkpoint"),
    ("a hash less", _drop_hash, "bad_proof"),
    ("a hash more", _add_hash, "bad_proof"),
    ("no hashes", _set("hashes", []), "bad_proof"),
    ("an earlier leaf of the session", _other_leaf(1), "bad_leaf"),
    ("another session's leaf", _other_leaf(2), "bad_leaf"),
    ("a generation's leaf", _other_leaf(0), "bad_leaf"),
    ("another number", _set("leaf.seq", 6), "bad_leaf"),
    ("another head", _set("leaf.head", "00" * 32), "bad_leaf"),
    ("another log in the leaf", _set("leaf.log", "other.example/log"), "bad_checkpoint"),
    ("a member more", _set("more", 1), "unknown_member"),
    ("a member of the leaf more", _set("leaf.more", 1), "bad_leaf"),
    ("an older head", _set("checkpoint", (LOG / "head-4.txt").read_text()), "bad_checkpoint"),
    ("no note", _set("checkpoint", "nothing"), "bad_checkpoint"),
    ("a stranger's signature", _by_a_stranger, "bad_checkpoint"),
    ("no witness", _without_witness, "bad_checkpoint"),
]


@pytest.mark.parametrize(("change", "code"), [case[1:] for case in FORGED], ids=[case[0] for case in FORGED])
def test_a_forged_proof_is_found(change: Change, code: str) -> None:
    assert code_of(changed(document(), change)) == code


def test_the_log_does_not_help_an_artifact_that_is_not_good() -> None:
    assert code_of(changed(document(), lambda one: one["events"][1].update(kind="cart.viewed"))) == "broken_chain"


def trust_with(head: str, proof: bytes | None = CONSISTENCY) -> LogTrust:
    lines = None if proof is None else proof.decode().split()
    return LogTrust(POLICY, True, head, None if lines is None else tuple(read_hashes(lines)))


def test_a_head_from_elsewhere_has_to_be_of_the_same_history() -> None:
    raw = logged_artifact(4)
    assert code_of(raw, trust_with(HEAD_7)) == "good"
    assert code_of(logged_artifact(7), trust_with((LOG / "head-4.txt").read_text())) == "good"
    assert code_of(logged_artifact(7), trust_with(HEAD_7, None)) == "good"
    assert code_of(raw, trust_with(HEAD_7, None)) == "no_consistency"
    assert code_of(raw, trust_with(HEAD_7, b"")) == "inconsistent"
    assert code_of(raw, trust_with(HEAD_7.replace("7\n", "8\n", 1))) == "bad_head"


def test_rewritten_history_is_found_by_whoever_kept_a_head() -> None:
    """A stolen key signs anything, but cannot make two histories fit (rewrite and split view in the attack matrix)."""
    hashes = [leaf_hash(leaf) for leaf in leaves()]
    other = [hashes[0], leaf_hash(b"another session"), *hashes[2:]]
    assert code_of(logged_artifact(7), trust_with(forged_head(7, other))) == "inconsistent"
    assert code_of(logged_artifact(4), trust_with(forged_head(7, other))) == "inconsistent"
    assert code_of(logged_artifact(4), trust_with(forged_head(7, hashes))) == "good"
    elsewhere = forged_head(7, hashes, name="shop.example/other")
    policy = Policy((LOG_KEY, NoteKey("shop.example/other", SIGNS, LOG_KEY.public)), (WITNESS_KEY,), 1)
    assert code_of(logged_artifact(4), LogTrust(policy, True, elsewhere)) == "inconsistent"


def test_an_artifact_takes_only_the_proof_of_its_own_end() -> None:
    story = shopping()
    good = inclusion(7)
    for bad in (leaves()[1], leaves()[2], leaves()[0]):
        with pytest.raises(InvalidValue):
            build_artifact(story.seal(), story.events, inclusion=Inclusion(bad, good.proof))
    with pytest.raises(NoteRefused):
        build_artifact(
            story.seal(), story.events, inclusion=Inclusion(good.leaf, LogProof(2, good.proof.hashes, HEAD_7))
        )
    nothing = empty()
    with pytest.raises(InvalidValue):
        build_artifact(nothing.seal(), nothing.events, inclusion=good)


def test_a_session_that_is_all_of_its_log() -> None:
    story, (private, public) = empty(), new_signing_key()
    key = NoteKey("a", SIGNS, public)
    leaf = session_leaf(log="a", session=story.run_id, seq=2, head=json.loads(story.seal().envelope)["head_hash"])
    head = sign_checkpoint(Checkpoint("a", 1, leaf_hash(leaf)), key, partial(sign, private))
    raw = build_artifact(story.seal(), story.events, inclusion=Inclusion(leaf, LogProof(0, (), head)))
    assert verify_artifact(raw, [SITE_PUBLIC], log=LogTrust(Policy((key,)))).logged == Logged("a", 0, 1, True)


def test_the_command_says_where_it_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(LOG / "shopping-4.json")
    head = ("--checkpoint", str(LOG / "head-7.txt"))
    assert main([file, *STRICT, *head, "--consistency", str(LOG / "consistency-4-7.txt")]) == 0
    out = capsys.readouterr().out
    assert "In the log shop.example/agent-sessions/2026-1: leaf 3 (from 0) of 4." in out
    assert "Co-signed by the witness witness.example/w1 at 2026-11-21T10:10:04+00:00." in out
    assert main([file, *STRICT, *head]) == 1
    assert "no proof was given [no_consistency]" in capsys.readouterr().out
    assert main([file, *KEYS]) == 0
    assert "WHO SIGNED THE LOG'S HEAD IS NOT CHECKED" in capsys.readouterr().out
    assert main([file, *STRICT, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logged"] == {
        "log": ORIGIN,
        "leaf_index": 3,
        "tree_size": 4,
        "signed": True,
        "witnesses": [["witness.example/w1", WITNESSED_AT + 4]],
    }


WRONG_USE = [
    ("--require-inclusion",),
    ("--require-witness", "1"),
    (*LOG_OPTIONS, "--require-witness", "2"),
    (*LOG_OPTIONS, "--require-witness", "-1"),
    ("--log-key", LOG_KEY.text[:-4]),
    ("--log-key", WITNESS_KEY.text),
    (*LOG_OPTIONS, "--witness-key", LOG_KEY.text),
    (*LOG_OPTIONS, "--checkpoint", str(LOG / "missing.txt")),
    (*LOG_OPTIONS, "--consistency", str(LOG / "head-7.txt")),
]


@pytest.mark.parametrize("options", WRONG_USE, ids=[" ".join(case)[:30] for case in WRONG_USE])
def test_wrong_use_is_said_to_be_so(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(LOG / "shopping-7.json"), *KEYS, *options]) == 2
    assert capsys.readouterr().err.startswith("agent-sessions-verify: ")


def test_the_verifier_in_node_finds_the_same(tmp_path: Path) -> None:
    """Differential: the same files and options, the same exit codes (A3)."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not on PATH: the independent verifier needs it")
    hashes = [leaf_hash(leaf) for leaf in leaves()]
    forged = tmp_path / "forged-head.txt"
    forged.write_text(forged_head(7, [hashes[0], hashes[2], *hashes[2:]]))
    no_line = tmp_path / "none.txt"
    no_line.write_text("")
    witness = new_signing_key()
    second = NoteKey("witness.example/w2", COSIGNS, witness[1])
    line = cosign(parse_note(HEAD_7).text, second, partial(sign, witness[0]), time=5)
    two = document()
    two["inclusion"]["checkpoint"] = add_signatures(HEAD_7, [line])
    bad_line = tmp_path / "bad-line.txt"
    bad_line.write_text(add_signatures(HEAD_7, [cosign(HEAD_7, second, partial(sign, witness[0]), time=5)]))
    files: dict[str, bytes] = {
        **{name: changed(document(), change) for name, change, _ in FORGED},
        "4": logged_artifact(4),
        "7": logged_artifact(7),
        "two": canonical_bytes(two),
        "bare": (HERE / "shopping.json").read_bytes(),
    }
    head = ("--checkpoint", str(LOG / "head-7.txt"))
    runs: list[tuple[str, tuple[str, ...], int]] = [(name, STRICT, 1) for name, *_ in FORGED]
    runs += [("7", KEYS, 0), ("7", (), 3), ("7", STRICT, 0), ("bare", STRICT, 1), ("bare", (*KEYS, *LOG_OPTIONS), 0)]
    runs += [("4", (*STRICT, *head, "--consistency", str(LOG / "consistency-4-7.txt")), 0), ("7", (*STRICT, *head), 0)]
    runs += [("4", (*STRICT, *head), 1), ("4", (*STRICT, *head, "--consistency", str(no_line)), 1)]
    runs += [("7", (*STRICT, "--checkpoint", str(forged)), 1), ("7", (*STRICT, "--checkpoint", str(bad_line)), 0)]
    runs += [("7", (*STRICT, "--checkpoint", str(bad_line), "--witness-key", second.text), 1)]
    runs += [("two", (*STRICT, "--witness-key", second.text, "--require-witness", "2"), 0)]
    runs += [("7", (*STRICT, "--witness-key", second.text, "--require-witness", "2"), 1)]
    runs += [("7", (*KEYS, *options), 2) for options in WRONG_USE]
    for name, raw in files.items():
        (tmp_path / f"{name}.json").write_bytes(raw)

    def both(run: tuple[str, tuple[str, ...], int]) -> tuple[int, int]:
        arguments = [str(tmp_path / f"{run[0]}.json"), *run[1]]
        done = subprocess.run([program, VERIFIER, *arguments], capture_output=True, check=False, timeout=60)
        assert done.returncode in (0, 2, 3) or done.stdout.startswith(b"NOT GOOD"), done.stderr
        return done.returncode, main(arguments)

    with ThreadPoolExecutor(2) as pool:
        found = list(zip(runs, pool.map(both, runs), strict=True))
    assert [(run, codes) for run, codes in found if codes != (run[2], run[2])] == []


def test_consistency_lines_are_as_they_are_published() -> None:
    assert hash_lines([bytes(32)]) == "A" * 43 + "=\n"
