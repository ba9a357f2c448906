"""What the list of sessions can be narrowed to, each with how many there are of it among the newest that match."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions.admin import wording
from agent_sessions.conf import settings
from agent_sessions.domain.lifecycle import EndReason, Status
from agent_sessions.domain.text import clipped
from agent_sessions.models import Session
from agent_sessions.selectors import admin_lists, finding, relations

if TYPE_CHECKING:
    from agent_sessions.admin.lists import SessionChangeList

PERIODS: Final = {
    "hour": (timedelta(hours=1), gettext_lazy("In the past hour")),
    "day": (timedelta(days=1), gettext_lazy("In the past 24 hours")),
    "week": (timedelta(days=7), gettext_lazy("In the past 7 days")),
    "month": (timedelta(days=30), gettext_lazy("In the past 30 days")),
}
_OFFERED: Final = 8
"""Values that a filter offers of what only the sessions tell, the most frequent ones."""
Choice = dict[str, Any]


class _Filter(admin.SimpleListFilter):
    """A filter of one parameter; ``counted`` tells how many sessions each choice has, None for one without counts."""

    takes: tuple[str, ...] = ()
    """Parameters beside its own."""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Session], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.takes:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter_name, *self.takes]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return []

    def has_output(self) -> bool:
        return True

    def get_facet_queryset(self, changelist: Any) -> dict[str, Any]:
        """Return the counts in the shape that Django puts beside the choices: ``{"0__c": "12"}``."""
        found = self.counted(changelist)
        if found is None:
            return {}
        return {
            f"{number}__c": wording.at_least(count, cut=cut)
            for number, (lookup, _title) in enumerate(self.lookup_choices)
            for count, cut in [(found[0][str(lookup)], found[1])]
            if count or not cut
        }

    def counted(self, changelist: SessionChangeList) -> tuple[Counter[str], bool] | None:
        return None

    def _newest(self, changelist: SessionChangeList) -> finding.Newest:
        return changelist.newest(excluding=self.expected_parameters() if self.used_parameters else ())


class _ColumnFilter(_Filter):
    """A filter by the value of a column that ``finding.Facts`` has."""

    column = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else queryset.filter(**{self.column: self.value()})

    def counted(self, changelist: SessionChangeList) -> tuple[Counter[str], bool] | None:
        found = self._newest(changelist)
        return found.counts(self.column), found.cut


class StatusFilter(_ColumnFilter):
    title = gettext_lazy("status")
    parameter_name = column = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(status.value, wording.STATUSES[status].capitalize()) for status in Status]


class EndReasonFilter(_ColumnFilter):
    title = gettext_lazy("how it ended")
    parameter_name = column = "end_reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(reason.value, wording.END_REASONS[reason].capitalize()) for reason in EndReason]


class OrderedFilter(_Filter):
    title = gettext_lazy("order")
    parameter_name = "ordered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Led to an order")), ("no", _("Without an order"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(ordered_at__isnull=self.value() == "no")

    def counted(self, changelist: SessionChangeList) -> tuple[Counter[str], bool] | None:
        found = self._newest(changelist)
        return Counter("no" if one.ordered_at is None else "yes" for one in found.sessions), found.cut


class KindFilter(_ColumnFilter):
    title = gettext_lazy("kind")
    parameter_name = column = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(kind, kind) for kind in settings.kinds]


class ApprovalFilter(_Filter):
    title = gettext_lazy("approval")
    parameter_name = "approval"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("escalated", _("Waits for staff")), ("waiting", _("Waits for anybody"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        if self.value() not in ("escalated", "waiting"):
            return queryset
        return admin_lists.waiting_for_approval(queryset, for_staff=self.value() == "escalated")

    def counted(self, changelist: SessionChangeList) -> tuple[Counter[str], bool] | None:
        sessions = changelist.get_queryset(self.request, exclude_parameters=self.expected_parameters())
        for_staff, for_anybody, cut = admin_lists.count_waiting(sessions, most=finding.NEWEST)
        return Counter(escalated=for_staff, waiting=for_anybody), cut


class OpenedFilter(_Filter):
    """When it was opened: in the past hours or days, or from a time on and before another one (viewer's zone)."""

    title = gettext_lazy("opened")
    parameter_name = "opened"
    takes = ("from", "to")
    template = "admin/agent_sessions/session/period_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, title) for name, (_length, title) in PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        if self.value() in PERIODS:
            queryset = finding.opened_between(queryset, timezone.now() - PERIODS[str(self.value())][0])
        return finding.opened_between(queryset, self._time("from"), self._time("to"))

    def counted(self, changelist: SessionChangeList) -> tuple[Counter[str], bool] | None:
        found, now = self._newest(changelist), timezone.now()
        ages = [now - one.created_at for one in found.sessions]
        counts = Counter({name: sum(age <= length for age in ages) for name, (length, _title) in PERIODS.items()})
        return counts, found.cut

    def choices(self, changelist: Any) -> Iterator[Any]:
        """The periods, each taking off the times; then what the form of times needs."""
        for choice, name in zip(super().choices(changelist), (None, *PERIODS), strict=True):
            change = {} if name is None else {"opened": name}
            gone = [one for one in self.expected_parameters() if one not in change]
            query = changelist.get_query_string(change, remove=gone)
            unset = not self.used_parameters if name is None else choice["selected"]
            yield {**choice, "query_string": query, "selected": unset}

    @property
    def times(self) -> dict[str, str]:
        """The times as a field for a local date and time takes them; what cannot be read is left out."""
        found = {name: self._time(name) for name in self.takes}
        return {
            f"{name}_": timezone.localtime(time).strftime("%Y-%m-%dT%H:%M") if time else ""
            for name, time in found.items()
        }

    @property
    def kept(self) -> list[tuple[str, str]]:
        return _others(self)

    def _time(self, name: str) -> datetime | None:
        return read_time(str(self.used_parameters.get(name, "")))


def read_time(text: str) -> datetime | None:
    """Read a day or a time as the address has it, in the viewer's zone unless it names one; None for anything else."""
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)) is not None:
            found = datetime.combine(day, time.min)
        if found is None or not 1970 <= found.year <= 9000:
            return None
        return timezone.make_aware(found) if timezone.is_naive(found) else found
    except ValueError:
        return None


class AgentFilter(_ColumnFilter):
    """The agents that occur most often among the newest sessions that match, and the one that is chosen."""

    title = gettext_lazy("agent")
    parameter_name = "agent"
    column = "agent_name"

    def choices(self, changelist: Any) -> Iterator[Any]:
        found = self._newest(changelist)
        yield from _offered(
            self, changelist, found.counts(self.column), cut=found.cut, said=lambda name: clipped(name, 40)
        )


class FailureFilter(_Filter):
    """Codes of failed steps, rules that refused a call, and other events that say that something went wrong."""

    title = gettext_lazy("failure")
    parameter_name = "failure"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else finding.with_failure(queryset, str(self.value()))

    def choices(self, changelist: Any) -> Iterator[Any]:
        found = self._newest(changelist)
        codes = finding.failure_codes([one.session_id for one in found.sessions])
        yield from _offered(self, changelist, codes, cut=found.cut, said=wording.failure_words)


def _offered(narrowing: _Filter, changelist: Any, counts: Counter[str], *, cut: bool, said: Any) -> Iterator[Choice]:
    """Offer the most frequent values and the one that is chosen, and to take it off."""
    name, value = str(narrowing.parameter_name), narrowing.value()
    offered = [one for one, _count in counts.most_common(_OFFERED) if one]
    yield {
        "selected": value is None,
        "query_string": changelist.get_query_string(remove=[name]),
        "display": _("All"),
    }
    for one in [*offered, *([value] if value and value not in offered else [])]:
        number = wording.at_least(counts[one], cut=cut) if counts[one] or not cut else "-"
        yield {
            "selected": one == value,
            "query_string": changelist.get_query_string({name: one}),
            "display": f"{said(one)} ({number})",
        }


class ItemFilter(_Filter):
    """An item of the shop, by its id, written into a field: there are too many to offer."""

    title = gettext_lazy("item in the cart")
    parameter_name = "item"
    template = "admin/agent_sessions/session/text_filter.html"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return finding.with_item(queryset, str(self.value()).strip()) if self.value() else queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        if self.value():
            yield {"query_string": changelist.get_query_string(remove=["item"]), "display": _("Any item")}

    @property
    def kept(self) -> list[tuple[str, str]]:
        return _others(self)


def _others(narrowing: _Filter) -> list[tuple[str, str]]:
    """Return what a form beside the filter has to keep of the address."""
    gone = {*narrowing.expected_parameters(), "p", "e"}
    query = narrowing.request.GET
    return [(name, value) for name, values in query.lists() if name not in gone for value in values]


class _OneValueFilter(_Filter):
    """A narrowing that a link on a page sets; it shows only where it is set, so that it can be taken off again."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = request.GET.get(self.parameter_name or "")
        return [(value, clipped(value, 24))] if value else []

    def has_output(self) -> bool:
        return bool(self.lookup_choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        return queryset if value is None else queryset.filter(**{str(self.parameter_name): value})

    def counted(self, changelist: SessionChangeList) -> tuple[Counter[str], bool] | None:
        every = changelist.newest()
        return Counter({str(self.value()): len(every.sessions)}), every.cut


class ShopperFilter(_OneValueFilter):
    title = gettext_lazy("shopper")
    parameter_name = "consumer"


class MerchantFilter(_OneValueFilter):
    title = gettext_lazy("merchant")
    parameter_name = "merchant"


class RequestFilter(_OneValueFilter):
    title = gettext_lazy("parent request")
    parameter_name = "parent_request"


class FamilyFilter(_OneValueFilter):
    """All that came from the same first session, which the value names."""

    title = gettext_lazy("family")
    parameter_name = "family"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        value = self.value()
        if value is None:
            return queryset
        try:
            return relations.of_family(queryset, uuid.UUID(value))
        except ValueError:
            return queryset.none()
