"""Tree heads on their way to the sinks: what waits, what counts, and what is never signed twice (A4)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.leaf import GenerationLeaf, KeysLeaf, parse_leaf
from agent_sessions.audit.merkle import verify_consistency
from agent_sessions.audit.notes import Policy, open_checkpoint, parse_note
from agent_sessions.audit.submissions import Submission, head_file
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witness import Handler, Server, cosign_folder
from agent_sessions.audit.witnessing import Witness
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.exceptions import InvalidValue
from agent_sessions.models import LogGeneration, LogLeaf, SiteEvent, SiteKey, TreeHead
from agent_sessions.services import _log_sinks
from agent_sessions.sinks import DirectorySink, SinkFailed
from tests.sequenced import DISK, backup, leaf_bytes, left_out, wrong_with_the_log
from tests.sinks.trees import Answering, Tree, serving

pytestmark = pytest.mark.django_db

ORIGIN = "shop.example/agent-sessions/1"
FAKE = "tests.sequenced.FakeSink"


@pytest.fixture(autouse=True)
def nothing_fails_yet() -> Iterator[None]:
    _log_sinks._failing.clear()
    yield
    _log_sinks._failing.clear()


@pytest.fixture
def store(configure: Any) -> dict[str, Any]:
    """What the only sink keeps, in memory."""
    made: dict[str, Any] = {}
    configure(LOG_SINKS=[{"name": "fake", "class": FAKE, "store": made}])
    return made


@pytest.fixture
def disk(tmp_path: Path, configure: Any) -> DirectorySink:
    (tmp_path / "heads").mkdir()
    configure(LOG_SINKS=[{"name": "disk", "class": DISK, "directory": tmp_path / "heads"}])
    return DirectorySink("disk", tmp_path / "heads")


def errors(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_without_sinks_a_head_counts_at_once(opened: Any) -> None:
    opened()
    assert services.sequence_log().counted == 3


def test_a_head_is_exported_as_it_is_stored(opened: Any, disk: DirectorySink) -> None:
    opened()
    services.sequence_log()
    opened()
    services.sequence_log()

    assert [one.note for one in disk.heads(ORIGIN)] == [head.note for head in TreeHead.objects.order_by("size")]
    assert [head.exported_to for head in TreeHead.objects.all()] == [["disk"]] * 2
    first, second = disk.heads(ORIGIN)
    assert (first.old, second.old) == (0, first.head.size)
    assert verify_consistency(second.old, second.head.size, first.head.root, second.head.root, second.proof)


def test_while_a_sink_is_down_the_head_waits_and_no_other_is_signed(
    opened: Any, store: dict[str, Any], caplog: Any
) -> None:
    """A4: it is told once, and exported later."""
    one = opened()
    services.sequence_log()
    opened()
    store["down"] = True

    runs = [services.sequence_log() for _ in range(3)]

    assert [(run.counted, run.waiting) for run in runs] == [(3, 1)] * 3  # unsigned: nobody says what was kept
    assert TreeHead.objects.count() == 1
    assert len(errors(caplog)) == 1
    assert "'fake'" in errors(caplog)[0]
    assert selectors.log_inclusion(one.session_id).proof.head.size == 3
    store["down"] = False
    assert (services.sequence_log().counted, left_out()) == (4, [])
    assert "works again" in caplog.text


def test_a_head_that_was_signed_before_its_sink_failed_is_sent_unchanged(
    opened: Any, configure: Any, store: dict[str, Any], tmp_path: Path
) -> None:
    """A4: one head waits at most, with the signature that it had."""
    configure(LOG_SINKS=[
        {"name": "disk", "class": DISK, "directory": tmp_path}, {"name": "fake", "class": FAKE, "store": store},
    ])  # fmt: skip
    opened()
    store["down"] = True
    first = services.sequence_log()
    opened()
    second = services.sequence_log()

    assert [(run.counted, run.waiting) for run in (first, second)] == [(0, 3), (0, 4)]
    note = TreeHead.objects.get().note
    state = selectors.log_state()
    assert state is not None
    assert state.waiting_since == LogLeaf.objects.get(index=0).created_at

    store["down"] = False
    assert services.sequence_log().counted == 3
    assert services.sequence_log().counted == 4
    assert {one.note for one in store["seen"] if one.head.size == 3} == {note}
    assert wrong_with_the_log() == []


def test_a_head_that_has_waited_for_long_is_told_of_each_time(
    opened: Any, configure: Any, store: dict[str, Any], tmp_path: Path, clock: Any, caplog: Any
) -> None:
    configure(LOG_SINKS=[
        {"name": "disk", "class": DISK, "directory": tmp_path}, {"name": "fake", "class": FAKE, "store": store},
    ])  # fmt: skip
    opened()
    store["down"] = True
    services.sequence_log()
    clock.shift(301)
    caplog.clear()

    services.sequence_log()

    assert errors(caplog) == ["The log: 3 leaves have waited for their sinks, the oldest for 5 minutes."]


def test_fewer_sinks_may_be_enough_and_the_others_are_brought_up_later(
    opened: Any, configure: Any, store: dict[str, Any], tmp_path: Path
) -> None:
    configure(
        LOG_SINKS=[
            {"name": "disk", "class": DISK, "directory": tmp_path},
            {"name": "late", "class": DISK, "directory": tmp_path / "late"},
        ],
        LOG_SINKS_NEEDED=1,
    )
    late = DirectorySink("late", tmp_path / "late")
    sizes = []
    for _ in range(3):
        opened()
        sizes.append(services.sequence_log().counted)
    assert sizes == [3, 4, 5]

    (tmp_path / "late").mkdir()
    services.sequence_log()
    opened()
    services.sequence_log()

    assert [(one.old, one.head.size) for one in late.heads(ORIGIN)] == [(0, 5), (5, 6)]
    assert TreeHead.objects.get(size=5).exported_to == ["disk", "late"]


# Witnesses


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness.create(tmp_path / "witness", "witness.example/w1")


@pytest.fixture
def witnessed(witness: Witness, configure: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Callable[[], Any]]:
    """A directory and a witness as sinks; what is yielded takes the witness off the network."""
    monkeypatch.setattr(Handler, "log_message", lambda *_: None)
    (tmp_path / "heads").mkdir()
    with Server(("127.0.0.1", 0), witness) as server, serving(server) as url:
        sinks = [
            {"name": "disk", "class": DISK, "directory": tmp_path / "heads"},
            {"name": "w1", "class": "agent_sessions.sinks.WitnessSink", "url": url, "key": witness.key.text},
        ]
        configure(LOG_SINKS=sinks)
        nowhere = {**sinks[1], "url": "http://127.0.0.1:1", "timeout": 1}
        yield lambda: configure(LOG_SINKS=[sinks[0], nowhere])


def follow(witness: Witness) -> None:
    for one in selectors.log_keys():
        witness.add_log(read_vkey(one.vkey))


def test_a_witness_co_signs_and_artifacts_say_so(ended: Any, witness: Witness, witnessed: Any, opened: Any) -> None:
    """A4: a quorum of witnesses can be asked for."""
    services.sequence_log()
    assert TreeHead.objects.get().exported_to == ["disk"]  # the witness does not follow the log yet
    follow(witness)
    opened()
    assert services.sequence_log().counted == 3
    assert services.sequence_log().counted == 4

    keys = [read_public_key(one.public_key) for one in services.signing_keys()]
    policy = Policy(tuple(read_vkey(one.vkey) for one in selectors.log_keys()), (witness.key,), quorum=1)
    found = verify_artifact(services.get_artifact(ended.session_id), keys, log=LogTrust(policy, required=True))
    assert found.ok
    assert found.logged is not None
    assert [name for name, _ in found.logged.witnesses] == ["witness.example/w1"]


def test_while_the_witness_is_out_of_reach_the_head_waits(
    opened: Any, witness: Witness, witnessed: Any, configure: Any, settings: Any, caplog: Any
) -> None:
    services.sequence_log()
    follow(witness)
    services.sequence_log()
    sinks = settings.AGENT_SESSIONS["LOG_SINKS"]
    witnessed()
    opened()
    assert [services.sequence_log().waiting for _ in range(2)] == [1, 1]
    assert TreeHead.objects.get(size=3).exported_to == ["disk"]
    assert len(errors(caplog)) == 2  # it did not follow the log, and it is out of reach

    configure(LOG_SINKS=sinks)
    assert services.sequence_log().counted == 3
    assert witness.find(ORIGIN).size == 3
    assert witness.find(ORIGIN).refusals == 0


def test_a_witness_that_missed_heads_gets_the_proof_from_where_it_is(
    opened: Any, witness: Witness, witnessed: Any, configure: Any
) -> None:
    configure(LOG_SINKS_NEEDED=1)
    services.sequence_log()
    follow(witness)
    for _ in range(3):
        services.sequence_log()
        opened()
    TreeHead.objects.update(exported_to=["disk"])  # as if its answers had been lost
    opened()

    services.sequence_log()

    newest = TreeHead.objects.order_by("-size")[0]
    assert newest.exported_to == ["disk", "w1"]
    assert witness.find(ORIGIN).size == newest.size


def test_a_witness_that_knows_another_history_makes_the_log_begin_again(
    opened: Any, witness: Witness, witnessed: Any, caplog: Any
) -> None:
    """A4: a witness cannot be asked before; what it refuses never counts."""
    services.sequence_log()
    follow(witness)
    services.sequence_log()
    restore = backup()
    opened()
    services.sequence_log()
    restore()
    _forget(Path(witness._state).parent.parent / "heads")
    opened()

    services.sequence_log()

    assert LogGeneration.objects.get(closed_at=None).number == 2
    assert "a new generation of the log has to begin" in errors(caplog)[-1]
    assert TreeHead.objects.get(size=3).exported_at is None
    assert witness.find(ORIGIN).alarms == 1


def _forget(folder: Path) -> None:
    """Whoever restored the database restored the directory too."""
    for file in sorted(folder.rglob("head-*.txt"))[1:]:
        file.unlink()


def test_cosignatures_that_come_beside_the_heads_are_taken_with_the_next_run(
    ended: Any, opened: Any, witness: Witness, configure: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "heads"
    folder.mkdir()
    configure(LOG_SINKS=[{"name": "disk", "class": DISK, "directory": folder, "witnesses": [witness.key.text]}])
    services.sequence_log()
    follow(witness)
    assert cosign_folder(witness, folder) == 0
    services.sequence_log()
    opened()
    services.sequence_log()

    # The newest head has none yet, and an artifact carries one that has.
    document = json.loads(services.get_artifact(ended.session_id))
    keys = [read_vkey(selectors.log_keys()[0].vkey), witness.key]
    found = open_checkpoint(document["inclusion"]["checkpoint"], keys)
    assert found.checkpoint.size == TreeHead.objects.order_by("size")[0].size
    assert [key for key, _ in found.cosigned] == [witness.key]


# A database that was restored


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


# Keys


def test_a_new_key_is_brought_in_by_the_old_one(opened: Any, disk: DirectorySink) -> None:
    """A4, A8"""
    services.sequence_log()
    (old,) = selectors.log_keys()

    new = services.rotate_log_key()
    services.sequence_log()

    assert new is not None
    leaf = next(one for one in map(parse_leaf, map(leaf_bytes, _leaves())) if isinstance(one, KeysLeaf))
    assert (leaf.former, leaf.key) == (old.vkey, new.text)
    assert [(key.vkey, key.active) for key in selectors.log_keys()] == [(new.text, True), (old.vkey, False)]
    newest = selectors.tree_head()
    for vkey in (old.vkey, new.text):
        assert open_checkpoint(newest, [read_vkey(vkey)]).checkpoint.size == 4
    assert (wrong_with_the_log(), left_out()) == ([], [])


def _leaves() -> Any:
    return LogLeaf.objects.select_related("generation").order_by("generation_id", "index")


def test_a_witness_goes_on_through_rotations(opened: Any, witness: Witness, witnessed: Any) -> None:
    """A4: it has from one rotation to the next to take the new key over."""
    services.sequence_log()
    follow(witness)
    services.sequence_log()
    services.rotate_log_key()
    assert services.sequence_log().waiting == 0
    follow(witness)
    services.rotate_log_key()
    done = services.sequence_log()

    assert done.waiting == 0
    assert witness.find(ORIGIN).size == done.size
    assert witness.find(ORIGIN).refusals == 0


def test_a_generation_has_the_keys_that_signed_in_its_time(disk: DirectorySink) -> None:
    services.sequence_log()
    services.rotate_log_key()
    services.begin_log_generation(reason="planned")
    services.sequence_log()

    assert [(key.generation, key.active) for key in selectors.log_keys()] == [(2, True), (1, False), (1, False)]
    assert len(parse_note(selectors.tree_head()).signatures) == 1


def test_before_any_log_only_the_key_is_new() -> None:
    assert services.rotate_log_key() is None
    assert SiteKey.objects.filter(purpose="log").count() == 2
    assert services.sequence_log().counted == 2


def test_a_security_event_is_taken_out_of_the_database(opened: Any, disk: DirectorySink) -> None:
    """T3, A4"""
    opened()
    services.sequence_log()
    before = selectors.log_keys()

    report = services.answer_security_event(reason="a laptop was stolen")

    assert report.exported
    assert left_out() == []
    assert len(selectors.log_keys()) == len(before) + 1
    newest = disk.newest(ORIGIN)
    assert newest is not None
    assert newest.head.size == LogGeneration.objects.get().size


def test_a_security_event_says_when_the_sinks_do_not_have_it(opened: Any, store: dict[str, Any]) -> None:
    services.sequence_log()
    store["down"] = True
    assert not services.answer_security_event(reason="a laptop was stolen").exported


def test_keys_wrapped_anew_sign_on(opened: Any, provider: Any, configure: Any, settings: Any) -> None:
    """A8"""
    services.sequence_log()
    keys = settings.AGENT_SESSIONS["MASTER_KEYS"]
    configure(MASTER_KEYS={"test-2": "".join(reversed(keys["test-1"].rstrip("="))) + "=", **keys})

    services.rewrap()
    configure(MASTER_KEYS={"test-2": settings.AGENT_SESSIONS["MASTER_KEYS"]["test-2"]})
    opened()

    assert services.sequence_log().counted == 4
    assert wrong_with_the_log() == []


def test_a_sink_that_takes_a_head_twice_sees_the_same(opened: Any, store: dict[str, Any]) -> None:
    """A4: killed between export and mark, it is exported again."""
    opened()
    services.sequence_log()
    TreeHead.objects.update(exported_at=None, exported_to=[])
    services.sequence_log()

    first, second = store["seen"]
    assert isinstance(first, Submission)
    assert first == second
    assert TreeHead.objects.get().exported_to == ["fake"]
