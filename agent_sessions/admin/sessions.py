"""The list of sessions, and where the pages of one session hang. Nobody adds, changes or deletes a session here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from agent_sessions.admin import filters, wording
from agent_sessions.admin.acting import recording_refusals
from agent_sessions.admin.dashboard import Dashboard
from agent_sessions.admin.evidence import MAY_EXPORT
from agent_sessions.admin.exports import ExportPage
from agent_sessions.admin.lists import SessionChangeList
from agent_sessions.admin.pages import SessionPages
from agent_sessions.admin.routes import PAGES
from agent_sessions.admin.searches import CustomerSearch, finds_customers, saved_searches
from agent_sessions.domain.lifecycle import LIVE
from agent_sessions.domain.text import clipped
from agent_sessions.models import Session
from agent_sessions.selectors import admin_lists
from agent_sessions.transactions import outside_transactions

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    SessionModelAdmin = admin.ModelAdmin


_READS = ("GET", "HEAD")
View = Callable[..., HttpResponseBase]


class SessionAdmin(SessionModelAdmin):
    """Sessions, to look at."""

    list_display = ("short_id", "standing", "agent", "shopper", "merchant_and_kind", "changes")
    list_display_links = ("short_id",)
    list_filter = (
        filters.ShopperFilter,
        filters.MerchantFilter,
        filters.RequestFilter,
        filters.FamilyFilter,
        filters.StatusFilter,
        filters.ApprovalFilter,
        filters.OpenedFilter,
        filters.EndReasonFilter,
        filters.OrderedFilter,
        filters.FailureFilter,
        filters.AgentFilter,
        filters.ItemFilter,
        filters.KindFilter,
    )
    list_per_page = 50
    # Any name puts the search form on the page; find_sessions does the searching.
    search_fields = ("pk",)
    search_help_text = gettext_lazy("Session id, order reference, parent request, or the beginning of an agent’s name")
    show_full_result_count = False
    show_facets = admin.ShowFacets.ALWAYS
    sortable_by = ()
    actions = None

    class Media:
        css = {"all": ("agent_sessions/admin.css",)}
        js = (Script("agent_sessions/times.js", defer=True),)

    def get_urls(self) -> list[URLPattern]:
        """What reads, the answer to an approval, and exports: the forms that Django would add have no address."""
        pages = SessionPages(self)
        info = (self.opts.app_label, self.opts.model_name)

        def url(
            route: str, view: Callable[..., HttpResponseBase], name: str, takes: Sequence[str] = _READS
        ) -> URLPattern:
            if "POST" in takes:
                view = outside_transactions(recording_refusals(view, name))
            shown = self.admin_site.admin_view(require_http_methods([*takes])(view))
            return path(route, shown, name="{}_{}_{}".format(*info, name))

        return [
            url("", self.changelist_view, "changelist"),
            url("evidence/", ExportPage(self), "export", takes=(*_READS, "POST")),
            url("overview/", Dashboard(self), "dashboard"),
            url("customer/", CustomerSearch(self), "customer", takes=("POST",)),
            *(
                url(
                    f"<uuid:session_id>/{page.route}",
                    getattr(pages, page.view),
                    page.name,
                    takes=(*_READS, "POST") if page.answers else _READS,
                )
                for page in PAGES
            ),
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return admin_lists.listed_sessions()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Session], search_term: str
    ) -> tuple[QuerySet[Session], bool]:
        return (admin_lists.find_sessions(queryset, search_term) if search_term.strip() else queryset), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionChangeList]:
        return SessionChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        export_url = ""
        if request.user.has_perm(MAY_EXPORT):
            export_url = reverse(f"{self.admin_site.name}:agent_sessions_session_export")
        context = {
            "title": _("Agent sessions"),
            "export_url": export_url,
            "dashboard_url": reverse(f"{self.admin_site.name}:agent_sessions_session_dashboard"),
            "saved_searches": saved_searches(request.GET.dict()),
            "finds_customers": finds_customers(),
            "customer_url": reverse(f"{self.admin_site.name}:agent_sessions_session_customer"),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse what the filters do not offer: probing for a token's digest or a caller's pseudonym, say."""
        return any(lookup in (narrowing.parameter_name, *narrowing.takes) for narrowing in self.list_filter)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return request.user.has_perm("agent_sessions.view_session")

    @admin.display(description=gettext_lazy("Session, opened"))
    def short_id(self, session: Session) -> SafeString:
        """The beginning of the id, which finds the session too, and below it when it was opened."""
        short = format_html('<code class="ags-id" title="{}">{}</code>', session.pk, wording.short_id(session.pk))
        return _two_lines(short, wording.brief_moment(session.created_at))

    @admin.display(description=gettext_lazy("Status"))
    def standing(self, session: Session) -> SafeString:
        """Where it stands; below that how much time is left, or when and how it ended; and the order, if any."""
        if session.ended_at is not None:
            reason = wording.end_reason_words(session.end_reason)
            below = format_html("{}, {}", reason, wording.brief_moment(session.ended_at))
        elif session.status in LIVE and session.expires_at > timezone.now():
            below = format_html(_("{} left"), wording.span(session.expires_at - timezone.now()))
        else:
            below = format_html(_("deadline {}"), wording.brief_moment(session.expires_at))
        shown = _two_lines(wording.status_mark(session.status, session.expires_at, session.end_reason), below)
        if (gone := session.content_erased_at or session.personal_erased_at) is not None:
            told = _("content erased {}") if session.content_erased_at is not None else _("personal data erased {}")
            shown = _two_lines(shown, format_html(told, wording.brief_moment(gone)))
        order: str | None = getattr(session, "order_ref", None)
        return _two_lines(shown, format_html("{} <code>{}</code>", _("order"), clipped(order, 40))) if order else shown

    @admin.display(description=gettext_lazy("Agent"))
    def agent(self, session: Session) -> SafeString:
        version = clipped(session.agent_version, 20)
        return _two_lines(
            clipped(session.agent_name, 40) or _("Unnamed agent"),
            version and _("version {number}").format(number=version),
        )

    @admin.display(description=gettext_lazy("Merchant"))
    def merchant_and_kind(self, session: Session) -> SafeString:
        return _two_lines(clipped(session.merchant, 30), clipped(session.kind, 30))

    @admin.display(description=gettext_lazy("Version"))
    def changes(self, session: Session) -> SafeString:
        return format_html('<span class="ags-count">{}</span>', session.version)

    @admin.display(description=gettext_lazy("Shopper"))
    def shopper(self, session: Session) -> SafeString | str:
        if not session.consumer:
            return "–"
        return format_html('<code title="{}">{}</code>', session.consumer, clipped(session.consumer, 9))


def _two_lines(above: SafeString | str, below: SafeString | str) -> SafeString:
    return format_html('{}<span class="ags-second">{}</span>', above, below)
