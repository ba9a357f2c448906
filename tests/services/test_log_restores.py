"""A database that was restored begins a log anew, and says so (A4)."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.leaf import GenerationLeaf, parse_leaf
from agent_sessions.audit.notes import open_checkpoint, parse_note
from agent_sessions.audit.submissions import head_file
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witnessing import Witness
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import LogGeneration, LogLeaf, SiteEvent, TreeHead
from agent_sessions.sinks import DirectorySink, SinkFailed
from tests.sequenced import backup, leaf_bytes, left_out, wrong_with_the_log
from tests.services.exporting import FAKE, ORIGIN, disk, errors, nothing_fails_yet, store, witness
from tests.sinks.trees import Answering, Tree, serving

pytestmark = pytest.mark.django_db
__all__ = ["disk", "nothing_fails_yet", "store", "witness"]


def test_a_restored_database_begins_a_new_generation_and_says_so(opened: Any, disk: DirectorySink, caplog: Any) -> None:
    """A4: it never signs a head that contradicts one that was given out."""
    one = opened()
    services.sequence_log()
    restore = backup()
    lost = opened()
    services.sequence_log()
    last = TreeHead.objects.order_by("-size")[0].note
    restore()
    after = opened()

    noticed = services.sequence_log()
    done = services.sequence_log()

    assert noticed.remaining
    assert [generation.number for generation in LogGeneration.objects.order_by("number")] == [1, 2]
    assert LogGeneration.objects.get(number=1).closed_at is not None
    first = parse_leaf(leaf_bytes(LogLeaf.objects.select_related("generation").get(generation_id=2, index=0)))
    assert isinstance(first, GenerationLeaf)
    assert (first.former, first.reason) == (last, "The sink disk knows more than the database.")
    event = SiteEvent.objects.filter(kind="log.generation_began").latest("seq")
    assert json.loads(bytes(event.canonical))["params"] == {
        "log": "shop.example/agent-sessions/2",
        "reason": first.reason,
        "after": ORIGIN,
        "after_size": 4,
    }
    assert "a new generation of the log has to begin" in errors(caplog)[0]
    assert (wrong_with_the_log(), left_out(), done.log) == ([], [], "shop.example/agent-sessions/2")
    sizes = [(head.head.origin, head.head.size) for log in sorted(disk.origins()) for head in disk.heads(log)]
    assert sizes == [(ORIGIN, 3), (ORIGIN, 4), (done.log, 4)]
    for session in (one, after):
        assert parse_leaf(selectors.log_inclusion(session.session_id).leaf).log == done.log
    assert not LogLeaf.objects.filter(session=lost.session_id).exists()


def test_a_database_restored_to_before_another_generation_takes_the_next_number(
    opened: Any, disk: DirectorySink
) -> None:
    services.sequence_log()
    restore = backup()
    services.begin_log_generation(reason="planned")
    services.sequence_log()
    restore()

    for _ in range(2):
        services.sequence_log()

    generation = LogGeneration.objects.get(closed_at=None)
    assert generation.number == 3
    first = parse_leaf(leaf_bytes(LogLeaf.objects.select_related("generation").get(generation_id=3, index=0)))
    assert isinstance(first, GenerationLeaf)
    assert first.former is not None
    assert parse_note(first.former).text.startswith("shop.example/agent-sessions/2\n")


def test_a_database_that_was_lost_whole_goes_on_after_what_the_sinks_know(opened: Any, disk: DirectorySink) -> None:
    restore = backup()
    opened()
    services.sequence_log()
    restore()

    done = services.sequence_log()

    assert done.log == "shop.example/agent-sessions/2"
    assert wrong_with_the_log() == []


def test_a_sink_that_has_lost_its_heads_is_told_of(
    opened: Any, disk: DirectorySink, tmp_path: Path, caplog: Any
) -> None:
    """A4: a mount that is missing looks like one that was never written to."""
    services.sequence_log()
    (tmp_path / "heads").rename(tmp_path / "elsewhere")
    (tmp_path / "heads").mkdir()
    opened()

    assert services.sequence_log().counted == 2
    assert "is it mounted?" in errors(caplog)[0]
    assert list((tmp_path / "heads").iterdir()) == []


def test_a_restored_database_signs_nothing_while_no_sink_says_what_it_keeps(opened: Any, store: dict[str, Any]) -> None:
    """A4: grown to the size of the lost head, it would sign another root for it."""
    services.sequence_log()
    restore = backup()
    opened()
    services.sequence_log()
    restore()
    store["down"] = True
    opened()

    done = services.sequence_log()

    assert (done.size, done.waiting, TreeHead.objects.count()) == (3, 1, 1)
    assert {one.head.root for one in store["seen"] if one.head.size == 3} == {store["kept"][ORIGIN, 3].head.root}


def test_no_log_begins_while_no_sink_says_what_it_keeps(store: dict[str, Any]) -> None:
    store["down"] = True
    with pytest.raises(SinkFailed):
        services.sequence_log()
    assert not LogGeneration.objects.exists()


def test_a_sink_that_claims_again_and_again_to_know_more_begins_one_log_an_hour(
    opened: Any, configure: Any, clock: Any, caplog: Any
) -> None:
    """A4: every session is put into a new log, so whoever answers for a sink could fill the database."""
    with Answering() as server, serving(server) as url:
        server.answers += [(409, "text/x.tlog.size", b"999999999")] * 20
        configure(LOG_SINKS=[{"name": "post", "class": "agent_sessions.sinks.HttpSink", "url": url}])
        opened()
        runs = [services.sequence_log() for _ in range(4)]
        assert [run.remaining for run in runs] == [True, False, False, False]
        assert LogGeneration.objects.count() == 2
        assert "has begun in the last hour" in errors(caplog)[-1]

        clock.shift(timedelta(hours=1))
        services.sequence_log()
        assert LogGeneration.objects.count() == 3


def test_a_head_that_nobody_of_the_shop_has_signed_begins_no_log(
    opened: Any, disk: DirectorySink, tmp_path: Path, caplog: Any
) -> None:
    """A4: whoever shares the folder can write a file into it."""
    opened()
    services.sequence_log()
    (kept,) = (tmp_path / "heads").rglob("head-*.txt")
    forged = Tree(ORIGIN).submission(3, 19)
    kept.with_name(head_file(19)).write_text(forged.text)
    opened()

    done = services.sequence_log()

    assert (done.counted, done.waiting, LogGeneration.objects.count()) == (3, 1, 1)
    assert "not signed by a key of this log" in errors(caplog)[0]
    kept.with_name(head_file(19)).unlink()
    assert services.sequence_log().counted == 4


def test_a_witness_that_was_told_nothing_yet_cannot_know_another_history(
    opened: Any, witness: Witness, configure: Any
) -> None:
    """A4: a proof from nothing leads to every head; who refuses it has failed."""
    with Answering() as server, serving(server) as url:
        server.answers += [(422, "text/plain", b"")] * 3
        sink = {"name": "w1", "class": "agent_sessions.sinks.WitnessSink", "url": url, "key": witness.key.text}
        configure(LOG_SINKS=[sink])
        opened()
        done = services.sequence_log()
    assert (done.remaining, LogGeneration.objects.count()) == (False, 1)


def test_a_log_begins_after_the_last_head_that_counts_whoever_has_it(
    opened: Any, disk: DirectorySink, configure: Any, settings: Any, tmp_path: Path
) -> None:
    """A4: a sink that was not needed lags behind."""
    other: dict[str, Any] = {}
    configure(
        LOG_SINKS=[*settings.AGENT_SESSIONS["LOG_SINKS"], {"name": "fake", "class": FAKE, "store": other}],
        LOG_SINKS_NEEDED=1,
    )
    opened()
    services.sequence_log()
    other["down"] = True
    opened()
    services.sequence_log()
    (tmp_path / "heads").rename(tmp_path / "elsewhere")
    other["down"] = False

    services.begin_log_generation(reason="Moved by hand.")

    first = parse_leaf(leaf_bytes(LogLeaf.objects.select_related("generation").get(generation_id=2, index=0)))
    assert isinstance(first, GenerationLeaf)
    assert first.former is not None
    assert [one.head.size for one in other["kept"].values()] == [3]
    assert open_checkpoint(first.former, [read_vkey(one.vkey) for one in selectors.log_keys()]).checkpoint.size == 4


def test_a_planned_restore_is_said_by_hand(opened: Any, disk: DirectorySink) -> None:
    opened()
    services.sequence_log()

    begun = services.begin_log_generation(reason="Restored from the backup of 2026-11-20.")
    services.sequence_log()

    assert (begun.number, begun.origin) == (2, "shop.example/agent-sessions/2")
    assert (wrong_with_the_log(), left_out()) == ([], [])
    for reason in ("", " ", "x" * 201):
        with pytest.raises(InvalidValue):
            services.begin_log_generation(reason=reason)
    assert LogGeneration.objects.count() == 2


def test_heads_of_a_closed_log_are_proven_still(ended: Any, disk: DirectorySink) -> None:
    services.sequence_log()
    before = selectors.tree_head()
    services.begin_log_generation(reason="planned")

    # Until the new log covers it, the old one does.
    assert selectors.log_inclusion(ended.session_id).proof.checkpoint == before
    assert selectors.tree_head(generation=1) == before
    assert [(key.generation, key.active) for key in selectors.log_keys()] == [(2, True), (1, False)]
