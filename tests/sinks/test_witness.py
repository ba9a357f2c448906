"""The sink that is a witness (A4), against the witness that the package ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_sessions.audit.notes import add_signatures, open_checkpoint, parse_signatures
from agent_sessions.audit.witness import Handler, Server
from agent_sessions.audit.witnessing import Witness
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks import OtherHeadKept, SinkBehind, SinkFailed, WitnessSink
from tests.sinks.trees import Answering, Tree, serving


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness.create(tmp_path / "witness", "witness.example/w1")


@pytest.fixture
def sink(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> Iterator[WitnessSink]:
    monkeypatch.setattr(Handler, "log_message", lambda *_: None)
    with Server(("127.0.0.1", 0), witness) as server, serving(server) as url:
        yield WitnessSink("witness", url, witness.key.text)


def test_it_co_signs_what_continues_what_it_knows(witness: Witness, sink: WitnessSink) -> None:
    tree = Tree()
    witness.add_log(tree.key)
    sink.write(tree.submission(0, 3))

    lines = sink.write(tree.submission(3, 7))

    note = add_signatures(tree.submission(3, 7).note, parse_signatures("".join(lines)))
    opened = open_checkpoint(note, [tree.key, witness.key])
    assert (opened.checkpoint.size, [key for key, _ in opened.cosigned]) == (7, [witness.key])


def test_the_same_head_is_co_signed_again_from_the_size_that_it_knows(witness: Witness, sink: WitnessSink) -> None:
    """The cosignature was lost on its way."""
    tree = Tree()
    witness.add_log(tree.key)
    sink.write(tree.submission(0, 7))

    with pytest.raises(OtherHeadKept) as other:
        sink.write(tree.submission(0, 7))

    assert other.value.known == 7
    assert len(sink.write(tree.submission(7, 7))) == 1


def test_another_history_is_refused(witness: Witness, sink: WitnessSink) -> None:
    tree, other = Tree(), Tree(story="other")
    witness.add_log(tree.key)
    sink.write(tree.submission(0, 7))

    for submission in (other.submission(7, 7), other.submission(7, 9), other.submission(0, 3)):
        with pytest.raises(SinkBehind):
            sink.write(submission)
    with pytest.raises(OtherHeadKept):  # as it would be said of the same history
        sink.write(other.submission(3, 9))


def test_what_its_operator_has_to_do_is_told(witness: Witness, sink: WitnessSink) -> None:
    tree = Tree()
    with pytest.raises(SinkFailed, match=r"does not follow this log.*add-log"):
        sink.write(tree.submission(0, 7))

    another = Witness.create(witness._state.parent.parent / "other", tree.key.name)
    witness.add_log(type(tree.key)(tree.key.name, tree.key.kind, another.key.public))
    with pytest.raises(SinkFailed, match=r"does not trust this log's key.*add-log"):
        sink.write(tree.submission(0, 7))


def test_an_answer_that_is_not_its_cosignature_does_not_count(witness: Witness) -> None:
    tree, story = Tree(), Tree(story="other")
    witness.add_log(tree.key)
    elsewhere = witness.consider(story.submission(0, 7)).line
    with (server := Answering()), serving(server):
        sink = WitnessSink("witness", server.url, witness.key.text)
        for body in (b"", b"ok\n", elsewhere.encode()):
            server.answers = [(200, "text/plain", body)]
            with pytest.raises(SinkFailed, match="not its cosignature"):
                sink.write(tree.submission(0, 7))
        assert server.got[0][0] == "/add-checkpoint"
        server.answers = [(503, "text/plain", b"")]
        with pytest.raises(SinkFailed, match="503"):
            sink.write(tree.submission(0, 7))


def test_its_key_is_needed() -> None:
    with pytest.raises(InvalidValue) as refusal:
        WitnessSink("witness", "https://witness.example", Tree().key.text)
    assert refusal.value.path == "/key"
