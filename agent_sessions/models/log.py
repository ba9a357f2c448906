"""The Merkle log over all sessions (A4, RFC 6962), and the site's own chain of what was done to no single session.

The rows are what proofs are computed from. What they are worth comes from the heads that were written elsewhere.
"""

from __future__ import annotations

from django.db import models


class LogGeneration(models.Model):
    """One generation of the log, an append-only tree of its own; a database that was restored begins a new one.

    ``origin`` is the name that its heads are signed under: ``shop.example/agent-sessions/2``. ``frontier`` holds the
    hashes (hex) of the complete subtrees of its ``size`` leaves, the largest first. ``position`` is how far the events
    have been looked at (see ``services.sequencing``). The row is locked while leaves are appended, so that there is one
    sequencer at a time.
    """

    number = models.PositiveIntegerField(primary_key=True)
    origin = models.CharField(max_length=200, unique=True)
    reason = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    frontier = models.JSONField(default=list)
    position = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "agent session log generation"
        constraints = [
            # A constant, so that there is one row at most for which the condition holds.
            models.UniqueConstraint(
                models.Value(1), condition=models.Q(closed_at__isnull=True), name="ags_log_one_open"
            ),
        ]

    def __str__(self) -> str:
        return f"log {self.origin}"


class LogLeaf(models.Model):
    """A leaf: where the chain of ``session`` stood (``head`` is the hash of event ``seq``).

    For other leaves (``kind`` site, generation or key) ``session`` is null; ``data`` holds the bytes of a leaf that
    cannot be written again from the columns. ``hash`` is the leaf's hash in the tree.
    """

    class Kind(models.TextChoices):
        SESSION = "session"
        SITE = "site"
        GENERATION = "generation"
        KEY = "key"

    pk = models.CompositePrimaryKey("generation_id", "index")
    generation = models.ForeignKey(LogGeneration, models.PROTECT, related_name="+", db_index=False)
    index = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=16, choices=Kind.choices)
    session = models.UUIDField(null=True)
    seq = models.PositiveIntegerField(null=True)
    head = models.BinaryField(max_length=32, null=True)
    data = models.BinaryField(null=True)
    hash = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "agent session log leaf"
        indexes = [models.Index(fields=["session", "seq"], name="ags_log_leaf_session")]

    def __str__(self) -> str:
        return f"leaf {self.index} of log {self.generation_id}"


class LogNode(models.Model):
    """The hash of a complete subtree of 2^``level`` leaves (``level`` from 1), the ``index``-th of its level."""

    pk = models.CompositePrimaryKey("generation_id", "level", "index")
    generation = models.ForeignKey(LogGeneration, models.PROTECT, related_name="+", db_index=False)
    level = models.PositiveSmallIntegerField()
    index = models.PositiveBigIntegerField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = "agent session log node"

    def __str__(self) -> str:
        return f"node {self.level}/{self.index} of log {self.generation_id}"


class TreeHead(models.Model):
    """A signed tree head (C2SP signed note, ``note``); it counts once ``exported_at`` says that the sinks have it.

    ``exported_to`` names the sinks that have it so far; ``cosignatures`` are the lines of witnesses who found it
    consistent.
    """

    pk = models.CompositePrimaryKey("generation_id", "size")
    generation = models.ForeignKey(LogGeneration, models.PROTECT, related_name="+", db_index=False)
    size = models.PositiveBigIntegerField()
    root = models.BinaryField(max_length=32)
    note = models.TextField()
    signing_key = models.ForeignKey("SiteKey", models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    exported_at = models.DateTimeField(null=True)
    exported_to = models.JSONField(default=list)
    cosignatures = models.JSONField(default=list)

    class Meta:
        verbose_name = "agent session tree head"
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(exported_at__isnull=True), name="ags_head_waiting"),
        ]

    def __str__(self) -> str:
        return f"tree head {self.size} of log {self.generation_id}"


class SiteEvent(models.Model):
    """An event of the site's own hash chain: holds, erasures, keys, security events. It goes into the log too.

    ``canonical`` is the exact bytes whose SHA-256 (``hash``) the next event names; it holds nothing personal.
    """

    seq = models.PositiveIntegerField(primary_key=True)
    created_at = models.DateTimeField()
    kind = models.CharField(max_length=64, db_index=True)
    canonical = models.BinaryField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = "agent session site event"
        constraints = [models.CheckConstraint(condition=models.Q(seq__gte=1), name="ags_site_event_from_one")]

    def __str__(self) -> str:
        return f"site event {self.seq}"
