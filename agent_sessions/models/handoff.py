"""Handing a cart to a human, and counting who has how many sessions."""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.ids import new_id
from agent_sessions.models.session import Session


class CheckoutHandoff(models.Model):
    """A link to pay for what a session's cart held at ``version``. The link's token is stored as a digest only."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    version = models.PositiveIntegerField()
    token_digest = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)
    ordered_at = models.DateTimeField(null=True)
    order_ref = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "agent session handoff"
        constraints = [
            models.UniqueConstraint(
                fields=["session"], condition=~models.Q(order_ref=""), name="ags_handoff_one_order"
            ),
            models.CheckConstraint(
                condition=models.Q(order_ref="", ordered_at__isnull=True)
                | (models.Q(ordered_at__isnull=False) & ~models.Q(order_ref="")),
                name="ags_handoff_order_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["order_ref"], condition=~models.Q(order_ref=""), name="ags_handoff_order"),
        ]

    def __str__(self) -> str:
        return f"handoff {self.pk} of agent session {self.session_id}"


class Caller(models.Model):
    """Someone who opens sessions. The row is locked while their live sessions are counted and one is added (T7)."""

    caller = models.CharField(max_length=64, primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name = "agent session caller"

    def __str__(self) -> str:
        return f"caller {self.caller}"
