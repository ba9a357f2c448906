"""What every sink that can be read has to do: inherit from ``Conformance``, and give ``sink``, a new and empty one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions.audit.submissions import Submission
from agent_sessions.sinks import OtherHeadKept, Sink, SinkBehind
from tests.sinks.trees import Tree

ORIGIN = "shop.example/agent-sessions/1"


class Conformance:
    """A4: the tests of a sink. A fixture ``again`` opens the same place anew, as another process would."""

    @pytest.fixture
    def again(self, sink: Sink) -> Callable[[], Sink]:
        return lambda: sink

    def test_it_is_a_sink(self, sink: Any) -> None:
        assert isinstance(sink, Sink)
        assert sink.readable is True
        assert sink.name

    def test_empty_it_keeps_nothing(self, sink: Sink) -> None:
        assert (sink.newest(ORIGIN), sink.origins(), list(sink.heads(ORIGIN))) == (None, [], [])

    def test_what_is_written_is_read_as_it_was_written(self, sink: Sink, again: Callable[[], Sink]) -> None:
        tree = Tree()
        written = [tree.submission(0, 1), tree.submission(1, 3), tree.submission(3, 20)]
        for one in written:
            assert list(sink.write(one)) == []

        assert list(again().heads(ORIGIN)) == written
        assert again().newest(ORIGIN) == written[-1]
        assert again().origins() == [ORIGIN]

    def test_the_same_once_more_changes_nothing(self, sink: Sink) -> None:
        """The answer was lost, or the sequencer was killed before it noted it."""
        tree = Tree()
        for one in (tree.submission(0, 3), tree.submission(3, 5)):
            sink.write(one)
        before = list(sink.heads(ORIGIN))

        for one in before:
            sink.write(one)

        assert list(sink.heads(ORIGIN)) == before

    def test_the_same_head_with_another_proof_is_the_same(self, sink: Sink) -> None:
        tree = Tree()
        sink.write(tree.submission(0, 3))
        sink.write(tree.submission(2, 3))

        assert list(sink.heads(ORIGIN)) == [tree.submission(0, 3)]

    @pytest.mark.parametrize("submission", [Tree(story="other").submission(0, 5), Tree().submission(0, 3)])
    def test_another_root_or_a_smaller_head_is_refused(self, sink: Sink, submission: Submission) -> None:
        """The database was restored or rewritten."""
        sink.write(Tree().submission(0, 5))

        with pytest.raises(SinkBehind) as refusal:
            sink.write(submission)

        assert refusal.value.known == 5
        assert list(sink.heads(ORIGIN)) == [Tree().submission(0, 5)]

    def test_a_head_that_does_not_continue_what_is_kept_is_refused(self, sink: Sink) -> None:
        sink.write(Tree().submission(0, 5))

        with pytest.raises(SinkBehind):
            sink.write(Tree(story="other").submission(5, 8))

        assert list(sink.heads(ORIGIN)) == [Tree().submission(0, 5)]

    @pytest.mark.parametrize(("kept", "old"), [([], 3), ([2], 0), ([2], 3), ([2, 4], 2)])
    def test_it_says_from_where_the_proof_has_to_begin(self, sink: Sink, kept: list[int], old: int) -> None:
        tree, known = Tree(), 0
        for size in kept:
            sink.write(tree.submission(known, size))
            known = size

        with pytest.raises(OtherHeadKept) as other:
            sink.write(tree.submission(old, 7))

        assert other.value.known == known
        sink.write(tree.submission(known, 7))
        assert sink.newest(ORIGIN) == tree.submission(known, 7)

    def test_logs_are_kept_apart(self, sink: Sink) -> None:
        first, second = Tree(), Tree("shop.example:8443/agent-sessions/2")
        sink.write(first.submission(0, 5))
        sink.write(second.submission(0, 2))

        assert sorted(sink.origins()) == sorted([first.key.name, second.key.name])
        assert list(sink.heads(second.key.name)) == [second.submission(0, 2)]
        assert sink.newest(first.key.name) == first.submission(0, 5)

    def test_heads_of_a_large_log_come_in_order(self, sink: Sink) -> None:
        tree = Tree(leaves=20_002)
        sizes = [1, 9_999, 10_000, 10_001, 20_002]
        for old, new in zip([0, *sizes], sizes, strict=False):
            sink.write(tree.submission(old, new))

        assert [one.head.size for one in sink.heads(ORIGIN)] == sizes
        newest = sink.newest(ORIGIN)
        assert newest is not None
        assert newest.head.size == 20_002
