"""The overview of all sessions: what was opened and what came of it, what fails, who waits, what is to be looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agent_sessions.admin import wording
from agent_sessions.admin.agreement import Agreeing
from agent_sessions.admin.charts import Chart, Series, columns_chart
from agent_sessions.admin.crumbs import crumbs
from agent_sessions.conf import settings
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import activity
from agent_sessions.selectors.activity import Activity, Cell, Waits

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin

PERIODS: Final = {
    "day": gettext_lazy("24 hours"),
    "week": gettext_lazy("7 days"),
    "month": gettext_lazy("30 days"),
}
_STANDINGS: Final = {
    "ordered": (gettext_lazy("Led to an order"), {"ordered": "yes"}),
    "ended": (gettext_lazy("Ended without an order"), {"ordered": "no", "status": "ended"}),
    "active": (gettext_lazy("Active"), {"ordered": "no", "status": "active"}),
    "paused": (gettext_lazy("Paused"), {"ordered": "no", "status": "paused"}),
    "quarantined": (gettext_lazy("Quarantined"), {"ordered": "no", "status": "quarantined"}),
}
"""How sessions stand, from the bottom of a column to its top, and by which narrowing the list shows them."""
_KINDS: Final = 6
"""Kinds that have a colour of their own."""
_CODES: Final = 10
_WAITS: Final = (
    (timedelta(minutes=1), gettext_lazy("under 1 min")),
    (timedelta(minutes=5), gettext_lazy("1 to 5 min")),
    (timedelta(minutes=15), gettext_lazy("5 to 15 min")),
    (timedelta(hours=1), gettext_lazy("15 min to 1 h")),
    (timedelta.max, gettext_lazy("over 1 h")),
)


class Dashboard:
    """Needs the permission to see sessions, and shows nothing that is sealed."""

    def __init__(self, model_admin: SessionAdmin) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        list_url = reverse(f"{self._admin.admin_site.name}:agent_sessions_session_changelist")
        period = request.GET.get("period", "")
        period = period if period in PERIODS else "day"
        now = timezone.now()
        agreeing = Agreeing(self._admin, request, now)
        return TemplateResponse(
            request,
            "admin/agent_sessions/session/dashboard.html",
            {
                **self._admin.admin_site.each_context(request),
                "title": _("Overview"),
                "opts": self._admin.opts,
                "media": self._admin.media,
                **crumbs(self._admin, (_("Overview"), "")),
                "periods": [{"name": name, "title": title, "here": name == period} for name, title in PERIODS.items()],
                "period": PERIODS[period],
                **_told(period, now, list_url),
                "alarms": [*agreeing.alarms(), *_late(now)],
                "agreement": agreeing.told(),
            },
        )


def _told(period: str, now: datetime, list_url: str) -> dict[str, Any]:
    edges = edges_of(period, now)

    def link(**narrowing: str) -> str:
        return f"{list_url}?{urlencode({'from': _written(edges[0]), 'to': _written(edges[-1]), **narrowing})}"

    found = activity.activity(edges)
    failures = activity.failures_between(edges[0], edges[-1])
    waits = activity.approval_waits(edges[0], edges[-1])
    opened = sum(cell.count for cell in found.cells)
    ordered = sum(cell.count for cell in found.cells if cell.ordered)
    most = max((count for _code, count in failures.codes), default=0)
    return {
        "since": wording.moment(found.since) if found.cut else None,
        "most": activity.MOST,
        "opened": opened,
        "opened_url": link(),
        "ordered": ordered,
        "ordered_url": link(ordered="yes"),
        "conversion": _share(ordered, opened),
        "funnel": [
            {"label": _("Opened"), "count": opened, "share": _share(opened, opened), "width": _width(opened, opened)},
            {"label": _("Checkout begun"), "count": found.checkouts, "share": _share(found.checkouts, opened),
             "width": _width(found.checkouts, opened)},
            {"label": _("Led to an order"), "count": ordered, "share": _share(ordered, opened),
             "width": _width(ordered, opened)},
        ],
        "charts": [_by_standing(found, edges, list_url, link), _by_kind(found, edges, list_url, link)],
        "conversions": _conversions(found, edges),
        "failed": wording.at_least(failures.sessions, cut=failures.cut),
        "failures_cut": failures.cut,
        "failures": [
            {"label": wording.failure_words(code), "href": link(failure=code), "width": _width(count, most),
             "count": wording.at_least(count, cut=failures.cut)}
            for code, count in failures.codes[:_CODES]
        ],
        "waits": _waits(waits),
        "waiting_url": f"{list_url}?approval=waiting",
        "backlog": [
            {"rule": clipped(one.rule.name, 60), "class": one.rule.data_class,
             "due": wording.at_least(one.due, cut=one.due == activity.MOST_COUNTED),
             "next": None if one.next_due is None else wording.moment(one.next_due)}
            for one in activity.purge_backlog(now)
        ],
    }  # fmt: skip


def edges_of(period: str, now: datetime) -> list[datetime]:
    """Return where the parts of a period begin and end: 24 hours; in the viewer's zone, quarters of 7 days, 30 days."""
    if period == "day":
        last = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        return [last - timedelta(hours=hours) for hours in range(24, -1, -1)]
    days, hours = (7, (0, 6, 12, 18)) if period == "week" else (30, (0,))
    today = timezone.localdate(now)
    found = [
        timezone.make_aware(datetime.combine(today - timedelta(days=back), time(hour)))
        for back in range(days - 1, -1, -1)
        for hour in hours
    ]
    return [*found, timezone.make_aware(datetime.combine(today + timedelta(days=1), time.min))]


def _by_standing(found: Activity, edges: Sequence[datetime], list_url: str, link: Callable[..., str]) -> Chart:
    totals: Counter[str] = Counter()
    for cell in found.cells:
        totals[_standing(cell)] += cell.count
    series = [
        Series(name, str(label), totals[name], link(**query), name)
        for name, (label, query) in _STANDINGS.items()
        if totals[name]
    ]
    queries = {name: query for name, (_label, query) in _STANDINGS.items()}
    parts = _parts(found, edges, list_url, _standing, {one.name: queries[one.name] for one in series})
    return columns_chart(_("Sessions, by how they stand"), series, parts)


def _by_kind(found: Activity, edges: Sequence[datetime], list_url: str, link: Callable[..., str]) -> Chart:
    totals: Counter[str] = Counter()
    for cell in found.cells:
        totals[cell.kind] += cell.count
    order = {kind: number for number, kind in enumerate(settings.kinds)}
    kinds = sorted(totals, key=lambda kind: (order.get(kind, len(order)), kind))
    series = [
        Series(kind, clipped(kind, 32), totals[kind], link(kind=kind), f"kind-{min(order.get(kind, _KINDS), _KINDS)}")
        for kind in kinds
    ]
    parts = _parts(found, edges, list_url, lambda cell: cell.kind, {kind: {"kind": kind} for kind in kinds})
    return columns_chart(_("Sessions, by kind"), series, parts)


def _parts(
    found: Activity,
    edges: Sequence[datetime],
    list_url: str,
    name_of: Callable[[Cell], str],
    queries: dict[str, dict[str, str]],
) -> list[tuple[str, str, dict[str, tuple[int, str]]]]:
    """Return for each part its label, its link, and of each series how many and where they are listed."""
    counts: Counter[tuple[int, str]] = Counter()
    for cell in found.cells:
        counts[cell.part, name_of(cell)] += cell.count
    parts = []
    for number, (start, end) in enumerate(pairwise(edges)):
        period = {"from": _written(start), "to": _written(end)}
        numbers = {
            name: (counts[number, name], f"{list_url}?{urlencode({**period, **query})}")
            for name, query in queries.items()
        }
        parts.append((_label(start, edges), f"{list_url}?{urlencode(period)}", numbers))
    return parts


def _conversions(found: Activity, edges: Sequence[datetime]) -> list[dict[str, str]]:
    """Tell for each part which share of what was opened in it led to an order."""
    opened: Counter[int] = Counter()
    ordered: Counter[int] = Counter()
    for cell in found.cells:
        opened[cell.part] += cell.count
        ordered[cell.part] += cell.count if cell.ordered else 0
    width = 100 / (len(edges) - 1)
    return [
        {
            "label": _label(edges[part], edges),
            "x": f"{width * (part + 0.1):.3f}%",
            "width": f"{width * 0.8:.3f}%",
            "y": f"{60 - 56 * ordered[part] / opened[part]:.2f}",
            "height": f"{max(56 * ordered[part] / opened[part], 1):.2f}",
            "share": _share(ordered[part], opened[part]),
        }
        for part in range(len(edges) - 1)
        if opened[part]
    ]


def _waits(waits: Waits) -> dict[str, Any]:
    bins = []
    longer = list(waits.answered)
    for limit, label in _WAITS:
        bins.append((label, sum(wait < limit for wait in longer)))
        longer = [wait for wait in longer if wait >= limit]
    most = max(count for _label, count in bins)
    answered = waits.answered
    return {
        "answered": len(answered),
        "median": wording.length(answered[len(answered) // 2]) if answered else "–",
        "slowest": wording.length(answered[min(len(answered) * 9 // 10, len(answered) - 1)]) if answered else "–",
        "bins": [{"label": label, "count": count, "width": _width(count, most)} for label, count in bins],
        "open": waits.open,
        "expired": waits.expired,
        "rejected": waits.rejected,
        "cut": waits.cut,
        "most": activity.MOST_ROWS,
    }


def _late(now: datetime) -> list[dict[str, Any]]:
    """Tell what the jobs are late with."""
    found = activity.alarms(now)
    told = (
        (found.overdue, _("past the deadline and not ended by a job: is expire_sessions running?")),
        (found.unheard_steps, _("steps not heard of again: is resolve_unknown_steps running?")),
        (found.heads, _("tree heads of the log that no sink has: is sequence_log running, are the sinks there?")),
    )
    return [
        {"count": wording.at_least(count, cut=count == activity.MOST_COUNTED), "text": text}
        for count, text in told
        if count
    ]


def _standing(cell: Cell) -> str:
    return "ordered" if cell.ordered else cell.status


def _label(start: datetime, edges: Sequence[datetime]) -> str:
    pattern = {25: "H:i", 29: "D H:i"}.get(len(edges), "j M")
    return str(formats.date_format(timezone.localtime(start), pattern))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _share(part: int, whole: int) -> str:
    return f"{formats.number_format(100 * part / whole, 1)} %" if whole else "–"


def _width(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else "0%"
