from __future__ import annotations

from django.db import models


class ContactMessage(models.Model):
    """What an agent wrote to the shop's people."""

    reference = models.CharField(max_length=20, unique=True)
    message = models.TextField()
    reply_to = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.reference
