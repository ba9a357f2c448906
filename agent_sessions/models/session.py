"""The session row: who, for whom, until when, at which version. Small columns only; content lives in its history."""

from __future__ import annotations

from django.db import models

from agent_sessions.domain.ids import new_id
from agent_sessions.domain.lifecycle import LIVE, EndReason, Origin, Status

_LIVE = models.Q(status__in=[status.value for status in LIVE])


class Session(models.Model):
    """One session of one agent with one merchant.

    ``version`` counts the rows of SessionVersion; ``version_uid`` is the id of the current one, so that a state cached
    under it can never be stale, not even after a rollback. ``snapshot_version`` is the version that holds the latest
    snapshot (0: none), ``patch_bytes`` what the sealed patches after it weigh. ``head_seq`` and ``head_hash`` are the
    last event of its chain: who moves them from what was read has won the race for the next one.

    ``committed_version`` is the last version that a step has committed (0: none); what came after is tentative.
    ``held_by`` is the person who has taken it over (an Actor's text), empty while the agent has it.

    ``family`` is the first of the sessions that this one came from, its own id if it came from none; ``origin``,
    ``parent`` and ``parent_version`` say how and from what.

    ``caller`` is a pseudonym of who opened it, for counting; ``bound_to`` one of the address that its token works from.

    ``ordered_at`` is when it or another session of its family led to an order: the clock of order evidence.
    ``personal_erased_at`` and ``content_erased_at`` are when the key of that class was destroyed (A7); with the
    personal class ``consumer``, ``caller`` and ``bound_to`` are emptied.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in Status])
    kind = models.CharField(max_length=32)
    merchant = models.CharField(max_length=200)
    consumer = models.CharField(max_length=64, blank=True)
    agent_name = models.CharField(max_length=200, blank=True)
    agent_version = models.CharField(max_length=200, blank=True)
    agent_operator = models.CharField(max_length=200, blank=True)
    agent_key = models.CharField(max_length=200, blank=True)
    scope = models.JSONField(default=dict)
    parent_request = models.CharField(max_length=64, blank=True)
    family = models.UUIDField()
    origin = models.CharField(max_length=16, blank=True, choices=[(o.value, o.value) for o in Origin])
    parent = models.UUIDField(null=True)
    parent_version = models.PositiveIntegerField(null=True)
    held_by = models.CharField(max_length=80, blank=True)
    caller = models.CharField(max_length=64, blank=True)
    bound_to = models.CharField(max_length=64, blank=True)

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(
        max_length=16, blank=True, default="", choices=[(r.value, r.value) for r in EndReason]
    )
    paused_at = models.DateTimeField(null=True)
    sealed_at = models.DateTimeField(null=True)
    quarantined_at = models.DateTimeField(null=True)
    ordered_at = models.DateTimeField(null=True)
    personal_erased_at = models.DateTimeField(null=True)
    content_erased_at = models.DateTimeField(null=True)

    version = models.PositiveIntegerField()
    version_uid = models.UUIDField()
    committed_version = models.PositiveIntegerField(default=0)
    schema = models.PositiveSmallIntegerField()
    snapshot_version = models.PositiveIntegerField(default=0)
    patch_bytes = models.PositiveBigIntegerField(default=0)
    head_seq = models.PositiveIntegerField()
    head_hash = models.BinaryField(max_length=32)

    token_digest = models.BinaryField(max_length=32, unique=True)
    token_key = models.ForeignKey("SiteKey", models.PROTECT, related_name="+", db_index=False)

    class Meta:
        verbose_name = "agent session"
        verbose_name_plural = "agent sessions"
        permissions = [
            ("view_session_content", "Can view what agent sessions say"),
            ("view_session_evidence", "Can view evidence of agent sessions"),
            ("export_session_evidence", "Can export evidence of many agent sessions"),
            ("end_session", "Can end agent sessions"),
            ("take_over_session", "Can take over agent sessions and hand them back"),
            ("release_session_holds", "Can release what agent sessions hold of the stock"),
            ("rollback_session", "Can roll agent sessions back to a committed version"),
            ("resend_handoff", "Can send the checkout link of agent sessions again"),
            ("note_session", "Can leave notes on agent sessions"),
            ("hold_session_legally", "Can place and lift legal holds on agent sessions"),
            ("purge_session", "Can erase what agent sessions hold before their time"),
            ("repair_session", "Can repair and release damaged agent sessions"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(version__gte=1), name="ags_session_has_version"),
            models.CheckConstraint(
                condition=models.Q(snapshot_version__lte=models.F("version")), name="ags_session_snapshot_past"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, end_reason="")
                | (models.Q(ended_at__isnull=False) & ~models.Q(end_reason="")),
                name="ags_session_end_has_reason",
            ),
            models.CheckConstraint(
                condition=~models.Q(status=Status.ENDED.value) | models.Q(ended_at__isnull=False),
                name="ags_session_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(status=Status.PAUSED.value) | models.Q(paused_at__isnull=False),
                name="ags_session_paused_has_time",
            ),
            models.CheckConstraint(
                condition=models.Q(committed_version__lte=models.F("version")), name="ags_session_committed_past"
            ),
            models.CheckConstraint(
                condition=models.Q(origin="", parent__isnull=True, parent_version__isnull=True)
                | (models.Q(parent__isnull=False, parent_version__isnull=False) & ~models.Q(origin="")),
                name="ags_session_origin_has_parent",
            ),
        ]
        indexes = [
            # The two lists that jobs work through stay as small as their work: the live ones by deadline, and the
            # ended ones whose artifact is still to be sealed.
            models.Index(fields=["expires_at"], condition=_LIVE, name="ags_session_due"),
            models.Index(
                fields=["ended_at"],
                condition=models.Q(status=Status.ENDED.value, sealed_at__isnull=True),
                name="ags_session_unsealed",
            ),
            # What waits for a person to look at it: few, if any, among all that there ever were.
            models.Index(
                fields=["quarantined_at"],
                condition=models.Q(status=Status.QUARANTINED.value),
                name="ags_session_quarantined",
            ),
            # What the purge works through, by the clock that its rule goes by.
            models.Index(
                fields=["ended_at"],
                condition=models.Q(status=Status.ENDED.value, personal_erased_at__isnull=True),
                name="ags_session_personal_due",
            ),
            models.Index(
                fields=["ended_at"],
                condition=models.Q(status=Status.ENDED.value, content_erased_at__isnull=True, ordered_at__isnull=True),
                name="ags_session_content_due",
            ),
            models.Index(
                fields=["ordered_at"],
                condition=models.Q(content_erased_at__isnull=True, ordered_at__isnull=False),
                name="ags_session_order_due",
            ),
            models.Index(fields=["consumer", "merchant", "-created_at"], name="ags_session_consumer"),
            # Kinds and ends that are rare in most shops; the others are found by walking back from the newest session.
            models.Index(fields=["kind", "id"], condition=~models.Q(kind="standard"), name="ags_session_kind"),
            models.Index(
                fields=["end_reason", "id"],
                condition=models.Q(end_reason__in=["revoked", "renewed", "transferred"]),
                name="ags_session_rare_end",
            ),
            # Staff look for an agent by the beginning of its name, whatever the database sorts text by.
            models.Index(
                fields=["agent_name", "id"], opclasses=["varchar_pattern_ops", "uuid_ops"], name="ags_session_agent"
            ),
            models.Index(
                fields=["caller"],
                condition=_LIVE & ~models.Q(caller=""),
                name="ags_session_caller",
            ),
            models.Index(fields=["family"], condition=models.Q(parent__isnull=False), name="ags_session_family"),
            models.Index(fields=["parent_request"], condition=~models.Q(parent_request=""), name="ags_session_parent"),
        ]

    def __str__(self) -> str:
        return f"agent session {self.pk}"


class SessionKey(models.Model):
    """A session's two data keys, each wrapped by the same master key (A7).

    ``wrapped`` is that of the content class, ``personal`` that of the personal class: null once it was destroyed.
    Deleting the row erases both.
    """

    session = models.OneToOneField(Session, models.CASCADE, primary_key=True, related_name="+")
    master_key_id = models.CharField(max_length=64, db_index=True)
    wrapped = models.BinaryField()
    personal = models.BinaryField(null=True)

    class Meta:
        verbose_name = "agent session key"

    def __str__(self) -> str:
        return f"data keys of agent session {self.session_id}"
