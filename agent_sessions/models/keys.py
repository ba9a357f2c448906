"""The site's own keys, each with an id, so that what it made can be told, replaced and revoked."""

from __future__ import annotations

from django.db import models


class SiteKey(models.Model):
    """A key of the site. Secret parts are wrapped by a master key.

    ``artifact`` keys sign artifacts, ``log`` keys tree heads (Ed25519; ``public`` is the raw public key), the
    ``consumer`` key makes consumer pseudonyms, and ``token`` rows hold no secret and name no master key: their id
    numbers the generations of the token key that the key provider derives, so that a forged token is refused without a
    query.

    A retired key makes nothing new; what it made stays good. A revoked key's tokens are dead.
    """

    class Purpose(models.TextChoices):
        ARTIFACT = "artifact"
        TOKEN = "token"  # noqa: S105 - the name of a purpose
        CONSUMER = "consumer"
        LOG = "log"

    purpose = models.CharField(max_length=16, choices=Purpose.choices)
    public = models.BinaryField(default=bytes)
    master_key_id = models.CharField(max_length=64)
    wrapped = models.BinaryField(default=bytes)
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "agent session site key"
        constraints = [
            # Two processes that both find no key must not both make one.
            models.UniqueConstraint(
                fields=["purpose"], condition=models.Q(retired_at__isnull=True), name="ags_site_key_one_active"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} key {self.pk}"
