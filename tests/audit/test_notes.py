"""Signed notes, tree heads and cosignatures, strictly read (A4; C2SP signed-note, tlog-checkpoint, tlog-cosignature).

Outside examples: that of the signed-note specification (C2SP, CC BY 4.0), and the key, the note and some malformed
messages of golang.org/x/mod/sumdb/note (The Go Authors, BSD-3-Clause).
"""

from __future__ import annotations

import base64
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.audit.merkle import EMPTY_ROOT, leaf_hash
from agent_sessions.audit.notes import (
    MAX_NOTE,
    Checkpoint,
    Note,
    Policy,
    Signature,
    add_signatures,
    cosign,
    open_checkpoint,
    parse_checkpoint,
    parse_note,
    parse_signatures,
    sign_checkpoint,
)
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey, read_vkey
from agent_sessions.crypto.signing import new_signing_key, sign
from agent_sessions.exceptions import KeyProblem, NoteRefused

SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_SIGNATURE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
SPEC_NOTE = "This is an example message.\n\n" + SPEC_SIGNATURE
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=")
PETER_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

ORIGIN = "shop.example/agent-sessions/2026-1"
LOG_PRIVATE, LOG_PUBLIC = new_signing_key()
LOG = NoteKey(ORIGIN, SIGNS, LOG_PUBLIC)
HEAD = Checkpoint(ORIGIN, 7, leaf_hash(b"root"))
SIGNED = sign_checkpoint(HEAD, LOG, partial(sign, LOG_PRIVATE))
NOW = 1_795_000_000


class Witness:
    """A witness with a key of its own, or with the one given."""

    def __init__(self, name: str, pair: tuple[bytes, bytes] | None = None) -> None:
        self.private, public = pair or new_signing_key()
        self.key = NoteKey(name, COSIGNS, public)

    def signs(self, text: str = HEAD.text, time: int = NOW) -> Signature:
        return cosign(text, self.key, partial(sign, self.private), time=time)


@pytest.mark.parametrize(
    ("vkey", "written", "text"),
    [
        (SPEC_KEY, SPEC_NOTE, "This is an example message.\n"),
        (PETER_KEY, PETER_TEXT + "\n" + PETER_SIGNATURE, PETER_TEXT),
    ],
)
def test_outside_examples_verify_and_are_written_as_they_were(vkey: str, written: str, text: str) -> None:
    key, note = read_vkey(vkey), parse_note(written)
    assert (key.text, str(note), note.text) == (vkey, written, text)
    assert note.signatures[0].is_by(key)
    assert key.verifies(note.text, note.signatures[0].signature)
    assert not key.verifies(note.text + "x", note.signatures[0].signature)


def test_signing_makes_the_signature_that_go_makes() -> None:
    key = read_vkey(PETER_KEY)
    made = Signature(key.name, key.key_id, sign(PETER_SEED, PETER_TEXT.encode()))
    assert made.line == PETER_SIGNATURE


def test_no_part_of_a_key_and_no_changed_key_is_one() -> None:
    for start in range(len(PETER_KEY) + 1):
        for end in range(start + 1, len(PETER_KEY) + 1):
            if (start, end) != (0, len(PETER_KEY)):
                with pytest.raises(KeyProblem):
                    read_vkey(PETER_KEY[start:end])
        if start < len(PETER_KEY):
            with pytest.raises(KeyProblem):
                read_vkey(PETER_KEY[:start] + chr(ord(PETER_KEY[start]) + 1) + PETER_KEY[start + 1 :])


@pytest.mark.parametrize(
    ("vkey", "message"),
    [
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "base64"),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "kind"),
        ("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "name.key id.base64"),
        ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "name.key id.base64"),
        ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "does not have the id"),
    ],
)
def test_a_malformed_key_is_refused_with_the_reason(vkey: str, message: str) -> None:
    with pytest.raises(KeyProblem, match=message):
        read_vkey(vkey)


@pytest.mark.parametrize(
    "public",
    [bytes(32), b"\1" + bytes(31), b"\xff" * 32, b"\2" + bytes(31), b"short"],
    ids=["low order", "neutral", "not canonical", "off the curve", "short"],
)
@pytest.mark.parametrize("kind", [SIGNS, COSIGNS])
def test_keys_under_which_signatures_prove_nothing_are_refused(public: bytes, kind: int) -> None:
    with pytest.raises(KeyProblem):
        NoteKey("shop.example", kind, public)


@pytest.mark.parametrize(("name", "kind"), [("", SIGNS), ("a b", SIGNS), ("a+b", SIGNS), ("a\x00", SIGNS), ("a", 6)])
def test_names_and_kinds_that_no_note_has(name: str, kind: int) -> None:
    with pytest.raises(KeyProblem):
        NoteKey(name, kind, LOG_PUBLIC)


def test_one_key_has_another_id_under_another_name_or_kind() -> None:
    ids = {NoteKey(name, kind, LOG_PUBLIC).key_id for name in ("a", "b") for kind in (SIGNS, COSIGNS)}
    assert len(ids) == 4
    assert read_vkey(NoteKey("a", COSIGNS, LOG_PUBLIC).text).kind == COSIGNS


# Go's list of messages that are no notes, and some of our own.
MALFORMED = [
    PETER_TEXT + PETER_SIGNATURE,
    PETER_TEXT + "\n",
    PETER_TEXT + "\n" + PETER_SIGNATURE[:-1],
    "\x01" + PETER_TEXT + "\n" + PETER_SIGNATURE,
    "\xff" * 0 + PETER_TEXT + "\n" + "— PeterNeumann \n",
    PETER_TEXT + "\n" + "– PeterNeumann AAAAAAA=\n",
    PETER_TEXT + "\n" + "— Peter Neumann AAAAAAA=\n",
    PETER_TEXT + "\n" + "— Peter+Neumann AAAAAAA=\n",
    PETER_TEXT + "\n" + "—PeterNeumann AAAAAAA=\n",
    PETER_TEXT + "\n" + "— PeterNeumann AAAAAAA\n",
    PETER_TEXT + "\n" + "— PeterNeumann AAAAAAB=\n",
    PETER_TEXT + "\n" + "— PeterNeumann AAAAAA==\n",
    PETER_TEXT + "\n" + PETER_SIGNATURE + "\n",
    PETER_TEXT + "\n" + PETER_SIGNATURE + "junk\n",
    PETER_TEXT + "\n" + PETER_SIGNATURE * 101,
    PETER_TEXT + "\r\n\r\n" + PETER_SIGNATURE,
    "\n\n" + PETER_SIGNATURE[:-1],
    "",
    "\n\n",
    "x" * MAX_NOTE + "\n\n" + PETER_SIGNATURE,
]


@pytest.mark.parametrize("written", MALFORMED)
def test_malformed_notes_are_refused(written: str) -> None:
    with pytest.raises(NoteRefused):
        parse_note(written)
    with pytest.raises(NoteRefused):
        parse_note(written.encode())


def test_a_note_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(NoteRefused, match="byte 0"):
        parse_note(b"\xff" + SPEC_NOTE.encode())


def test_the_text_ends_at_the_last_blank_line() -> None:
    note = parse_note("a\n\nb\n\n" + SPEC_SIGNATURE)
    assert note.text == "a\n\nb\n"
    assert len(parse_note("a\n\n" + SPEC_SIGNATURE * 100).signatures) == 100


@given(st.text(max_size=200))
def test_whatever_is_read_as_a_note_is_written_the_same(text: str) -> None:
    for written in (text, text + "\n\n" + SPEC_SIGNATURE):
        try:
            note = parse_note(written)
        except NoteRefused:
            continue
        assert str(note) == written


def test_a_tree_head_is_three_lines() -> None:
    assert SIGNED.startswith(f"{ORIGIN}\n7\n{base64.b64encode(HEAD.root).decode()}\n\n— {ORIGIN} ")
    assert parse_checkpoint(HEAD.text) == HEAD
    longer = Checkpoint(ORIGIN, 7, HEAD.root, ("more", "and more"))
    assert parse_checkpoint(longer.text) == longer
    opened = open_checkpoint(SIGNED, [LOG])
    assert (opened.checkpoint, opened.signed_by, opened.cosigned) == (HEAD, (LOG,), ())


ROOT = base64.b64encode(HEAD.root).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"log\n7\n{ROOT}",
        f"log\n7\n{ROOT}\n\n",
        f"\n7\n{ROOT}\n",
        f"log\n07\n{ROOT}\n",
        f"log\n-7\n{ROOT}\n",
        f"log\n+7\n{ROOT}\n",
        f"log\n٧\n{ROOT}\n",
        f"log\n9223372036854775808\n{ROOT}\n",
        f"log\n{'9' * 5000}\n{ROOT}\n",
        f"log\n0\n{ROOT}\n",
        f"log\n7\n{ROOT[:-4]}\n",
        f"log\n7\n{ROOT[:-1]}\n",
        "log\n7\n\n",
        "log\n7\n",
        "",
    ],
)
def test_what_is_no_tree_head(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_checkpoint(text)


def test_a_log_without_leaves_has_a_head() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(empty.text) == empty


def test_only_the_logs_own_key_signs_for_it() -> None:
    stranger_private, stranger = new_signing_key()
    other = NoteKey("other.example/log", SIGNS, LOG_PUBLIC)
    with pytest.raises(KeyProblem, match="does not sign for the log"):
        sign_checkpoint(HEAD, other, partial(sign, LOG_PRIVATE))
    with pytest.raises(KeyProblem, match="both halves"):
        sign_checkpoint(HEAD, LOG, partial(sign, stranger_private))
    with pytest.raises(NoteRefused, match="none of the keys"):
        open_checkpoint(SIGNED, [NoteKey(ORIGIN, SIGNS, stranger)])
    # A key that signs, but under another name than the log's, does not speak for the log.
    line = Signature(other.name, other.key_id, sign(LOG_PRIVATE, HEAD.text.encode()))
    with pytest.raises(NoteRefused, match="none of the keys"):
        open_checkpoint(str(Note(HEAD.text, (line,))), [other])
    with pytest.raises(NoteRefused, match="none of the keys"):
        open_checkpoint(str(Note(HEAD.text, (Witness(ORIGIN).signs(),))), [LOG])


def test_a_bad_signature_of_a_known_key_refuses_the_note_and_one_of_an_unknown_is_kept() -> None:
    bad = Signature(LOG.name, LOG.key_id, bytes(64))
    unknown = Signature("who.example", b"abcd", b"whatever")
    kept = open_checkpoint(add_signatures(SIGNED, [unknown]), [LOG])
    assert unknown in kept.note.signatures
    with pytest.raises(NoteRefused, match="not over this text"):
        open_checkpoint(add_signatures(SIGNED, [bad]), [LOG])
    assert add_signatures(add_signatures(SIGNED, [unknown]), [unknown]) == add_signatures(SIGNED, [unknown])


def test_a_cosignature_says_when_and_what_was_seen() -> None:
    witness = Witness("witness.example/w1")
    made = witness.signs()
    assert made.time == NOW
    assert parse_signatures(made.line) == (made,)
    assert made.signature[:8] == NOW.to_bytes(8, "big")
    assert made.signature[8:] == sign(witness.private, f"cosignature/v1\ntime {NOW}\n{HEAD.text}".encode())
    opened = open_checkpoint(add_signatures(SIGNED, [made, witness.signs(time=NOW + 9)]), [LOG, witness.key])
    assert opened.cosigned == ((witness.key, NOW + 9),)
    later = Signature(made.name, made.key_id, (NOW + 1).to_bytes(8, "big") + made.signature[8:])
    for forged in (later, Signature(made.name, made.key_id, made.signature[8:])):
        with pytest.raises(NoteRefused, match="not over this text"):
            open_checkpoint(add_signatures(SIGNED, [forged]), [LOG, witness.key])
    assert not witness.key.verifies(HEAD.text, b"\xff" * 8 + made.signature[8:])


def test_a_log_key_does_not_cosign_and_a_witness_key_does_not_sign() -> None:
    witness = Witness(ORIGIN)
    with pytest.raises(KeyProblem):
        cosign(HEAD.text, LOG, partial(sign, LOG_PRIVATE), time=NOW)
    with pytest.raises(KeyProblem):
        sign_checkpoint(HEAD, witness.key, partial(sign, witness.private))
    with pytest.raises(KeyProblem):
        witness.signs(time=2**63)


def test_a_quorum_counts_keys_and_not_signatures_or_names() -> None:
    pair = new_signing_key()
    one, same, two = Witness("w.example/1", pair), Witness("w.example/1b", pair), Witness("w.example/2")
    policy = Policy((LOG,), (one.key, same.key, two.key), quorum=2)
    twice = add_signatures(SIGNED, [one.signs(), one.signs(time=NOW + 1), same.signs()])
    with pytest.raises(NoteRefused, match="1 of the witnesses"):
        policy.open(twice)
    assert len(policy.open(add_signatures(twice, [two.signs()])).cosigned) == 3
    assert Policy((LOG,)).open(SIGNED).checkpoint == HEAD
