"""What the list of sessions can be narrowed to. No choice counts, and none asks the database what there is."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from agent_sessions.admin import wording
from agent_sessions.conf import settings
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.domain.text import clipped
from agent_sessions.models import Session
from agent_sessions.selectors import admin_lists, relations

_PERIODS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.value.capitalize()) for status in Status]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else queryset.filter(status=self.value())


class ApprovalFilter(admin.SimpleListFilter):
    title = "approval"
    parameter_name = "approval"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("escalated", "Waits for staff"), ("waiting", "Waits for anybody")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        if self.value() not in ("escalated", "waiting"):
            return queryset
        return admin_lists.waiting_for_approval(queryset, for_staff=self.value() == "escalated")


class OpenedFilter(admin.SimpleListFilter):
    title = "opened"
    parameter_name = "opened"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("hour", "In the past hour"),
            ("day", "In the past 24 hours"),
            ("week", "In the past 7 days"),
            ("month", "In the past 30 days"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        length = _PERIODS.get(self.value() or "")
        return queryset if length is None else admin_lists.opened_since(queryset, timezone.now() - length)


class EndReasonFilter(admin.SimpleListFilter):
    title = "how it ended"
    parameter_name = "end_reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(reason.value, wording.END_REASONS[reason].capitalize()) for reason in EndReason]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else queryset.filter(end_reason=self.value())


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in settings.kinds]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else queryset.filter(kind=self.value())


class _OneValueFilter(admin.SimpleListFilter):
    """A narrowing that a link on a page sets; it shows only where it is set, so that it can be taken off again."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        value = request.GET.get(self.parameter_name or "")
        return [(value, clipped(value, 24))] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        return queryset if value is None else queryset.filter(**{str(self.parameter_name): value})


class ShopperFilter(_OneValueFilter):
    title = "shopper"
    parameter_name = "consumer"


class MerchantFilter(_OneValueFilter):
    title = "merchant"
    parameter_name = "merchant"


class RequestFilter(_OneValueFilter):
    title = "parent request"
    parameter_name = "parent_request"


class FamilyFilter(_OneValueFilter):
    """All that came from the same first session, which the value names."""

    title = "family"
    parameter_name = "family"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        if value is None:
            return queryset
        try:
            return relations.of_family(queryset, uuid.UUID(value))
        except ValueError:
            return queryset.none()
