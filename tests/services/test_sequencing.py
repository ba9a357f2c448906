"""The sequencer: a leaf for every session that has moved, and proofs that verify (A4)."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.leaf import GenerationLeaf, SessionLeaf, SiteLeaf, parse_leaf
from agent_sessions.audit.merkle import verify_consistency
from agent_sessions.audit.notes import Policy, open_checkpoint
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.exceptions import InvalidValue, LogDamaged, NotLogged
from agent_sessions.models import LogGeneration, LogLeaf, LogNode, Session, TreeHead
from agent_sessions.selectors._log import BEFORE_ALL, moved_sessions
from agent_sessions.services import sequencing
from agent_sessions.services.erasing import Grounds, erase
from agent_sessions.services.site_events import record
from tests.conftest import MORNING
from tests.faults.support import PATIENCE, at_once
from tests.sequenced import DISK, leaf_bytes, left_out, wrong_with_the_log
from tests.shopping import variables
from tests.tampering import flipped, guards_off

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, configure: Any) -> Path:
    """The directory of the only sink."""
    configure(LOG_SINKS=[{"name": "disk", "class": DISK, "directory": tmp_path}])
    return tmp_path


def leaves() -> list[Any]:
    """What all leaves say, but for the first."""
    rows = LogLeaf.objects.filter(index__gt=0).select_related("generation").order_by("generation_id", "index")
    return [parse_leaf(leaf_bytes(leaf)) for leaf in rows]


def session_leaves() -> list[tuple[str, int]]:
    return [(leaf.session, leaf.seq) for leaf in leaves() if isinstance(leaf, SessionLeaf)]


def trust(**options: Any) -> LogTrust:
    return LogTrust(Policy(tuple(read_vkey(one.vkey) for one in selectors.log_keys())), **options)


def verified(artifact: bytes, log: LogTrust) -> Any:
    keys = [read_public_key(one.public_key) for one in services.signing_keys()]
    return verify_artifact(artifact, keys, log=log)


def test_every_session_that_moved_gets_one_leaf(opened: Any) -> None:
    """A4: with the hash of its last event, which covers those before."""
    one, two = opened(), opened()
    services.change_session(one.session_id, expected_version=1, patch=variables(a=1))

    done = services.sequence_log()

    assert session_leaves() == [(str(one.session_id), 2), (str(two.session_id), 1)]
    assert (done.leaves, done.size, done.counted, done.waiting, done.remaining) == (3, 4, 4, 0, False)
    assert (wrong_with_the_log(), left_out()) == ([], [])
    heads = {str(row.pk): bytes(row.head_hash).hex() for row in Session.objects.all()}
    assert {leaf.session: leaf.head for leaf in leaves() if isinstance(leaf, SessionLeaf)} == heads


def test_the_first_leaf_says_that_the_log_begins(opened: Any) -> None:
    services.sequence_log()

    first = parse_leaf(leaf_bytes(LogLeaf.objects.select_related("generation").get(index=0)))
    assert first == GenerationLeaf("shop.example/agent-sessions/1", None, "The database had no open log.")


def test_what_did_not_move_gets_none(opened: Any) -> None:
    _, two = opened(), opened()
    services.sequence_log()
    services.record_event(two.session_id, kind="item.viewed")

    again = services.sequence_log()
    idle = services.sequence_log()

    assert session_leaves()[2:] == [(str(two.session_id), 2)]
    assert (again.leaves, idle.leaves) == (1, 0)
    assert list(TreeHead.objects.order_by("size").values_list("size", flat=True)) == [4, 5]
    assert wrong_with_the_log() == []


def test_the_sites_own_chain_gets_a_leaf_when_it_has_moved() -> None:
    services.sequence_log()
    event = record("keys.rotated", SYSTEM, {"master_key": "k2"})

    services.sequence_log()
    services.sequence_log()

    assert leaves()[-1] == SiteLeaf("shop.example/agent-sessions/1", event.seq, bytes(event.hash).hex())
    assert sum(isinstance(leaf, SiteLeaf) for leaf in leaves()) == 2
    assert left_out() == []


def test_the_end_of_a_session_has_a_leaf_of_its_own(ended: Any) -> None:
    """A4, A7: an artifact goes up to the end; what was erased after it must not keep it from being found."""
    erase(
        selectors.read_head(ended.session_id), frozenset({"personal"}), Grounds("personal", "x", "retention"),
        actor=SYSTEM,
    )  # fmt: skip

    services.sequence_log()

    run_id = str(ended.session_id)
    assert session_leaves() == [(run_id, 8), (run_id, 9)]
    artifact = services.get_artifact(ended.session_id)
    assert json.loads(artifact)["inclusion"]["leaf"]["seq"] == 8
    assert verified(artifact, trust(required=True)).ok
    assert left_out() == []


def test_an_end_that_has_its_leaf_gets_no_other(ended: Any) -> None:
    services.sequence_log()
    erase(
        selectors.read_head(ended.session_id), frozenset({"personal"}), Grounds("personal", "x", "retention"),
        actor=SYSTEM,
    )  # fmt: skip
    services.sequence_log()

    assert [seq for _, seq in session_leaves()] == [8, 9]


# Proofs


def test_an_artifact_carries_the_proof_once_a_head_that_counts_covers_it(ended: Any, opened: Any) -> None:
    """A4"""
    assert "inclusion" not in json.loads(services.get_artifact(ended.session_id))
    services.sequence_log()
    for number in range(5):
        opened()
        if number % 2:
            services.sequence_log()

    artifact = services.get_artifact(ended.session_id)

    found = verified(artifact, trust(required=True))
    assert (found.ok, found.trusted) == (True, True)
    assert found.logged is not None
    assert (found.logged.log, found.logged.signed) == ("shop.example/agent-sessions/1", True)
    assert found.logged.tree_size == TreeHead.objects.order_by("-size")[0].size == 7


def test_a_head_that_does_not_count_proves_nothing(ended: Any) -> None:
    services.sequence_log()
    TreeHead.objects.update(exported_at=None)

    assert "inclusion" not in json.loads(services.get_artifact(ended.session_id))
    with pytest.raises(NotLogged):
        selectors.log_inclusion(ended.session_id)
    with pytest.raises(NotLogged):
        selectors.tree_head()
    with pytest.raises(NotLogged):
        selectors.log_consistency(1, TreeHead.objects.get().size)


def test_a_live_session_is_proven_as_far_as_it_is_in_the_log(opened: Any) -> None:
    one = opened()
    services.sequence_log()
    services.record_event(one.session_id, kind="item.viewed")

    found = selectors.log_inclusion(one.session_id)

    assert parse_leaf(found.leaf).seq == 1  # type: ignore[union-attr]
    assert found.proof.proves(found.leaf)
    with pytest.raises(NotLogged):
        selectors.log_inclusion(one.session_id, seq=2)
    with pytest.raises(NotLogged):
        selectors.log_inclusion(uuid.uuid4())


def test_a_proof_leads_to_the_head_that_is_asked_for(opened: Any) -> None:
    one = opened()
    sizes = []
    for _ in range(4):
        sizes.append(services.sequence_log().size)
        opened()

    for size in sizes:
        found = selectors.log_inclusion(one.session_id, size=size)
        assert found.proof.head.size == size
        assert found.proof.proves(found.leaf)
    with pytest.raises(NotLogged):
        selectors.log_inclusion(one.session_id, size=sizes[-1] + 1)


def test_every_two_heads_are_consistent(opened: Any) -> None:
    for number in range(6):
        for _ in range(number):
            opened()
        services.sequence_log()
    keys = [read_vkey(one.vkey) for one in selectors.log_keys()]
    sizes = list(TreeHead.objects.order_by("size").values_list("size", flat=True))
    heads = [open_checkpoint(selectors.tree_head(size), keys).checkpoint for size in sizes]
    assert len(heads) == 6

    for old in heads:
        for new in heads:
            if old.size <= new.size:
                proof = selectors.log_consistency(old.size, new.size)
                assert verify_consistency(old.size, new.size, old.root, new.root, proof)
    with pytest.raises(InvalidValue):
        selectors.log_consistency(sizes[1], sizes[0])
    with pytest.raises(NotLogged):
        selectors.log_consistency(sizes[0], sizes[-1] + 1)
    with pytest.raises(NotLogged):
        selectors.tree_head(generation=7)


def test_an_artifact_takes_a_few_queries_more_whatever_the_size_of_the_log(ended: Any, opened: Any) -> None:
    services.get_artifact(ended.session_id)
    counts = []
    for sessions in (0, 1, 60):
        for _ in range(sessions):
            opened()
        if sessions:
            services.sequence_log()
        with CaptureQueriesContext(connection) as captured:
            services.get_artifact(ended.session_id)
        counts.append(len(captured))

    assert counts[1] - counts[0] <= 4
    assert counts[2] == counts[1]


@pytest.mark.parametrize("model", [LogNode, LogLeaf])
def test_an_artifact_goes_out_without_its_proof_when_the_log_is_damaged(
    ended: Any, opened: Any, caplog: Any, model: type[Any]
) -> None:
    """A4: it is good by itself, and somebody is told."""
    for _ in range(6):
        opened()
    services.sequence_log()
    connection.check_constraints()  # now, or PostgreSQL lets nobody alter the table
    with guards_off(model._meta.db_table):
        for row in model.objects.all():
            model.objects.filter(pk=row.pk).update(hash=flipped(row.hash))
        connection.check_constraints()

    artifact = services.get_artifact(ended.session_id)

    assert "inclusion" not in json.loads(artifact)
    assert "without its proof of inclusion" in caplog.text
    with pytest.raises(LogDamaged):
        selectors.log_inclusion(ended.session_id)


# Batches, killed runs, several runs at once


def test_a_batch_may_end_anywhere(opened: Any) -> None:
    """A4: also inside of what one transaction wrote; nothing is left out, nothing is there twice."""
    with transaction.atomic():
        ids = [str(opened().session_id) for _ in range(7)]

    runs = [services.sequence_log(limit=3) for _ in range(3)]

    assert [(run.leaves, run.remaining) for run in runs] == [(3, True), (3, True), (2, False)]
    assert session_leaves() == [(one, 1) for one in ids]
    assert (wrong_with_the_log(), left_out()) == ([], [])


def test_what_moves_behind_a_batch_is_found_by_the_next_run(opened: Any) -> None:
    first, *_ = [opened() for _ in range(4)]
    services.sequence_log(limit=2)
    services.record_event(first.session_id, kind="item.viewed")

    services.sequence_log(limit=2)
    services.sequence_log(limit=2)

    assert left_out() == []
    assert session_leaves().count((str(first.session_id), 2)) == 1


def test_a_log_that_begins_in_the_middle_of_a_run_gets_every_session(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: also those that the run had put into the log before already."""
    for _ in range(5):
        opened()
    monkeypatch.setattr(sequencing, "_CHUNK", 2)
    begun = []

    def begin(leaves: int) -> None:
        if not begun:
            begun.append(services.begin_log_generation(reason="Restored by hand."))

    services.sequence_log(progress=begin)
    services.sequence_log()

    assert (wrong_with_the_log(), left_out()) == ([], [])


@pytest.mark.parametrize("limit", [0, -1, True, "5"])
def test_a_limit_is_a_whole_number_from_one(limit: Any) -> None:
    with pytest.raises(InvalidValue):
        services.sequence_log(limit=limit)


def test_only_what_was_written_since_is_looked_at(opened: Any) -> None:
    """A4: a run costs what happened since the last, not what has ever happened."""
    services.sequence_log()
    one = opened()
    generation = LogGeneration.objects.get()

    def found(position: int) -> list[uuid.UUID]:
        rows = moved_sessions(connection, generation, position=position, after=BEFORE_ALL, limit=10)
        return [row.session for row in rows]

    assert found(0) == found(generation.position) == [one.session_id]
    assert found(2**40) == []


def test_a_database_that_numbers_its_writing_anew_is_looked_at_whole(opened: Any, caplog: Any) -> None:
    """A4: rows were moved to another server, whose transactions count from the beginning."""
    services.sequence_log()
    opened()
    LogGeneration.objects.update(position=2**40)

    services.sequence_log()

    assert left_out() == []
    assert "numbers its writing anew" in caplog.text
    assert 0 < LogGeneration.objects.get().position < 2**40


@pytest.mark.django_db(transaction=True)
def test_two_sequencers_at_once_share_the_work(opened: Any) -> None:
    """A4: one at a time over all machines."""
    for _ in range(20):
        opened()

    results = at_once([lambda: services.sequence_log(limit=5)] * 4)

    assert not [result for result in results if isinstance(result, Exception)], results
    services.sequence_log()
    assert (wrong_with_the_log(), left_out()) == ([], [])
    assert LogGeneration.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_commits_late_is_not_missed(opened: Any) -> None:
    """A4: transactions commit out of order, so the last one seen says nothing of those before."""
    if connection.vendor == "sqlite":
        pytest.skip("has one writer at a time, so commits are in order")
    late, early = opened(), opened()
    services.sequence_log()
    written, commit = threading.Event(), threading.Event()

    def slowly() -> None:
        with transaction.atomic():
            services.record_event(late.session_id, kind="item.viewed")
            written.set()
            assert commit.wait(PATIENCE)

    def meanwhile() -> None:
        assert written.wait(PATIENCE)
        services.record_event(early.session_id, kind="item.viewed")
        services.sequence_log()
        commit.set()

    assert at_once([slowly, meanwhile]) == [None, None]

    assert left_out() == [f"{late.session_id} 2"]
    services.sequence_log()
    assert (wrong_with_the_log(), left_out()) == ([], [])


# How far behind it is


def test_it_says_how_far_behind_the_log_is(opened: Any, clock: Any) -> None:
    """A4: what has no leaf can still be dropped without trace, so the time is watched."""
    assert selectors.log_state() is None
    one = opened()
    services.sequence_log()
    clock.shift(60)
    services.record_event(one.session_id, kind="item.viewed")
    clock.shift(60)
    services.record_event(one.session_id, kind="item.viewed")

    behind = selectors.log_state()
    services.sequence_log()
    up_to_date = selectors.log_state()

    log = "shop.example/agent-sessions/1"
    assert behind == selectors.LogState(log, 3, 3, 2, MORNING + timedelta(minutes=1), None)
    assert up_to_date == selectors.LogState(log, 4, 4, 0, None, None)
