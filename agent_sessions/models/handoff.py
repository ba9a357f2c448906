"""Handing a cart to a human, and counting who has how many sessions."""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.ids import new_id
from agent_sessions.models.session import Session

_OPEN = models.Q(closed_at__isnull=True)


class CheckoutHandoff(models.Model):
    """A checkout: a link to pay for what a session's cart held at ``version``. Of its token only a digest is stored.

    It is in progress until ``closed_at``: ordered, replaced, given up, past its time, or its session has ended in
    another way. A consumer has one in progress with a merchant at most, and so has a family of sessions (C1, L3).

    ``confirmed_at`` is when the consumer, about to pay, was shown their other active devices and went on (C2).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    merchant = models.CharField(max_length=200)
    consumer = models.CharField(max_length=64, blank=True)
    family = models.UUIDField()
    version = models.PositiveIntegerField()
    token_digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)
    ordered_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    order_ref = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "agent session handoff"
        constraints = [
            models.UniqueConstraint(fields=["family"], condition=~models.Q(order_ref=""), name="ags_handoff_one_order"),
            models.UniqueConstraint(fields=["family"], condition=_OPEN, name="ags_handoff_one_in_family"),
            models.UniqueConstraint(
                fields=["merchant", "consumer"],
                condition=_OPEN & ~models.Q(consumer=""),
                name="ags_handoff_one_of_consumer",
            ),
            models.CheckConstraint(
                condition=models.Q(order_ref="", ordered_at__isnull=True)
                | (models.Q(ordered_at__isnull=False, closed_at__isnull=False) & ~models.Q(order_ref="")),
                name="ags_handoff_order_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["order_ref"], condition=~models.Q(order_ref=""), name="ags_handoff_order"),
            models.Index(fields=["expires_at"], condition=_OPEN, name="ags_handoff_due"),
        ]

    def __str__(self) -> str:
        return f"handoff {self.pk} of agent session {self.session_id}"


class DeviceConfirmation(models.Model):
    """What the consumer said on one device (``device``: its live session) about a checkout on another (C2).

    ``fingerprint`` is that of the cart that was asked about: what has changed since has to be asked again.
    """

    class Answer(models.TextChoices):
        CONFIRMED = "confirmed"
        DECLINED = "declined"

    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    device = models.ForeignKey(Session, models.CASCADE, related_name="+")
    fingerprint = models.CharField(max_length=64)
    asked_at = models.DateTimeField()
    answer = models.CharField(max_length=16, blank=True, choices=Answer.choices)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "agent session device confirmation"
        constraints = [
            models.UniqueConstraint(fields=["session", "device"], name="ags_confirmation_one_of_device"),
        ]

    def __str__(self) -> str:
        return f"confirmation on {self.device_id} for agent session {self.session_id}"


class Caller(models.Model):
    """Someone who opens sessions. The row is locked while their live sessions are counted and one is added (T7)."""

    caller = models.CharField(max_length=64, primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name = "agent session caller"

    def __str__(self) -> str:
        return f"caller {self.caller}"
