"""The hand-written tables (see handwritten.py) as Django models, for the variant through the ORM."""

from __future__ import annotations

from django.db import models


class PlainSession(models.Model):
    id = models.UUIDField(primary_key=True)
    version = models.IntegerField()
    status = models.CharField(max_length=16)
    updated_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    state = models.JSONField()

    class Meta:
        managed = False
        db_table = "bench_session"

    def __str__(self) -> str:
        return f"plain session {self.pk}"


class PlainVersion(models.Model):
    pk = models.CompositePrimaryKey("session_id", "number")
    session_id = models.UUIDField()
    number = models.IntegerField()
    kind = models.CharField(max_length=64)
    actor = models.CharField(max_length=80)
    created_at = models.DateTimeField()
    patch = models.JSONField()

    class Meta:
        managed = False
        db_table = "bench_version"

    def __str__(self) -> str:
        return f"plain version {self.number}"


class PlainEvent(models.Model):
    pk = models.CompositePrimaryKey("session_id", "seq")
    session_id = models.UUIDField()
    seq = models.IntegerField()
    kind = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    event = models.TextField()
    hash = models.BinaryField()

    class Meta:
        managed = False
        db_table = "bench_event"

    def __str__(self) -> str:
        return f"plain event {self.seq}"
