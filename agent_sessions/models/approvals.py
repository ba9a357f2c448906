"""What a human is asked before an agent goes on, and what a human has allowed."""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.ids import new_id
from agent_sessions.models.session import Session

_OPEN = models.Q(status__in=["pending", "escalated"])


class Approval(models.Model):
    """A question to a human about the cart of a session at ``version`` (L5).

    ``fingerprint`` is that of the cart that was shown: another cart was not approved. It goes with the content.
    ``rule`` is the policy that asked; ``body`` holds, sealed, why the agent paused and what the human wrote. It is
    answered by whoever has the link (its token is stored as a digest) or by staff; ``attempts`` counts answers that
    did not fit. ``decided_by`` is an Actor's text. Times are UTC.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        ESCALATED = "escalated"
        GRANTED = "granted"
        REJECTED = "rejected"
        EXPIRED = "expired"
        VOID = "void"
        USED = "used"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    capability = models.CharField(max_length=64)
    rule = models.CharField(max_length=200, blank=True)
    version = models.PositiveIntegerField()
    fingerprint = models.CharField(max_length=64)
    amount = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    body = models.BinaryField(null=True)
    token_digest = models.BinaryField(max_length=32, unique=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=80, blank=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "agent session approval"
        permissions = [("decide_approval", "Can answer approvals of agent sessions")]
        constraints = [
            models.UniqueConstraint(fields=["session"], condition=_OPEN, name="ags_approval_one_open"),
            models.CheckConstraint(
                condition=~models.Q(status__in=["granted", "rejected", "used"]) | models.Q(decided_at__isnull=False),
                name="ags_approval_decided_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=_OPEN | models.Q(status="granted"), name="ags_approval_due"),
        ]

    def __str__(self) -> str:
        return f"approval {self.pk} of agent session {self.session_id}"


class TransferGrant(models.Model):
    """A person's permission that another agent takes a session over: one use, minutes (T4). Stored as a digest.

    A new one takes the place of one that was not used. ``granted_by`` is an Actor's text.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    token_digest = models.BinaryField(max_length=32, unique=True)
    granted_by = models.CharField(max_length=80)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "agent session transfer grant"
        constraints = [
            models.UniqueConstraint(
                fields=["session"], condition=models.Q(used_at__isnull=True), name="ags_grant_one_open"
            ),
        ]

    def __str__(self) -> str:
        return f"transfer grant {self.pk} of agent session {self.session_id}"
