"""What happened: append-only rows that lead with the session id, so that they partition and shard by it.

Nothing that an event says is repeated beside it, but for what is searched by. Columns of a fixed size come first, so
that PostgreSQL need not pad them.

Triggers of migration 0002 stand in for foreign keys: row n goes in only after row n-1 (or, for the first, after its
session), and what is written is not written again.
"""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.families import FAILURES
from agent_sessions.models.session import Session

FAILED = (
    models.Q(policy_result="deny")
    | models.Q(response_status__gte=400)
    | models.Q(kind__in=sorted(FAILURES))
    | models.Q(kind__endswith=".failed")
)
"""Events that are refusals or failures, as ``domain.families.is_failure`` tells them."""


class SessionVersion(models.Model):
    """One change of a session's state (V1): the sealed patch that made version ``number`` out of the one before.

    What it says of a person (``domain.privacy``) is sealed apart, in ``personal_patch``, and so with the snapshot.
    Its id, its kind, who made it and when is said by the event ``event_seq``.
    """

    pk = models.CompositePrimaryKey("session_id", "number")
    session = models.ForeignKey(Session, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField()
    event_seq = models.PositiveIntegerField()
    schema = models.PositiveSmallIntegerField()
    patch = models.BinaryField(null=True)
    snapshot = models.BinaryField(null=True)
    personal_patch = models.BinaryField(null=True)
    personal_snapshot = models.BinaryField(null=True)

    class Meta:
        verbose_name = "agent session version"
        constraints = [
            models.CheckConstraint(condition=models.Q(number__gte=1), name="ags_version_from_one"),
        ]
        indexes = [
            models.Index(
                fields=["session", "number"], condition=models.Q(snapshot__isnull=False), name="ags_version_snapshot"
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number} of agent session {self.session_id}"


class AuditEvent(models.Model):
    """One event of a session's hash chain (A1).

    ``canonical`` is the event: the exact bytes whose SHA-256 the next event and, for the last one, the session's row
    hold. The other columns are copies for searching, and
    ``private`` holds, sealed, the values behind the event's commitments that are stored nowhere else.
    """

    pk = models.CompositePrimaryKey("session_id", "seq")
    session = models.ForeignKey(Session, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    created_at = models.DateTimeField()
    seq = models.PositiveIntegerField()
    version = models.PositiveIntegerField(null=True)
    response_status = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=64)
    capability = models.CharField(max_length=64, blank=True)
    policy_result = models.CharField(max_length=8)
    canonical = models.BinaryField()
    private = models.BinaryField(null=True)

    class Meta:
        verbose_name = "agent session event"
        constraints = [
            models.CheckConstraint(condition=models.Q(seq__gte=1), name="ags_event_from_one"),
        ]
        indexes = [
            # Sessions in which something failed, which is few of all events: the others are not in it.
            models.Index(fields=["session", "kind"], condition=FAILED, name="ags_event_failed"),
        ]

    def __str__(self) -> str:
        return f"event {self.seq} of agent session {self.session_id}"


class Message(models.Model):
    """One turn of a session's conversation, sealed. Turns are only ever added (S6)."""

    pk = models.CompositePrimaryKey("session_id", "number")
    session = models.ForeignKey(Session, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField()
    role = models.CharField(max_length=16)
    body = models.BinaryField(null=True)
    event_seq = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "agent session message"
        constraints = [
            models.CheckConstraint(condition=models.Q(number__gte=1), name="ags_message_from_one"),
        ]

    def __str__(self) -> str:
        return f"message {self.number} of agent session {self.session_id}"


class Checkpoint(models.Model):
    """One attempt at a step, durable before anything slow or outside begins (R1).

    It stands on ``version``, the one that says the step has started; ``ended_version`` says how it went. What the other
    steps had come to is in the state at these versions. Without an outcome by ``due_at`` nobody knows how it went.
    """

    pk = models.CompositePrimaryKey("session_id", "number")
    session = models.ForeignKey(Session, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    number = models.PositiveIntegerField()
    version = models.PositiveIntegerField()
    ended_version = models.PositiveIntegerField(null=True)
    attempt = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=64)
    method = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=16)
    code = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField()
    due_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "agent session checkpoint"
        constraints = [
            models.CheckConstraint(condition=models.Q(number__gte=1), name="ags_checkpoint_from_one"),
            models.UniqueConstraint(
                fields=["session", "step"], condition=models.Q(outcome="started"), name="ags_checkpoint_one_running"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(outcome="started"), name="ags_checkpoint_due"),
            models.Index(fields=["code", "session"], condition=~models.Q(code=""), name="ags_checkpoint_code"),
        ]

    def __str__(self) -> str:
        return f"checkpoint {self.number} of agent session {self.session_id}"


class Artifact(models.Model):
    """The signature over an ended session's first ``event_count`` events; the document is built from both."""

    session = models.OneToOneField(Session, models.CASCADE, primary_key=True, related_name="+")
    envelope = models.BinaryField()
    root_hash = models.CharField(max_length=64)
    signature = models.BinaryField()
    runtime_signature = models.BinaryField()
    signing_key = models.ForeignKey("SiteKey", models.PROTECT, related_name="+", db_index=False)
    event_count = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "agent session artifact"

    def __str__(self) -> str:
        return f"artifact of agent session {self.session_id}"
