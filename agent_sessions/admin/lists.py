"""The list's pages: neighbours by id instead of numbered pages, because numbering would count millions of rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest

from agent_sessions.admin import wording
from agent_sessions.models import Session
from agent_sessions.selectors import admin_lists, finding

_NEWER = "newer-"


class SessionChangeList(ChangeList):
    """``p`` in the address is the id that the page is older than, or ``newer-`` and the id that it is newer than."""

    newer_link = older_link = ""
    queryset: QuerySet[Session]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Session]:
        if any("\0" in value for values in request.GET.lists() for value in values[1]):
            raise IncorrectLookupParameters  # no text of a database has it, and PostgreSQL says so by an error
        found: QuerySet[Session] = super().get_queryset(request, exclude_parameters)
        return found

    def newest(self, *, excluding: Iterable[str | None] = ()) -> finding.Newest:
        """Return the newest sessions that match, for counts; as if these parameters were not in the address."""
        key = tuple(excluding)
        known: dict[tuple[str | None, ...], finding.Newest] = self.__dict__.setdefault("_newest", {})
        if key not in known:
            sessions = self.get_queryset(self._request, exclude_parameters=list(key)) if key else self.queryset
            known[key] = finding.newest(sessions)
        return known[key]

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        self._request = request
        place = request.GET.get(PAGE_VAR, "")
        newer_than = _read_id(place.removeprefix(_NEWER)) if place.startswith(_NEWER) else None
        older_than = _read_id(place) if newer_than is None else None
        found, more = admin_lists.page_of_sessions(
            self.queryset, limit=self.list_per_page, older_than=older_than, newer_than=newer_than
        )
        if found and (older_than is not None or (newer_than is not None and more)):
            self.newer_link = self.get_query_string({PAGE_VAR: f"{_NEWER}{found[0].pk}"})
        if found and (newer_than is not None or more):
            self.older_link = self.get_query_string({PAGE_VAR: str(found[-1].pk)})
        self.on_first_page = not place
        self.first_link = self.get_query_string(remove=[PAGE_VAR])
        self.result_list = found
        self.result_count = len(found)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        every = self.newest()
        self.matching_count = len(every.sessions)
        self.matching = wording.at_least(self.matching_count, cut=every.cut)


def _read_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
