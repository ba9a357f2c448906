"""Goods that are held for a session, and what sessions depend on outside of them."""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.ids import new_id
from agent_sessions.models.session import Session


class HeldItem(models.Model):
    """How many of an item are held in all. The row decides races: it is raised only while there are enough (X1).

    ``taken`` counts how often an order was about to take pieces: a count of the stock from before that is too old to
    hold anything by.
    """

    merchant = models.CharField(max_length=200)
    item = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField(default=0)
    taken = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = "agent session held item"
        constraints = [models.UniqueConstraint(fields=["merchant", "item"], name="ags_held_item_one")]

    def __str__(self) -> str:
        return f"{self.quantity} held of {self.item}"


class Hold(models.Model):
    """Pieces of an item that are kept for a session until ``expires_at``; ``released_because`` says how it ended."""

    class Because(models.TextChoices):
        RELEASED = "released"
        ORDERED = "ordered"
        EXPIRED = "expired"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, models.CASCADE, related_name="+")
    merchant = models.CharField(max_length=200)
    item = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField()
    held_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    released_because = models.CharField(max_length=16, blank=True, choices=Because.choices)

    class Meta:
        verbose_name = "agent session hold"
        constraints = [
            models.UniqueConstraint(
                fields=["session", "item"], condition=models.Q(released_at__isnull=True), name="ags_hold_one_of_item"
            ),
            models.CheckConstraint(condition=models.Q(quantity__gte=1), name="ags_hold_of_something"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=models.Q(released_at__isnull=True), name="ags_hold_due"),
            models.Index(fields=["merchant", "item"], condition=models.Q(released_at__isnull=True), name="ags_hold_of"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.item} held for agent session {self.session_id}"


class SessionReference(models.Model):
    """Something outside that a live session depends on: ``item:MUG-1``, ``voucher:SPRING``, ``consumer:…`` (X2).

    Written with the change that makes it so. When the session ends they become ``past-item:MUG-1``, by which staff find
    it until what it says of a person is erased.
    """

    pk = models.CompositePrimaryKey("session_id", "ref")
    session = models.ForeignKey(Session, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    ref = models.CharField(max_length=220)

    class Meta:
        verbose_name = "agent session reference"
        indexes = [models.Index(fields=["ref", "session"], name="ags_reference_ref")]

    def __str__(self) -> str:
        return f"{self.ref} of agent session {self.session_id}"


class StoreChange(models.Model):
    """Something that the store said has changed; live sessions that depend on it are marked in batches (X2).

    ``after_session`` is the last session that was dealt with, so that the work goes on where it stopped. Until
    ``claimed_until`` one run of the job works on it. Rows are deleted a day after they are done.
    """

    merchant = models.CharField(max_length=200)
    ref = models.CharField(max_length=220)
    what = models.CharField(max_length=32)
    reported_at = models.DateTimeField()
    after_session = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "agent session store change"
        indexes = [
            models.Index(fields=["id"], condition=models.Q(done_at__isnull=True), name="ags_store_change_open"),
            models.Index(fields=["done_at"], condition=models.Q(done_at__isnull=False), name="ags_store_change_done"),
            models.Index(fields=["ref"], name="ags_store_change_ref"),
        ]

    def __str__(self) -> str:
        return f"{self.what} of {self.ref}"
