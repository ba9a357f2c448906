"""What was sold and how it was paid."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.urls import reverse

from shop_demo.models.catalogue import Variant


class Order(models.Model):
    """A paid order. ``ref`` is random: who has it may see the order. All amounts are cents.

    One session of an agent makes one order at most, however many people pay in however many windows.
    """

    class Status(models.TextChoices):
        PAID = "paid"
        SENT = "sent"

    ref = models.CharField("reference", max_length=24, unique=True)
    session_id = models.UUIDField(unique=True)
    session_version = models.PositiveIntegerField()
    handoff_id = models.UUIDField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PAID)
    currency = models.CharField(max_length=3)
    subtotal = models.PositiveIntegerField()
    discount = models.PositiveIntegerField()
    shipping = models.PositiveIntegerField()
    tax = models.PositiveIntegerField(help_text="Included in the total.")
    total = models.PositiveIntegerField()
    vouchers = models.JSONField(default=list)
    email = models.EmailField()
    name = models.CharField(max_length=120)
    address = models.TextField(max_length=500)
    instructions = models.TextField(blank=True, help_text="What the agent passed on about the delivery.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(total=models.F("subtotal") - models.F("discount") + models.F("shipping")),
                name="shop_order_adds_up",
            )
        ]

    def __str__(self) -> str:
        return self.ref

    def get_absolute_url(self) -> str:
        return reverse("shop:order", args=[self.ref])

    @property
    def discounts(self) -> list[dict[str, Any]]:
        """What the vouchers took off, as negative amounts, like those of a quote."""
        return [{**voucher, "amount": -voucher["amount"]} for voucher in self.vouchers]


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    variant = models.ForeignKey(Variant, on_delete=models.SET_NULL, null=True, related_name="+")
    sku = models.CharField(max_length=40)
    title = models.CharField(max_length=120)
    label = models.CharField(max_length=120, blank=True)
    picture = models.CharField(max_length=200, blank=True)
    quantity = models.PositiveIntegerField()
    unit_price = models.PositiveIntegerField()
    total = models.PositiveIntegerField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(total=models.F("unit_price") * models.F("quantity"), quantity__gt=0),
                name="shop_order_line_adds_up",
            )
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.title}"


class Payment(models.Model):
    """One attempt to pay, begun before the provider is called, so that a crash leaves a trace of it.

    ``key`` is what the provider knows it by: that of the step, where the agent's session is live, and ``attempt`` its
    number there. Each form has a ``submission`` of its own, by which one that is sent twice is known. ``agreed`` holds
    what the person saw and agreed to, ``buyer`` who it goes to; both are what the order is made of, whenever the
    outcome becomes known.
    """

    class Outcome(models.TextChoices):
        STARTED = "started"
        UNKNOWN = "unknown"
        SUCCEEDED = "succeeded"
        DECLINED = "declined"
        REFUNDING = "refunding"
        REFUNDED = "refunded"

    OPEN = (Outcome.STARTED, Outcome.UNKNOWN)
    """Nobody here knows yet whether money moved."""
    IN_THE_WAY = (*OPEN, Outcome.SUCCEEDED, Outcome.REFUNDING)
    """While one of these is there, its session is not charged again."""

    key = models.CharField("idempotency key", max_length=100, unique=True)
    session_id = models.UUIDField(db_index=True)
    session_version = models.PositiveIntegerField()
    handoff_id = models.UUIDField()
    submission = models.UUIDField()
    attempt = models.PositiveSmallIntegerField(null=True)
    token = models.CharField("test token", max_length=40)
    amount = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    agreed = models.JSONField()
    buyer = models.JSONField()
    outcome = models.CharField(max_length=20, choices=Outcome.choices, default=Outcome.STARTED)
    code = models.CharField(max_length=40, blank=True)
    order = models.OneToOneField(Order, on_delete=models.PROTECT, null=True, blank=True, related_name="payment")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["handoff_id", "submission"], name="shop_one_payment_per_form"),
            models.UniqueConstraint(
                fields=["session_id"],
                condition=models.Q(outcome__in=["started", "unknown", "succeeded", "refunding"]),
                name="shop_one_payment_per_session",
            ),
        ]

    def __str__(self) -> str:
        return self.key
