"""Proofs in files: the same bytes and the same verdict as in memory, however long they are."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from typing import Any

import pytest

from agent_sessions.audit.artifact import build_artifact, write_artifact
from agent_sessions.audit.events import event_hash
from agent_sessions.audit.filed import Filed, Hashes, ProofFile
from agent_sessions.audit.open_chain import filed_chain_problems, open_chain_problems, write_open_chain
from agent_sessions.audit.verify import MAX_SIZE, verify_artifact, verify_filed
from agent_sessions.crypto.canonical import canonical_bytes, read_canonical
from agent_sessions.exceptions import SessionDamaged
from tests.audit.conftest import Change, changed
from tests.audit.test_verify import NAMED
from tests.golden.make import SITE_PUBLIC, shopping

KEYS = [SITE_PUBLIC]
PLACES = (1, "purpose"), (2, "params.note"), (2, "patch")


def filed(items: list[bytes]) -> Filed:
    return ProofFile(io.BytesIO()).put_list(items)


def test_a_list_is_read_again_as_it_was_written() -> None:
    """Short ones and such as are longer than what is read at once, before, between and behind."""
    for sizes in ([], [1], [70_000], [5, 70_000, 5], [40_000, 40_000, 40_000], [3] * 50_000, [65_535, 1, 65_536]):
        items = [canonical_bytes({"n": number, "x": "x" * size}) for number, size in enumerate(sizes)]
        found = filed(items)
        assert list(found.raws()) == items
        assert [one["n"] for one in found] == list(range(len(items)))
        assert list(Hashes(found)) == [event_hash(item) for item in items]
        for number in range(-len(items), len(items), max(len(items) // 10, 1)):
            assert found.raw(number) == items[number]
        with pytest.raises(IndexError):
            found.raw(len(items))


def test_what_is_written_to_a_file_is_what_is_built() -> None:
    story = shopping()
    openings = [story.opening(*place) for place in PLACES]
    with io.BytesIO(b"before") as file:
        file.seek(6)
        out = ProofFile(file)
        document = write_artifact(out, story.seal(), iter(story.events), iter(openings))
        raw = build_artifact(story.seal(), story.events, openings[::-1])
        assert verify_filed(document, out.size, KEYS) == verify_artifact(raw, KEYS)
        assert out.size == len(raw)
        assert [one.code for one in verify_filed(document, MAX_SIZE + 1, KEYS).problems] == ["too_large"]
        assert file.getvalue() == b"before" + raw
        assert out.sha256 == sha256(raw).hexdigest()
        assert json.loads(raw)["agent"]["purpose"] == story.opening(1, "purpose").value
    for events in (story.events[:-1], [*story.events[:2], *story.events[3:]]):
        with pytest.raises(SessionDamaged, match="not the ones that were sealed"):
            write_artifact(ProofFile(io.BytesIO()), story.seal(), events, [])


@pytest.mark.parametrize("change", [case[1] for case in NAMED], ids=[case[0] for case in NAMED])
def test_the_verdict_is_that_of_the_bytes(artifact: dict[str, Any], change: Change) -> None:
    """Whatever was changed: what a file is found to be is what its bytes are found to be."""
    raw = changed(artifact, change)
    document = json.loads(raw)
    for name in ("events", "openings"):
        document[name] = filed([canonical_bytes(one) for one in document[name]])
    expected, found = verify_artifact(raw, KEYS), verify_filed(document, 1, KEYS)
    assert not found.ok
    if raw.startswith(b'{"agent"') and b'"events":[1,' in raw:
        assert found.problems[0].where == "events[0]"  # no object: said as not canonical
    else:
        assert found == expected


def test_an_event_in_another_spelling_is_found() -> None:
    story = shopping()
    events = [*story.events[:2], story.events[2].replace(b":", b": ", 1), *story.events[3:]]
    document = write_artifact(ProofFile(io.BytesIO()), story.seal(), story.events, [])
    document["events"] = filed(events)
    assert [(one.code, one.where) for one in verify_filed(document, 1, KEYS).problems] == [
        ("not_canonical", "events[2]")
    ]


def test_the_chain_of_a_live_session_is_found_as_its_bytes_are() -> None:
    story = shopping()
    openings = [story.opening(*place) for place in PLACES]
    moved = [story.events[0], story.events[2], story.events[1], *story.events[3:]]
    for events, opened, codes in (
        (story.events, openings, []),
        (story.events, [], []),
        (moved, openings, ["wrong_seq", "wrong_seq", "broken_chain"]),
        (story.events, openings[::-1], ["wrong_order"]),
        ([], [], ["wrong_value"]),
    ):
        file = io.BytesIO()
        document = write_open_chain(ProofFile(file), story.run_id, iter(events), iter(opened))
        found = filed_chain_problems(document)
        if events:
            assert found == open_chain_problems(file.getvalue())
            assert {one.code for one in found} >= set(codes)
        assert bool(found) is bool(codes)
        assert open_chain_problems(file.getvalue()) if codes else not open_chain_problems(file.getvalue())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1e1}', b'{"b":1,"a":1}', b'{"a": 1}', b'{"a":"\\u0041"}', b'{"a":-0}',
        b'{"a":9007199254740992}', b'{"a":' + b"9" * 5000 + b"}", b'{"a":"\\ud800"}', b"\xff", b"", b"[1]", b"1",
        b'{"a":' * 70 + b"1" + b"}" * 70, b"[" * 100_000, b'{"a":NaN}', b'{"a":1}\n', b"null",
        '{"\ufb33":1,"\U0001f600":2}'.encode(),
    ],
)  # fmt: skip
def test_nothing_but_the_canonical_spelling_of_an_object_is_read_fast(raw: bytes) -> None:
    assert read_canonical(raw) is None


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, None, True, "x"]}, {"a": 2**53 - 1}, {"\U0001f600": 1, "\ufb33": {"é": "\x00"}}]
)
def test_what_was_written_canonically_is_read_again(value: Any) -> None:
    assert read_canonical(canonical_bytes(value)) == value
