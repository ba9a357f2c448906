"""Requests that may be sent again."""

from __future__ import annotations

from django.db import models

from agent_sessions.models.session import Session


class IdempotencyRecord(models.Model):
    """A write that came with an Idempotency-Key, and what it was answered (V7).

    ``digest`` covers who sent it, the operation and the key; ``fingerprint`` what was sent with it. While ``answer`` is
    null the write is running: it and the answer are stored in one transaction, so a write without an answer has had no
    effect. ``answer`` is sealed. Rows are deleted after a day.
    """

    digest = models.BinaryField(max_length=32, primary_key=True)
    fingerprint = models.BinaryField(max_length=32)
    session = models.ForeignKey(Session, models.CASCADE, null=True, related_name="+")
    claimed_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    answer = models.BinaryField(null=True)

    class Meta:
        verbose_name = "agent session idempotency record"

    def __str__(self) -> str:
        return f"idempotency record {bytes(self.digest).hex()[:12]}"
