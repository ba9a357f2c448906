from __future__ import annotations

from django.db import models


class ProviderCharge(models.Model):
    """The test payment provider's own books. The shop never reads them: it asks the provider."""

    key = models.CharField("idempotency key", max_length=100, unique=True)
    token = models.CharField(max_length=40)
    amount = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    outcome = models.CharField(max_length=20)
    code = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "charge at the test provider"
        verbose_name_plural = "charges at the test provider"

    def __str__(self) -> str:
        return self.key
