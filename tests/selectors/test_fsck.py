"""What ``audit_fsck`` finds, code by code (A4). Attacks, and who else finds them, are in tests/attacks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from agent_sessions import services
from agent_sessions.audit.submissions import Submission, read_submission
from agent_sessions.audit.vkeys import SIGNS, NoteKey, read_vkey
from agent_sessions.audit.witness import cosign_folder
from agent_sessions.audit.witnessing import Witness
from agent_sessions.conf import settings
from agent_sessions.crypto.signing import new_signing_key
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.models import (
    AuditEvent,
    LogGeneration,
    LogLeaf,
    LogNode,
    Session,
    SiteEvent,
    SiteKey,
    TreeHead,
)
from agent_sessions.selectors.fsck import Counted, Finding, Sources, _chains, check_log
from agent_sessions.selectors.log import log_consistency, log_keys
from agent_sessions.services.log_generations import begin_log_generation
from agent_sessions.services.log_keys import rotate_log_key
from agent_sessions.services.sequencing import sequence_log
from agent_sessions.services.site_events import record
from agent_sessions.sinks import DirectorySink, SinkFailed
from tests.faults.support import at_once
from tests.superuser import Backup, delete_event, run_sql, superuser
from tests.tampering import flipped

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Log:
    """A log of nine leaves under heads of 5 and 9, in the sink ``disk`` and in ``copy``; ``one`` has leaves 1 and 5.

    Leaf 0 begins it, 4 and 8 are of the site's own chain.
    """

    one: UUID
    two: UUID
    sink: DirectorySink
    copy: Path
    key: NoteKey

    def found(self, **changes: Any) -> list[Finding]:
        sources = Sources(settings.log_origin, sinks=[self.sink], folders=[self.copy], keys=[self.key])
        return list(
            check_log(replace(sources, **changes), Counted(), now=timezone.now(), patience=timedelta(minutes=15))
        )

    def codes(self, **changes: Any) -> list[tuple[str, str]]:
        """Code and place of each finding."""
        return [(finding.code, finding.where) for finding in self.found(**changes)]


@pytest.fixture
def log(opened: Callable[..., Any], configure: Callable[..., None], tmp_path: Path) -> Log:
    root = str(tmp_path / "sink")
    (tmp_path / "sink").mkdir()
    configure(LOG_SINKS=[{"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": root}])
    sessions = [opened().session_id for _ in range(3)]
    sequence_log()
    for one in sessions:
        services.record_event(one, kind="item.viewed")
    record("test.happened", SYSTEM, {})
    sequence_log()
    sink = DirectorySink("disk", root)
    shutil.copytree(root, tmp_path / "copy")
    return Log(sessions[0], sessions[1], sink, tmp_path / "copy", read_vkey(log_keys()[0].vkey))


def leaf(index: int) -> Any:
    return LogLeaf.objects.filter(index=index)


def test_a_good_log_has_no_findings(log: Log) -> None:
    counted = Counted()
    sources = Sources(settings.log_origin, sinks=[log.sink], folders=[log.copy], keys=[log.key])
    assert list(check_log(sources, counted, now=timezone.now(), patience=timedelta(0))) == []
    assert counted == Counted(
        sessions=3, events=6, site_events=2, logs={"shop.example/agent-sessions/1": 9},
        heads={"": 2, "disk": 2, str(log.copy): 2},
    )  # fmt: skip
    assert LogLeaf.objects.filter(session=log.one).count() == 2


def _change_node(log: Log) -> None:
    LogNode.objects.filter(level=1, index=1).update(hash=bytes(32))


def _delete_node(log: Log) -> None:
    LogNode.objects.filter(level=2, index=1).delete()


def _add_node(log: Log) -> None:
    LogNode.objects.create(generation_id=1, level=1, index=4, hash=bytes(32))


def _change_leaf(log: Log) -> None:
    leaf(1).update(seq=2)


def _change_leaf_and_hash(log: Log) -> None:
    leaf(1).update(hash=bytes(32))


def _empty_leaf(log: Log) -> None:
    leaf(0).update(data=None)


def _delete_leaf(log: Log) -> None:
    leaf(7).delete()


def _delete_last_leaf(log: Log) -> None:
    leaf(8).delete()


def _frontier(log: Log) -> None:
    LogGeneration.objects.update(frontier=["00" * 32] * 2)


def _longer_than_it_is(log: Log) -> None:
    LogGeneration.objects.update(size=8)


def _change_head_root(log: Log) -> None:
    TreeHead.objects.filter(size=5).update(root=bytes(32))


def _change_head_note(log: Log) -> None:
    TreeHead.objects.filter(size=5).update(note="nothing")


def _delete_head(log: Log) -> None:
    TreeHead.objects.filter(size=5).delete()


def _delete_events(log: Log) -> None:
    AuditEvent.objects.filter(session_id=log.one).delete()


def _delete_row(log: Log) -> None:
    Session.objects.filter(pk=log.one).delete()  # with its history: what a foreign key would do
    AuditEvent.objects.filter(session_id=log.one).delete()


def _move_row(log: Log) -> None:
    Session.objects.filter(pk=log.one).update(head_hash=bytes(32))


def _bend_event(log: Log) -> None:
    stored = AuditEvent.objects.get(session_id=log.one, seq=2)
    AuditEvent.objects.filter(session_id=log.one, seq=2).update(canonical=flipped(stored.canonical))


def _site_hash(log: Log) -> None:
    SiteEvent.objects.filter(seq=1).update(hash=bytes(32))


def _site_kind(log: Log) -> None:
    SiteEvent.objects.filter(seq=1).update(kind="hold.lifted")


def _site_cut(log: Log) -> None:
    SiteEvent.objects.filter(seq=2).delete()


def differ(*sizes: int, copy: str) -> list[tuple[str, str]]:
    """The findings of heads that have other roots, in the order of sizes and sources."""
    found = []
    for size in sizes:
        found.append(("head_differs", f"the stored head of {size} leaves"))
        found += [("head_differs", f"the head of {size} leaves in {source}") for source in sorted(("disk", copy))]
    return found


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (_change_node, [("node_changed", "node 1 of level 1")]),
        (_delete_node, [("node_missing", "node 1 of level 2")]),
        (_add_node, [("node_extra", "node 4 of level 1")]),
        (_delete_leaf, [("leaf_missing", "leaf 7"), ("leaf_missing", "1 heads")]),
        (_delete_last_leaf, [("leaf_missing", "leaf 8")]),
        (_frontier, [("frontier_changed", "its row")]),
        (_longer_than_it_is, [("frontier_changed", "its row")]),
        (_change_head_root, [("head_changed", "the stored head of 5 leaves")]),
        (_delete_events, [("truncated", "event 1")]),
        (_delete_row, [("session_missing", "its row")]),
        (_move_row, [("wrong_head", "event 2")]),
        (_site_hash, [("wrong_column", "event 1")]),
        (_site_kind, [("wrong_column", "event 1")]),
        (_site_cut, [("truncated", "event 2")]),
    ],
)
def test_what_is_wrong_is_named(log: Log, act: Callable[[Log], object], expected: list[tuple[str, str]]) -> None:
    with superuser():
        act(log)
    found = [one for one in log.codes() if not one[0].startswith("log_truncated")]
    assert found == expected


def test_a_changed_leaf_changes_every_head_over_it(log: Log) -> None:
    with superuser():
        _change_leaf(log)
    codes = log.codes()
    assert codes[0] == ("leaf_changed", "leaf 1")
    assert [one for one in codes if one[0] == "head_differs"] == differ(5, 9, copy=str(log.copy))
    assert ("node_changed", "node 0 of level 1") in codes


@pytest.mark.parametrize("act", [_change_leaf_and_hash, _empty_leaf])
def test_a_leaf_has_to_have_the_hash_of_what_it_says(log: Log, act: Callable[[Log], object]) -> None:
    with superuser():
        act(log)
    assert log.codes()[0][0] == "leaf_changed"


def test_a_head_that_is_gone_from_the_database_is_missed(log: Log) -> None:
    with superuser():
        _delete_head(log)
    assert log.codes() == [
        ("head_missing", f"the head of 5 leaves in {source}") for source in sorted(("disk", str(log.copy)))
    ]


def test_a_stored_head_that_cannot_be_read_is_no_head(log: Log) -> None:
    with superuser():
        _change_head_note(log)
    assert log.codes()[0] == ("head_changed", "the stored head of 5 leaves")
    assert {code for code, _ in log.codes()} == {"head_changed", "head_missing"}


def test_an_event_that_cannot_be_read_is_named_with_its_session(log: Log) -> None:
    with superuser():
        _bend_event(log)
    unreadable, other, row = log.found()
    assert (unreadable.code, unreadable.session, unreadable.seq) == ("not_json", log.one, 2)
    assert str(unreadable).startswith(f"{log.one}: event 2 ")
    assert (other.code, other.seq, row.code) == ("history_changed", 2, "wrong_head")


def test_a_gap_is_said_once_and_what_follows_is_checked(log: Log) -> None:
    delete_event(log.one, 1)
    assert {(one.code, one.session, one.seq) for one in log.found()} == {
        ("wrong_seq", log.one, 2),
        ("broken_chain", log.one, 2),
    }


def test_a_sink_that_lost_a_head_is_told_of(log: Log) -> None:
    files = sorted(Path(log.sink._root).rglob("head-*.txt"))
    files[0].unlink()
    assert log.codes() == [("head_lost", "the stored head of 5 leaves")]
    files[1].unlink()
    assert log.codes() == [("head_lost", f"the stored head of {size} leaves") for size in (5, 9)]


def test_a_head_that_was_exported_after_the_sink_was_read_is_not_lost(
    log: Log, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sequencer may run at the same time."""
    before = list(log.sink.heads("shop.example/agent-sessions/1"))
    calls: list[str] = []

    def heads(origin: str) -> Any:
        calls.append(origin)
        if len(calls) == 1:
            opened()
            sequence_log()
            return iter(before)
        return DirectorySink("disk", log.sink._root).heads(origin)

    monkeypatch.setattr(log.sink, "heads", heads)
    assert log.codes() == []
    assert TreeHead.objects.latest("size").size == 10
    assert len(calls) == 2


def test_a_sink_that_cannot_be_read_is_told_of(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise SinkFailed("disk", "Input/output error")

    monkeypatch.setattr(log.sink, "origins", fail)
    (finding,) = log.found()
    assert str(finding) == "disk: the sink cannot be read: Input/output error [sink_unreadable]"


def test_a_sink_that_cannot_be_read_back_at_all_is_not_asked(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.sink, "readable", False)
    monkeypatch.setattr(log.sink, "origins", lambda: 1 / 0)
    assert log.codes() == []


def test_a_file_that_is_no_head_is_told_of(log: Log) -> None:
    (log.copy / "head-1.txt").write_text("nothing")
    assert log.codes() == [("head_unreadable", "head-1.txt")]


def test_bare_notes_and_submissions_are_read_at_any_depth(log: Log) -> None:
    for file in log.copy.rglob("head-*.txt"):
        file.write_text(read_submission(file.read_bytes()).note)
    counted = Counted()
    sources = Sources(settings.log_origin, folders=[log.copy], keys=[log.key])
    assert list(check_log(sources, counted, now=timezone.now(), patience=timedelta(0))) == []
    assert counted.heads[str(log.copy)] == 2


def test_heads_of_other_sites_are_left_out(log: Log) -> None:
    other = next(log.copy.rglob("head-*.txt"))
    note = read_submission(other.read_bytes()).note.replace("shop.example", "other.example")
    (log.copy / "head-other.txt").write_text(Submission(0, (), note).text)
    counted = Counted()
    sources = Sources(settings.log_origin, folders=[log.copy], keys=[log.key])
    assert list(check_log(sources, counted, now=timezone.now(), patience=timedelta(0))) == []
    assert counted.other_heads == 1


def test_heads_of_another_key_are_not_to_be_trusted(log: Log) -> None:
    """A4: the keys in the database are the attacker's."""
    stranger = NoteKey(log.key.name, SIGNS, new_signing_key()[1])
    codes = [code for code, _ in log.codes(keys=[stranger])]
    assert codes == ["head_unsigned"] * 6
    assert log.codes(keys=[]) == []
    SiteKey.objects.filter(purpose=SiteKey.Purpose.LOG).update(public=stranger.public)
    assert [code for code, _ in log.codes(keys=[])] == ["head_unsigned"] * 6


def test_a_key_that_a_trusted_key_brought_in_is_trusted(log: Log, opened: Callable[..., Any]) -> None:
    for _ in range(2):
        rotate_log_key()
        opened()
        sequence_log()
    assert log.codes() == []


def test_a_key_that_no_trusted_key_brought_in_is_told_of(log: Log) -> None:
    rotate_log_key()
    sequence_log()
    stranger = NoteKey(log.key.name, SIGNS, new_signing_key()[1])
    assert ("unknown_key", "leaf 9") in log.codes(keys=[stranger])


@pytest.fixture
def cosigned(log: Log, tmp_path: Path) -> Callable[..., list[Finding]]:
    """What is found of a log with a witness who has co-signed its heads; nothing else is kept outside."""
    made = Witness.create(tmp_path / "witness", "witness.example/w1")
    made.add_log(log.key)
    for head in TreeHead.objects.order_by("size"):
        known = made.find(log.key.name).size
        proof = log_consistency(known, head.size) if known else []
        head.cosignatures = [made.consider(Submission(known, tuple(proof), head.note)).line]
        head.save()

    def found(**changes: Any) -> list[Finding]:
        return log.found(**{"sinks": [], "folders": [], "keys": [], "witnesses": [made.key], **changes})

    return found


def test_what_a_witness_has_co_signed_is_whole(cosigned: Callable[..., list[Finding]]) -> None:
    assert cosigned() == []


def test_a_log_that_was_rewritten_whole_lacks_the_witness(cosigned: Callable[..., list[Finding]]) -> None:
    """A4: with the log's key one can sign any history, but not co-sign it; whatever times the leaves are given."""
    TreeHead.objects.update(cosignatures=[])
    assert [(one.code, one.where) for one in cosigned()] == [("unwitnessed", "the witness witness.example/w1")]


@pytest.mark.parametrize("of", [5, 9])
def test_a_cosignature_of_something_else_is_found(cosigned: Callable[..., list[Finding]], of: int) -> None:
    other = TreeHead.objects.exclude(size=of).get()
    TreeHead.objects.filter(size=of).update(cosignatures=other.cosignatures)
    found = [one for one in cosigned() if one.code == "head_unsigned"]
    assert [one.where for one in found] == [f"the stored head of {of} leaves"]
    assert "witness.example/w1" in found[0].message


@pytest.mark.parametrize("lines", [["nonsense"], [7], 7])
def test_cosignatures_that_cannot_be_read_are_told_of(cosigned: Callable[..., list[Finding]], lines: Any) -> None:
    TreeHead.objects.filter(size=5).update(cosignatures=lines)
    assert [(one.code, one.where) for one in cosigned()] == [("head_changed", "the stored head of 5 leaves")]


def test_a_witness_that_falls_behind_is_told_of(
    cosigned: Callable[..., list[Finding]], opened: Callable[..., Any], log: Log
) -> None:
    opened()
    sequence_log()
    assert cosigned() == []
    with superuser():
        leaf(9).update(created_at=timezone.now() - timedelta(hours=1))
    (late,) = cosigned()
    assert (late.code, late.where) == ("unwitnessed", "1 leaves that the witness witness.example/w1 has not co-signed")


def test_cosignatures_are_read_beside_the_heads_in_a_folder(
    cosigned: Callable[..., list[Finding]], log: Log, tmp_path: Path
) -> None:
    TreeHead.objects.update(cosignatures=[])
    assert cosign_folder(Witness(tmp_path / "witness"), log.copy) == 0
    assert [one.code for one in cosigned()] == ["unwitnessed"]
    assert cosigned(folders=[log.copy]) == []


def test_a_planned_generation_goes_on_where_the_one_before_ended(log: Log) -> None:
    begin_log_generation(reason="moved to another server")
    sequence_log()
    assert log.codes() == []
    assert LogLeaf.objects.filter(generation_id=2, session=log.one).count() == 1


@pytest.fixture
def restored(log: Log, opened: Callable[..., Any]) -> Log:
    """The log after a session and a head were lost with a backup, and the sequencer noticed."""
    backup = Backup()
    opened()
    sequence_log()
    shutil.copytree(log.sink._root, log.copy, dirs_exist_ok=True)
    backup.restore()
    services.record_event(log.two, kind="item.bought")
    sequence_log()  # adds a leaf to the old log, and notices then
    sequence_log()
    assert list(LogGeneration.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    return log


def test_what_a_restore_lost_is_told_of_until_it_is_accepted(restored: Log) -> None:
    """A4: after a restore a new generation begins and says so."""
    found = restored.found()
    assert [one.code for one in found] == ["log_truncated"] * 3
    told = "shop.example/agent-sessions/2 began after 10 leaves of it: The sink disk knows more than the database."
    assert all(str(one).endswith(f"; {told} [log_truncated]") for one in found)
    counted = Counted()
    sources = Sources(settings.log_origin, [restored.sink], [restored.copy], [restored.key], accepted=[2])
    assert list(check_log(sources, counted, now=timezone.now(), patience=timedelta(0))) == []
    assert counted.restarts == [f"shop.example/agent-sessions/1 is not whole; {told}"]


def test_a_generation_names_the_last_exported_head_before_it(restored: Log) -> None:
    """A4: a head that was exported later than the one it names is a second history."""
    later = TreeHead.objects.filter(generation_id=2).latest("size")
    assert later.size
    named = LogLeaf.objects.get(generation_id=2, index=0)
    note = read_submission(sorted(restored.copy.rglob("head-*.txt"))[0].read_bytes()).note
    from agent_sessions.audit.leaf import generation_leaf

    with superuser():
        LogLeaf.objects.filter(generation_id=2, index=0).update(
            data=generation_leaf(log="shop.example/agent-sessions/2", former=note, reason="nothing happened")
        )
    found = [one for one in restored.found() if one.code == "former_wrong"]
    assert named.data is not None
    assert [one.message for one in found] == [
        "names the head of 5 leaves of shop.example/agent-sessions/1, though one of 10 leaves of "
        "shop.example/agent-sessions/1 was exported"
    ]


def test_a_log_that_is_gone_from_the_database_is_missed(restored: Log) -> None:
    with superuser():
        for model in (LogLeaf, LogNode, TreeHead):
            model._default_manager.filter(generation_id=1).delete()
        LogGeneration.objects.filter(number=1).delete()
    assert {code for code, _ in restored.codes()} == {"log_missing"}


def test_what_waits_too_long_is_told_of(log: Log, configure: Any) -> None:
    services.record_event(log.one, kind="item.viewed")
    sources = Sources(settings.log_origin, keys=[log.key])
    later, hour = timezone.now() + timedelta(hours=1), timedelta(hours=1)
    assert list(check_log(sources, Counted(), now=later - timedelta(minutes=1), patience=hour)) == []
    (waiting,) = check_log(sources, Counted(), now=later + timedelta(minutes=1), patience=hour)
    assert str(waiting).startswith("the log: 1 events that are in no leaf wait, the oldest for 36")
    configure(
        LOG_SINKS=[{"name": "full", "class": "agent_sessions.sinks.DirectorySink", "directory": "/dev/null/full"}]
    )
    sequence_log()
    (waiting,) = check_log(sources, Counted(), now=later + timedelta(minutes=1), patience=hour)
    assert (waiting.code, waiting.where) == ("unexported", "1 leaves that no exported head covers")


def test_how_long_something_waits_is_what_its_event_says_and_not_its_row(log: Log) -> None:
    """Who can write to the database can make a row younger, but not what is hashed."""
    services.record_event(log.one, kind="item.viewed")
    young = "UPDATE {} SET created_at = %s"
    later = timezone.now() + timedelta(hours=2)
    run_sql((young.format("agent_sessions_auditevent"), [later]), (young.format("agent_sessions_siteevent"), [later]))
    found = list(check_log(Sources(settings.log_origin), Counted(), now=later, patience=timedelta(hours=1)))
    assert [finding.code for finding in found] == ["unsequenced"]


def test_without_a_log_everything_waits(opened: Callable[..., Any]) -> None:
    opened()
    counted = Counted()
    sources = Sources(settings.log_origin)
    (waiting,) = check_log(sources, counted, now=timezone.now() + timedelta(1), patience=timedelta(hours=1))
    assert (waiting.code, counted.unsequenced.count) == ("unsequenced", 1)


def test_a_session_whose_content_was_erased_checks(log: Log) -> None:
    """A7"""
    services.end_session(log.one)
    sequence_log()
    run_sql("DELETE FROM agent_sessions_sessionkey")
    assert log.codes() == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="it is about PostgreSQL: set DATABASE_URL")
@pytest.mark.django_db(transaction=True)
def test_a_shop_that_goes_on_gives_no_findings(
    log: Log, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: everything is read as it was at one moment, with the sequencer at work after half of it."""
    check = _chains.ChainsCheck.site_findings

    def at_work(chains: _chains.ChainsCheck) -> Iterator[Finding]:
        (failed,) = at_once([lambda: (opened(), services.end_session(log.one), sequence_log())])
        assert not isinstance(failed, Exception)
        yield from check(chains)

    monkeypatch.setattr(_chains.ChainsCheck, "site_findings", at_work)
    counted = Counted()
    sources = Sources(settings.log_origin, sinks=[log.sink], folders=[log.copy], keys=[log.key])
    assert list(check_log(sources, counted, now=timezone.now(), patience=timedelta(minutes=15))) == []
    assert (counted.sessions, counted.events, AuditEvent.objects.count()) == (3, 6, 8)
