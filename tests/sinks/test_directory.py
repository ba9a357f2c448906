"""The sink that is a directory (A4)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.submissions import cosignature_file
from agent_sessions.audit.witness import cosign_folder
from agent_sessions.audit.witnessing import Witness
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks import DirectorySink, Sink, SinkFailed
from tests.faults.support import at_once
from tests.sinks.conformance import ORIGIN, Conformance
from tests.sinks.trees import Tree


@pytest.fixture
def sink(tmp_path: Path) -> DirectorySink:
    (tmp_path / "heads").mkdir()
    return DirectorySink("disk", tmp_path / "heads")


class TestDirectory(Conformance):
    @pytest.fixture
    def again(self, tmp_path: Path) -> Callable[[], Sink]:
        return lambda: DirectorySink("disk", tmp_path / "heads")


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "heads").rglob("*") if path.is_file())


def test_files_are_named_by_size_and_readable_for_a_witness(sink: DirectorySink, tmp_path: Path) -> None:
    sink.write(Tree().submission(0, 7))

    (file,) = files(tmp_path)
    assert file.relative_to(tmp_path / "heads").as_posix() == (
        "shop.example%2Fagent-sessions%2F1/0000000000000000/head-00000000000000000007.txt"
    )
    assert file.read_text() == Tree().submission(0, 7).text
    assert file.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("call", ["fsync", "link", "mkdir"])
def test_a_full_disk_leaves_nothing_by_half(sink: DirectorySink, tmp_path: Path, monkeypatch: Any, call: str) -> None:
    """A4: a head is there whole or not at all, and is taken once there is room again."""

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(SinkFailed, match="No space left on device"):
            sink.write(Tree().submission(0, 7))

    assert files(tmp_path) == []
    sink.write(Tree().submission(0, 7))
    assert sink.newest(ORIGIN) == Tree().submission(0, 7)


def test_file_and_folders_are_on_disk_before_it_returns(sink: DirectorySink, tmp_path: Path, monkeypatch: Any) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def watched(opened: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{opened}")))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", watched)
    sink.write(Tree().submission(0, 7))

    (file,) = files(tmp_path)
    # The folders above it, each when one was made in it; the content under its first name; the folder of its last.
    assert [path for path in synced if path.is_dir()] == [*reversed(file.parents[1:3]), file.parent]
    assert [path.parent for path in synced if not path.is_dir()] == [file.parent]


def test_two_writers_of_two_histories_leave_one(tmp_path: Path) -> None:
    """A4: never two heads of one size; a file is not replaced."""
    (tmp_path / "heads").mkdir()
    trees = [Tree(story=str(number)) for number in range(8)]
    results = at_once([lambda t=t: DirectorySink("disk", tmp_path / "heads").write(t.submission(0, 7)) for t in trees])

    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert len(files(tmp_path)) == 1


def test_a_damaged_file_is_told_and_not_replaced(sink: DirectorySink, tmp_path: Path) -> None:
    sink.write(Tree().submission(0, 7))
    (file,) = files(tmp_path)
    file.write_text("old 0\n")

    with pytest.raises(SinkFailed, match="damaged"):
        sink.write(Tree().submission(0, 7))
    with pytest.raises(SinkFailed, match="damaged"):
        sink.newest(ORIGIN)


def test_a_directory_that_is_not_there_is_not_made(sink: DirectorySink, tmp_path: Path) -> None:
    (tmp_path / "heads").rmdir()
    for _ in range(2):
        for act in (lambda: sink.write(Tree().submission(0, 7)), lambda: sink.newest(ORIGIN), sink.origins):
            with pytest.raises(SinkFailed, match="is not a directory that is there"):
                act()
        (tmp_path / "heads").write_text("a file")


def test_other_files_in_it_are_read_over(sink: DirectorySink, tmp_path: Path) -> None:
    sink.write(Tree().submission(0, 7))
    (file,) = files(tmp_path)
    (tmp_path / "heads" / "lost+found").mkdir()
    (tmp_path / "heads" / "README").write_text("Heads of the log.")
    file.with_name("README").write_text("Heads of the log.")
    file.with_name("head-00000000000000000009.txt~").write_text("")

    assert sink.origins() == [ORIGIN]
    assert [one.head.size for one in sink.heads(ORIGIN)] == [7]


def test_cosignatures_of_the_witnesses_that_are_named_are_found_beside_the_heads(tmp_path: Path) -> None:
    tree = Tree()
    known, unknown = Witness.create(tmp_path / "w1", "w.example/1"), Witness.create(tmp_path / "w2", "w.example/2")
    (tmp_path / "heads").mkdir()
    sink = DirectorySink("disk", tmp_path / "heads", witnesses=[known.key.text])
    assert list(sink.write(tree.submission(0, 7))) == []
    for witness in (known, unknown):
        witness.add_log(tree.key)
        assert cosign_folder(witness, tmp_path / "heads") == 0

    (line,) = sink.cosignatures(tree.submission(0, 7).note)

    assert line.startswith("— w.example/1 ")
    assert list(sink.write(tree.submission(0, 7))) == [line]


def test_what_is_no_cosignature_is_left_out(tmp_path: Path) -> None:
    """Whoever may write there could otherwise spoil every artifact."""
    tree, witness = Tree(), Witness.create(tmp_path / "w1", "w.example/1")
    (tmp_path / "heads").mkdir()
    sink = DirectorySink("disk", tmp_path / "heads", witnesses=[witness.key.text])
    sink.write(tree.submission(0, 7))
    (file,) = files(tmp_path)
    witness.add_log(Tree(story="other").key)
    other = witness.consider(Tree(story="other").submission(0, 7)).line

    for answer in (b"", b"\xff", b"nonsense", other.encode(), other.encode() * 200):
        file.with_name(cosignature_file(file.name, witness.key.key_id)).write_bytes(answer)
        assert list(sink.cosignatures(tree.submission(0, 7).note)) == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"directory": "heads"}, "/directory"),
        ({"directory": "/heads", "witnesses": ["w.example"]}, "/witnesses/0"),
        ({"directory": "/heads", "witnesses": [Tree().key.text]}, "/witnesses/0"),
    ],
)
def test_wrong_options_are_told_with_their_place(options: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        DirectorySink("disk", **options)
    assert refusal.value.path == where
