"""Who finds what of attacks by someone with all rights on the database, and with stolen keys (A3, A4, T3).

``docs/audit.md`` has these as a table, a row a test; ``test_table`` compares the two.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine as clocks
from django.utils import timezone

from agent_sessions import services
from agent_sessions.audit.merkle import Frontier, grow
from agent_sessions.audit.notes import Checkpoint, sign_checkpoint
from agent_sessions.audit.submissions import Submission, head_file
from agent_sessions.audit.vkeys import SIGNS, NoteKey
from agent_sessions.crypto.signing import sign
from agent_sessions.domain.calls import Call
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import Artifact, LogGeneration, LogLeaf, LogNode, Session, SiteKey, TreeHead
from agent_sessions.services._log_tree import NewLeaf, append_leaves
from agent_sessions.services.artifacts import seal_artifact
from agent_sessions.services.keys import active_site_key, site_key_secret
from agent_sessions.services.sequencing import sequence_log
from tests.attacks.conftest import Found, Shop, found_by
from tests.superuser import (
    Backup,
    chain_again,
    delete_event,
    delete_session,
    edit_event,
    key,
    run_sql,
    superuser,
)

pytestmark = pytest.mark.django_db


def test_nobody_finds_anything_where_nothing_was_done(shop: Shop) -> None:
    assert shop.codes() == shop.codes(with_heads=False) == set()
    assert shop.found() == Found()


@found_by(chain=True, artifact=True, fsck=True)
def test_an_event_is_edited(shop: Shop) -> None:
    edit_event(shop.ended, 3, kind="item.bought")
    assert shop.codes(with_heads=False) == {"broken_chain"}


@found_by(chain=True, artifact=True, fsck=True)
def test_an_event_in_the_middle_is_deleted(shop: Shop) -> None:
    delete_event(shop.ended, 3)
    assert shop.codes(with_heads=False) == {"wrong_seq", "broken_chain"}


@found_by(chain=True, artifact=True, fsck=True)
def test_an_event_is_moved_to_another_session(shop: Shop) -> None:
    sql = "UPDATE agent_sessions_auditevent SET session_id = %s, seq = 6 WHERE session_id = %s AND seq = 4"
    run_sql((sql, [key(shop.live), key(shop.ended)]))
    assert {"wrong_run", "wrong_seq", "broken_chain"} <= shop.codes(with_heads=False)


@found_by(fsck=True)
def test_an_event_is_edited_and_the_chain_made_again(shop: Shop) -> None:
    edit_event(shop.live, 3, kind="item.bought")
    chain_again(shop.live)
    assert shop.codes(with_heads=False) == {"history_changed"}


@found_by(fsck=True)
def test_a_sessions_last_events_are_deleted(shop: Shop) -> None:
    delete_event(shop.live, 5)
    delete_event(shop.live, 4)
    chain_again(shop.live)
    assert shop.codes(with_heads=False) == {"truncated"}


@found_by(artifact=True, fsck=True)
def test_a_session_is_deleted(shop: Shop) -> None:
    delete_session(shop.ended)
    assert shop.codes(with_heads=False) == {"session_missing"}


@found_by(artifact=True, fsck=True)
def test_a_session_is_signed_again_with_the_signing_key(shop: Shop) -> None:
    edit_event(shop.ended, 3, kind="item.bought")
    _sealed_again(shop)
    assert shop.codes(with_heads=False) == {"history_changed"}


@pytest.fixture
def sent_back(shop: Shop, opened: Callable[..., Any]) -> Shop:
    """The shop with another session given out, and nothing done to it yet but a backup before its end."""
    one = opened().session_id
    services.record_event(one, kind="item.viewed")
    sequence_log()
    backup = Backup()
    services.record_event(one, kind="item.bought")
    services.end_session(one, reason=EndReason.COMPLETED)
    sequence_log()
    artifact = services.get_artifact(one)
    shop.goes_on()
    backup.restore_session(one)
    return replace(shop, ended=one, artifact=artifact)


@found_by("sent_back", artifact=True, fsck=True)
def test_a_session_is_cut_and_ended_anew_with_the_signing_key(sent_back: Shop) -> None:
    services.end_session(sent_back.ended, reason=EndReason.DELETED)
    assert sent_back.codes(with_heads=False) == {"truncated"}


@found_by(fsck=True, witness=True)
def test_the_database_goes_back_to_yesterday(shop: Shop, tmp_path: Path) -> None:
    """And with it the shop's own sink: with that left as it is, the sequencer would have noticed."""
    yesterday = Backup()
    shutil.copytree(shop.exported, tmp_path / "yesterday")
    services.record_event(shop.live, kind="item.bought")
    shop.goes_on()
    yesterday.restore()
    shutil.rmtree(shop.exported)
    shutil.copytree(tmp_path / "yesterday", shop.exported)
    assert shop.codes() == {"log_truncated"}
    assert shop.codes(with_heads=False) == set()


@found_by(fsck=True, witness=True)
def test_a_session_is_deleted_with_its_leaf_and_the_heads_over_it(shop: Shop, opened: Callable[..., Any]) -> None:
    """Out of the shop's own sink too: only what others keep is left."""
    one = opened().session_id
    shop.goes_on()
    delete_session(one)
    newest = TreeHead.objects.latest("size")
    size = newest.size - 1
    with superuser():
        TreeHead.objects.filter(size=newest.size).delete()
        LogLeaf.objects.filter(session=one, index=size).delete()
        for level in range(1, newest.size.bit_length()):
            LogNode.objects.filter(level=level, index__gte=size >> level).delete()
        left = LogLeaf.objects.order_by("index").values_list("hash", flat=True)
        frontier, _ = grow(Frontier(), map(bytes, left))
        LogGeneration.objects.update(size=size, frontier=[one.hex() for one in frontier.hashes])
    next(shop.exported.rglob(head_file(newest.size))).unlink()
    assert shop.codes() == {"log_truncated"}
    assert shop.codes(with_heads=False) == set()


@found_by(artifact=True, fsck=True, witness=True)
def test_the_whole_log_is_signed_again_with_the_logs_key(shop: Shop) -> None:
    """Sessions, leaves, heads, and the shop's own sink: what is in the shop fits together."""
    edit_event(shop.ended, 3, kind="item.bought")
    _sealed_again(shop)
    first = LogLeaf.objects.get(index=0)
    with superuser():
        for model in (TreeHead, LogNode, LogLeaf):
            model._default_manager.all().delete()
        LogGeneration.objects.update(size=0, frontier=[], position=0)
    for log in shop.exported.iterdir():
        shutil.rmtree(log)
    append_leaves(LogGeneration.objects.get(), [NewLeaf(LogLeaf.Kind.GENERATION, bytes(first.data or b""))])
    sequence_log()
    assert shop.codes(with_heads=False) == set()
    assert shop.codes() == {"head_differs", "log_truncated"}


@found_by(fsck=True, witness=True)
def test_two_people_are_shown_two_logs(shop: Shop) -> None:
    """The witness gets another head than the auditor, both signed with the log's key."""
    newest = TreeHead.objects.latest("size")
    other = _signed(Checkpoint(newest.generation.origin, newest.size, bytes(32)))
    for folder in (shop.exported, shop.heads):
        _replace(folder, newest.size, other)
    assert shop.codes() == {"head_differs"}


@found_by(fsck=True)
def test_a_bit_of_the_log_is_lost(shop: Shop) -> None:
    node = LogNode.objects.earliest("level", "index")
    flipped = bytes([node.hash[0] ^ 1, *node.hash[1:]])
    with superuser():
        LogNode.objects.filter(level=node.level, index=node.index).update(hash=flipped)
    assert shop.codes(with_heads=False) == {"node_changed"}


@found_by()
def test_a_session_is_dated_back(shop: Shop, opened: Callable[..., Any]) -> None:
    """By who has the keys. Its leaf stands where it was added: after the heads of today."""
    size = TreeHead.objects.latest("size").size
    with clocks.travel(timezone.now() - timedelta(days=7)):
        one = opened().session_id
        services.end_session(one)
    shop.goes_on()
    assert LogLeaf.objects.get(session=one).index >= size


@found_by()
def test_an_event_is_deleted_before_it_is_in_the_log(shop: Shop) -> None:
    services.record_event(shop.live, kind="item.viewed", call=Call("browse"))
    delete_event(shop.live, 6)
    chain_again(shop.live)


@found_by()
def test_a_lie_is_recorded(shop: Shop) -> None:
    services.record_event(shop.live, kind="consumer.agreed", call=Call("browse"))


def _sealed_again(shop: Shop) -> None:
    """Make the chain and the artifact of what is there, as who has stolen the signing key can."""
    chain_again(shop.ended)
    with superuser():
        Artifact.objects.filter(session_id=shop.ended).delete()
        Session.objects.filter(pk=shop.ended).update(sealed_at=None)
    seal_artifact(shop.ended)


def _signed(checkpoint: Checkpoint) -> str:
    stolen = active_site_key(SiteKey.Purpose.LOG)
    named = NoteKey(checkpoint.origin, SIGNS, bytes(stolen.public))
    return sign_checkpoint(checkpoint, named, partial(sign, site_key_secret(stolen)))


def _replace(folder: Path, size: int, note: str) -> None:
    file = next(folder.rglob(head_file(size)))
    file.write_text(Submission(0, (), note).text)
