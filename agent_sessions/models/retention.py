"""What keeps content from being erased, and what was erased at a person's request."""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.ids import new_id


class LegalHold(models.Model):
    """A legal hold on a session, a consumer's sessions, an order's, or all that were opened in a period (A6).

    It beats expiry clean-up, purge and erasure until it is lifted. Which of the fields counts is said by ``scope``:
    ``session``; ``merchant`` and ``consumer`` (a pseudonym, emptied when it is lifted); ``order_ref``; ``period_start``
    and ``period_end`` (UTC, the end not included, sessions by their opening; with ``merchant`` or for all if that is
    empty). ``placed_by`` and ``lifted_by`` are Actors' texts.
    """

    class Scope(models.TextChoices):
        SESSION = "session"
        CONSUMER = "consumer"
        ORDER = "order"
        PERIOD = "period"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    scope = models.CharField(max_length=16, choices=Scope.choices)
    session = models.UUIDField(null=True)
    merchant = models.CharField(max_length=200, blank=True)
    consumer = models.CharField(max_length=64, blank=True)
    order_ref = models.CharField(max_length=100, blank=True)
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    matter = models.CharField(max_length=200)
    placed_by = models.CharField(max_length=80)
    placed_at = models.DateTimeField()
    review_at = models.DateTimeField()
    reminded_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=80, blank=True)
    lifted_at = models.DateTimeField(null=True)
    lift_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "agent session legal hold"
        permissions = [("place_legal_hold", "Can place and lift legal holds on agent sessions")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scope="session", session__isnull=False)
                | (models.Q(scope="consumer") & (~models.Q(consumer="") | models.Q(lifted_at__isnull=False)))
                | (models.Q(scope="order") & ~models.Q(order_ref=""))
                | models.Q(scope="period", period_start__isnull=False, period_end__isnull=False),
                name="ags_legal_hold_has_target",
            ),
        ]
        indexes = [
            models.Index(
                fields=["review_at"], condition=models.Q(lifted_at__isnull=True), name="ags_legal_hold_review"
            ),
        ]

    def __str__(self) -> str:
        return f"legal hold {self.pk} ({self.matter})"


class Erasure(models.Model):
    """A consumer's request to be erased, and the receipt (A7).

    While ``finished_at`` is null the work goes on where it stopped; then ``consumer``, a pseudonym, is emptied unless
    something of theirs had to be kept. ``receipt`` says what was erased and what was not,
    why, and from when on it can be; it names sessions by id and holds nothing personal.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    merchant = models.CharField(max_length=200)
    consumer = models.CharField(max_length=64, blank=True)
    requested_by = models.CharField(max_length=80)
    requested_at = models.DateTimeField()
    due_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    receipt = models.JSONField(default=dict)

    class Meta:
        verbose_name = "agent session erasure"
        permissions = [("erase_consumer", "Can erase what agent sessions say of a consumer")]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(finished_at__isnull=True), name="ags_erasure_open"),
        ]

    def __str__(self) -> str:
        return f"erasure {self.pk}"
