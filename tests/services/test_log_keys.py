"""The log's keys change, and every head is still proven; what the site did goes into the log too (A4)."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.leaf import KeysLeaf, parse_leaf
from agent_sessions.audit.notes import open_checkpoint, parse_note
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.models import LogGeneration, LogLeaf, SiteKey
from agent_sessions.sinks import DirectorySink
from tests.sequenced import leaf_bytes, left_out, wrong_with_the_log
from tests.services.exporting import ORIGIN, disk, nothing_fails_yet, store

pytestmark = pytest.mark.django_db
__all__ = ["disk", "nothing_fails_yet", "store"]


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
