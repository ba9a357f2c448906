"""Signing tree heads, exporting them to the sinks, and marking them as counting (A4).

The order is what makes it safe to be killed anywhere. A head is stored with its signature before anybody else sees it,
and is never signed again; it waits until enough sinks have it, and no other one is signed meanwhile; sinks take the
same head any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db.models import F
from django.utils import timezone

from agent_sessions.audit.merkle import Frontier, consistency_proof
from agent_sessions.audit.notes import Checkpoint, add_signatures, parse_note, sign_checkpoint
from agent_sessions.audit.submissions import Submission
from agent_sessions.audit.vkeys import SIGNS, NoteKey
from agent_sessions.crypto.signing import sign
from agent_sessions.models import LogGeneration, SiteKey, TreeHead
from agent_sessions.selectors import _rows
from agent_sessions.selectors._log import read_nodes
from agent_sessions.services._log_sinks import check_none_knows_more, note_failure, note_success
from agent_sessions.services._log_tree import lock_open_generation
from agent_sessions.services.keys import Purpose, active_site_key, site_key_secret
from agent_sessions.sinks import OtherHeadKept, Sink, SinkBehind, SinkFailed, sinks_needed

_SENDINGS = 3
"""Times that one head is sent to a sink in a run, from the size that it says it knows."""


def newest_head(generation: LogGeneration) -> TreeHead | None:
    """Return the generation's largest head, whether it counts or not."""
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(generation=generation)
    return heads.order_by("-size").first()


def sign_head(generation: LogGeneration, sinks: Sequence[Sink]) -> TreeHead | None:
    """Sign the tree as it stands, unless a head waits for its export or nothing was added; return the newest head.

    Raises SinkBehind and SinkFailed (see ``check_none_knows_more``), KeyProblem.
    """
    newest = newest_head(generation)
    if newest is not None and newest.exported_at is None:
        return newest
    check_none_knows_more(generation, sinks)
    active_site_key(Purpose.LOG)  # made outside of the transaction, so that losing a race for it undoes nothing
    return _rows.in_transaction("The log", lambda: _sign(generation))


def _sign(generation: LogGeneration) -> TreeHead | None:
    current, newest = lock_open_generation(), newest_head(generation)
    if current is None or current.number != generation.number:  # another generation has begun
        return newest
    if newest is not None and (newest.exported_at is None or newest.size == current.size):
        return newest
    root = Frontier(current.size, tuple(map(bytes.fromhex, current.frontier))).root()
    head = Checkpoint(current.origin, current.size, root)
    key, *former = signing_keys_of(current)
    note = _signed(head, key)
    for other in former:
        note = add_signatures(note, parse_note(_signed(head, other)).signatures)
    return TreeHead.objects.using(_rows.write_connection().alias).create(
        generation=current, size=current.size, root=root, note=note, signing_key=key, created_at=timezone.now()
    )


def signing_keys_of(generation: LogGeneration) -> list[SiteKey]:
    """Return the keys that sign the generation's heads: the active one, and the one before if it was this log's too.

    With both signatures a witness or a verifier goes on that has not been given the new key yet.
    """
    keys = SiteKey.objects.using(_rows.write_connection().alias).filter(purpose=Purpose.LOG)
    before = keys.filter(retired_at__gte=generation.created_at).order_by("-pk").first()
    return [active_site_key(Purpose.LOG), *([before] if before else [])]


def note_key(generation: LogGeneration, key: SiteKey) -> NoteKey:
    """Return a key of the log under the generation's name."""
    return NoteKey(generation.origin, SIGNS, bytes(key.public))


def _signed(checkpoint: Checkpoint, key: SiteKey) -> str:
    named = NoteKey(checkpoint.origin, SIGNS, bytes(key.public))
    return sign_checkpoint(checkpoint, named, partial(sign, site_key_secret(key)))


def export_head(head: TreeHead, sinks: list[Sink]) -> TreeHead:
    """Send a head to the sinks that do not have it, and return it as it stands then; ``exported_at`` says if it counts.

    A sink that fails is told of and tried again with the next run. Raises SinkBehind.
    """
    for sink in sinks:
        if sink.name in head.exported_to:
            continue
        try:
            lines = _sent(head, sink)
        except SinkFailed as failed:
            note_failure(failed)
        else:
            note_success(sink)
            head = _noted(head, sinks, sink, lines)
    return head if head.exported_at is not None else _noted(head, sinks)


def collect_cosignatures(head: TreeHead, sinks: list[Sink]) -> None:
    """Take what witnesses have signed beside a head since it was written."""
    for sink in sinks:
        try:
            lines = sink.cosignatures(head.note)
        except SinkFailed as failed:
            note_failure(failed)
            continue
        if set(lines) - set(head.cosignatures):
            head = _noted(head, sinks, lines=lines)


def _sent(head: TreeHead, sink: Sink) -> Sequence[str]:
    """Have a sink keep a head, with the proof from the size that it knows. Raises SinkFailed, SinkBehind."""
    heads = TreeHead.objects.using(_rows.write_connection().alias).filter(generation=head.generation_id)
    old = heads.filter(size__lt=head.size).order_by("-size").values_list("size", flat=True).first() or 0
    read = partial(read_nodes, head.generation_id)
    try:
        for _ in range(_SENDINGS):
            try:
                return sink.write(Submission(old, tuple(consistency_proof(old, head.size, read)), head.note))
            except OtherHeadKept as other:
                old = other.known
    except SinkBehind as behind:
        # Another sequencer may have written a later head while this one was on its way.
        if behind.known > head.size and heads.filter(size__gte=behind.known).exists():
            raise SinkFailed(sink.name, "it has a later head already") from behind
        raise
    raise SinkFailed(sink.name, f"it says again and again that it knows another head, now of {old} leaves")


def _noted(head: TreeHead, sinks: list[Sink], sink: Sink | None = None, lines: Sequence[str] = ()) -> TreeHead:
    """Store who has a head and who has co-signed it; with enough sinks it counts from now on."""
    alias = _rows.write_connection().alias

    def note() -> TreeHead:
        rows = TreeHead.objects.using(alias).filter(pk=head.pk)
        rows.update(exported_at=F("exported_at"))  # locks it, on every database
        stored = rows.get()
        stored.exported_to = sorted({*stored.exported_to, *([sink.name] if sink else [])})
        stored.cosignatures = [*stored.cosignatures, *(one for one in lines if one not in stored.cosignatures)]
        if stored.exported_at is None and _has_enough(stored, sinks):
            stored.exported_at = timezone.now()
        stored.save(using=alias, update_fields=["exported_to", "cosignatures", "exported_at"])
        return stored

    return _rows.in_transaction("The log", note)


def _has_enough(head: TreeHead, sinks: list[Sink]) -> bool:
    return len({sink.name for sink in sinks}.intersection(head.exported_to)) >= sinks_needed(sinks)
