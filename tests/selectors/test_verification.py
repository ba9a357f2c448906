"""Whatever was changed behind the package's back is found and named (R4, A3).

The tampering is that of someone with all rights on the database; some of it even with the session's key.
"""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.utils import timezone

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.models import Artifact, SessionKey, SiteKey
from agent_sessions.selectors._states import MESSAGE, PERSONAL_PATCH, PRIVATE
from agent_sessions.services import OpenedSession
from tests.shopping import variables
from tests.tampering import Act, Tamper, flipped, found

pytestmark = pytest.mark.django_db

ELSEWHERE = uuid.UUID(int=7)
LATER = timezone.now() + timedelta(days=9)


def swap_events(tamper: Tamper) -> None:
    second, third = tamper.events.get(seq=2), tamper.events.get(seq=3)
    tamper.event(2, canonical=third.canonical)
    tamper.event(3, canonical=second.canonical)


def rewrite_event(tamper: Tamper, seq: int, old: bytes, new: bytes) -> None:
    canonical = bytes(tamper.events.get(seq=seq).canonical)
    assert old in canonical
    tamper.event(seq, canonical=canonical.replace(old, new))


def move_patch(tamper: Tamper) -> None:
    tamper.version(2, patch=tamper.versions.get(number=3).patch)


TAMPERING: dict[str, tuple[Act, str, str]] = {
    # versions
    "patch altered": (
        lambda t: t.version(2, patch=flipped(t.versions.get(number=2).patch)),
        "patch_unreadable",
        "version 2",
    ),
    "patch emptied": (lambda t: t.version(2, patch=None), "patch_unreadable", "version 2"),
    "patch of another version": (move_patch, "patch_unreadable", "version 2"),
    "patch made anew with the key": (
        lambda t: t.version(2, personal_patch=t.sealed(PERSONAL_PATCH, 2, variables(b=3))),
        "wrong_value",
        "event 2, personal",
    ),
    "last version's schema": (lambda t: t.version(4, schema=9), "wrong_head", "session, version_uid and schema"),
    "version deleted in the middle": (
        lambda t: t.delete(t.versions.filter(number=2)),
        "version_missing",
        "version 2",
    ),
    "first version deleted": (lambda t: t.delete(t.versions.filter(number=1)), "version_missing", "version 1"),
    "last version deleted": (lambda t: t.delete(t.versions.filter(number=4)), "wrong_head", "session, version"),
    "last version deleted, and named": (
        lambda t: t.delete(t.versions.filter(number=4)),
        "version_missing",
        "version 4",
    ),
    "all versions deleted": (lambda t: t.delete(t.versions), "wrong_head", "session, version"),
    # events
    "event altered": (
        lambda t: rewrite_event(t, 2, b'"actor":"agent"', b'"actor":"staff"'),
        "broken_chain",
        "event 3.prev_hash",
    ),
    "last event altered": (
        lambda t: rewrite_event(t, 7, b'"actor":"agent"', b'"actor":"staff"'),
        "wrong_head",
        "session, head_seq and head_hash",
    ),
    "event altered to what no event says": (
        lambda t: rewrite_event(t, 7, b'"allow"', b'"alloy"'),
        "wrong_value",
        "event 7.policy_result",
    ),
    "id of the event of the last version": (
        lambda t: rewrite_event(t, 6, _id_of_event(t, 6), str(ELSEWHERE).encode()),
        "wrong_head",
        "session, version_uid and schema",
    ),
    "event of a version": (lambda t: t.version(2, event_seq=3), "wrong_column", "version 2, seq"),
    "event that is no JSON": (lambda t: t.event(2, canonical=b"{"), "not_json", "event 2"),
    "event emptied": (lambda t: t.event(2, canonical=b""), "not_json", "event 2"),
    "events swapped": (swap_events, "wrong_seq", "event 2.seq"),
    "event of another session": (
        lambda t: rewrite_event(t, 2, str(t.session_id).encode(), str(ELSEWHERE).encode()),
        "wrong_run",
        "event 2.run_id",
    ),
    "event deleted in the middle": (lambda t: t.delete(t.events.filter(seq=3)), "wrong_seq", "event 4"),
    "first event deleted": (lambda t: t.delete(t.events.filter(seq=1)), "wrong_seq", "event 2"),
    "last event deleted": (
        lambda t: t.delete(t.events.filter(seq=7)),
        "wrong_head",
        "session, head_seq and head_hash",
    ),
    "last event of a version deleted": (
        lambda t: t.delete(t.events.filter(seq__gte=6)),
        "version_without_event",
        "version 4",
    ),
    "all events deleted": (lambda t: t.delete(t.events), "wrong_head", "session, head_seq and head_hash"),
    "private part altered": (
        lambda t: t.event(7, private=flipped(t.events.get(seq=7).private)),
        "private_unreadable",
        "event 7",
    ),
    "private part emptied": (lambda t: t.event(7, private=None), "private_unreadable", "event 7"),
    "private part of another event": (
        lambda t: t.event(7, private=t.events.get(seq=2).private),
        "private_unreadable",
        "event 7",
    ),
    "private value made anew with the key": (
        lambda t: t.event(7, private=t.sealed(PRIVATE, 7, {"params.email": "c@d.e"})),
        "wrong_value",
        "event 7, params.email",
    ),
    "private value left out with the key": (
        lambda t: t.event(7, private=t.sealed(PRIVATE, 7, {})),
        "wrong_value",
        "event 7, params.email",
    ),
    "private value added with the key": (
        lambda t: t.event(7, private=t.sealed(PRIVATE, 7, {"params.email": "a@b.c", "note": "paid"})),
        "wrong_value",
        "event 7, note",
    ),
    # messages
    "message altered": (
        lambda t: t.message(1, body=flipped(t.messages.get(number=1).body)),
        "message_unreadable",
        "message 1",
    ),
    "message emptied": (lambda t: t.message(1, body=None), "message_unreadable", "message 1"),
    "message of another number": (
        lambda t: t.message(1, body=t.messages.get(number=2).body),
        "message_unreadable",
        "message 1",
    ),
    "message made anew with the key": (
        lambda t: t.message(1, body=t.sealed(MESSAGE, 1, {"role": "user", "content": "bye"})),
        "wrong_value",
        "event 3, message",
    ),
    "message's event": (lambda t: t.message(1, event_seq=4), "wrong_value", "event 4, message"),
    "message deleted in the middle": (
        lambda t: t.delete(t.messages.filter(number=1)),
        "message_missing",
        "message 1",
    ),
    "last message deleted": (
        lambda t: t.delete(t.messages.filter(number=2)),
        "message_missing",
        "the message of event 5",
    ),
    # the session's row and key
    "version count": (lambda t: t.session(version=5), "wrong_head", "session, version"),
    "version count too low": (lambda t: t.session(version=3), "wrong_head", "session, version"),
    "current version's id": (
        lambda t: t.session(version_uid=ELSEWHERE),
        "wrong_head",
        "session, version_uid and schema",
    ),
    "schema": (lambda t: t.session(schema=9), "wrong_head", "session, version_uid and schema"),
    "head hash": (lambda t: t.session(head_hash=bytes(32)), "wrong_head", "session, head_seq and head_hash"),
    "head number": (lambda t: t.session(head_seq=6), "wrong_head", "session, head_seq and head_hash"),
    "ended without an end": (
        lambda t: t.session(status="ended", ended_at=timezone.now(), end_reason="completed"),
        "wrong_status",
        "session, ended_at and end_reason",
    ),
    "wrapped key": (
        lambda t: _update(SessionKey, t, wrapped=flipped(SessionKey.objects.get(pk=t.session_id).wrapped)),
        "key_unusable",
        "content key",
    ),
    "key of another session": (lambda t: _take_the_key_of_another(t), "key_unusable", "content key"),
    "key deleted": (lambda t: t.delete(SessionKey.objects.filter(pk=t.session_id)), "key_missing", "personal key"),
}

COLUMNS: dict[str, tuple[Act, list[str]]] = {
    "event": (
        lambda t: t.event(
            7, kind="cart.paid", capability="pay", policy_result="deny", response_status=500, version=4,
            created_at=LATER,
        ),
        [
            f"event 7, {name}"
            for name in ("kind", "capability", "policy_result", "response_status", "version", "timestamp")
        ],
    ),
    "message": (
        lambda t: t.message(1, role="agent", created_at=LATER),
        ["message 1, role", "message 1, timestamp"],
    ),
    "session": (
        lambda t: t.session(
            merchant="elsewhere", expires_at=LATER, created_at=LATER, token_digest=bytes(32), kind="payment",
            agent_name="Other", scope={"spend_cap": 10**6, "currency": "EUR"},
        ),
        [
            f"session, {name}"
            for name in ("agent", "created_at", "expires_at", "merchant", "scope", "session_kind", "token_hash")
        ],
    ),
}  # fmt: skip
"""Columns that repeat what an event says, and what is found when all of them are changed."""

TAMPERING |= {
    "another consumer": (lambda t: t.session(consumer="another"), "wrong_column", "session, consumer"),
    "another agent key": (lambda t: t.session(agent_key="another"), "wrong_column", "session, agent_key"),
    "another parent request": (lambda t: t.session(parent_request="r-9"), "wrong_column", "session, parent_request"),
    "time of the last event": (lambda t: t.session(updated_at=LATER), "wrong_head", "session, updated_at"),
}

TAMPERING_AFTER_THE_END: dict[str, tuple[Act, str, str]] = {
    "end undone": (lambda t: t.session(status="active"), "wrong_status", "session, status"),
    "end undone altogether": (
        lambda t: t.session(status="active", ended_at=None, end_reason=""),
        "wrong_status",
        "session, ended_at and end_reason",
    ),
    "end reason": (
        lambda t: t.session(end_reason="deleted"),
        "wrong_status",
        "session, ended_at and end_reason",
    ),
    "end time": (
        lambda t: t.session(ended_at=timezone.now() + timedelta(hours=1)),
        "wrong_status",
        "session, ended_at and end_reason",
    ),
    "end event deleted": (
        lambda t: t.delete(t.events.filter(seq=8)),
        "wrong_status",
        "session, ended_at and end_reason",
    ),
    "end event deleted and the head set back": (
        lambda t: _forget_the_end(t),
        "wrong_root",
        "artifact, root_hash",
    ),
    "artifact deleted": (
        lambda t: t.delete(Artifact.objects.filter(pk=t.session_id)),
        "artifact_missing",
        "artifact",
    ),
    "artifact signature": (
        lambda t: _update(Artifact, t, signature=flipped(Artifact.objects.get().signature)),
        "bad_signature",
        "artifact, signature",
    ),
    "artifact runtime signature": (
        lambda t: _update(Artifact, t, runtime_signature=flipped(Artifact.objects.get().runtime_signature)),
        "bad_signature",
        "artifact, runtime_signature",
    ),
    "artifact envelope": (
        lambda t: _update(Artifact, t, envelope=flipped(Artifact.objects.get().envelope)),
        "bad_signature",
        "artifact, runtime_signature",
    ),
    "artifact root": (lambda t: _update(Artifact, t, root_hash="0" * 64), "wrong_root", "artifact, root_hash"),
    "artifact count": (lambda t: _update(Artifact, t, event_count=7), "wrong_root", "artifact, root_hash"),
    "artifact of another key": (
        lambda t: _update(Artifact, t, signing_key=_new_signing_key()),
        "bad_signature",
        "artifact, signature",
    ),
}


def _id_of_event(tamper: Tamper, seq: int) -> bytes:
    event_id: str = json.loads(bytes(tamper.events.get(seq=seq).canonical))["event_id"]
    return event_id.encode()


def _update(model: Any, tamper: Tamper, **columns: Any) -> None:
    assert model.objects.filter(pk=tamper.session_id).update(**columns) == 1


def _take_the_key_of_another(tamper: Tamper) -> None:
    other = services.open_session(agent=Agent("other"))
    _update(SessionKey, tamper, wrapped=SessionKey.objects.get(pk=other.session_id).wrapped)


def _new_signing_key() -> SiteKey:
    services.rotate_signing_key()
    return SiteKey.objects.get(purpose="artifact", retired_at__isnull=True)


def _forget_the_end(tamper: Tamper) -> None:
    """Take the end away from everywhere but the artifact, so that the rest agrees again."""
    tamper.delete(tamper.events.filter(seq=8))
    tamper.delete(tamper.versions.filter(number=5))
    before = tamper.versions.get(number=4)
    tamper.session(
        status="active", ended_at=None, end_reason="", sealed_at=None, head_seq=7, version=4,
        version_uid=_id_of_event(tamper, before.event_seq).decode(),
        head_hash=sha256(bytes(tamper.events.get(seq=7).canonical)).digest(),
        patch_bytes=len(before.patch or b"") + len(before.personal_patch or b""),
    )  # fmt: skip


@pytest.mark.parametrize(("act", "code", "where"), TAMPERING.values(), ids=TAMPERING.keys())
def test_tampering_is_found_and_named(live: OpenedSession, act: Act, code: str, where: str) -> None:
    """R4, A3"""
    act(Tamper(live.session_id))

    report = selectors.verify_session(live.session_id)

    assert (code, where) in found(report)
    assert not report.ok
    assert not report.repairable


@pytest.mark.parametrize(("act", "places"), COLUMNS.values(), ids=COLUMNS.keys())
def test_every_column_that_repeats_an_event_is_compared_with_it(
    live: OpenedSession, act: Act, places: list[str]
) -> None:
    """R4"""
    act(Tamper(live.session_id))

    report = selectors.verify_session(live.session_id)

    assert {("wrong_column", place) for place in places} <= set(found(report))
    assert not report.repairable


@pytest.mark.parametrize(("act", "code", "where"), TAMPERING_AFTER_THE_END.values(), ids=TAMPERING_AFTER_THE_END.keys())
def test_tampering_after_the_end_is_found_and_named(ended: OpenedSession, act: Act, code: str, where: str) -> None:
    """R4, A3"""
    act(Tamper(ended.session_id))

    report = selectors.verify_session(ended.session_id)

    assert (code, where) in found(report)
    assert not report.repairable


def test_of_a_sound_session_nothing_is_reported(ended: OpenedSession) -> None:
    """R4: with some of everything in it."""
    report = selectors.verify_session(ended.session_id)

    assert (report.problems, report.ok, report.repairable) == ([], True, False)
    assert (report.versions, report.events, report.content_checked) == (5, 8, True)
