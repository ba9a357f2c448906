"""Tree heads on their way to the sinks: what waits, what counts, and what is never signed twice (A4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.merkle import verify_consistency
from agent_sessions.audit.submissions import Submission
from agent_sessions.models import LogLeaf, TreeHead
from agent_sessions.sinks import DirectorySink
from tests.sequenced import DISK, left_out, wrong_with_the_log
from tests.services.exporting import FAKE, ORIGIN, disk, errors, nothing_fails_yet, store

pytestmark = pytest.mark.django_db
__all__ = ["disk", "nothing_fails_yet", "store"]


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
