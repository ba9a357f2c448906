"""A session's history over HTTP: its versions, its state then and now, and what changed between (V2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.http import HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.resource import Operation, SessionResource, as_parameter
from agent_sessions.api.schemas import DIFFERENCE, STATE_VIEW, VERSION
from agent_sessions.audit.events import format_time
from agent_sessions.domain.differences import Difference
from agent_sessions.domain.state import AGENT_WRITABLE
from agent_sessions.exceptions import InvalidParameter, InvalidValue
from agent_sessions.selectors import SessionHead, StateView, VersionInfo
from agent_sessions.selectors.history import local_name

_MOST: Final = 500
_AFTER = {"type": "integer", "minimum": 0, "description": "Only what has a higher number."}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": _MOST, "description": "How many at most."}
_NUMBER = {"type": "integer", "minimum": 1, "description": "The number of a version."}
LIST_QUERY: Final = {"after": _AFTER, "limit": _LIMIT}


class VersionsView(SessionResource):
    """``GET`` the list of versions, oldest first."""

    operations = {
        "GET": Operation(
            "session.versions",
            "The versions of the session: number, kind of change, who and when.",
            {"type": "array", "items": VERSION},
            query=LIST_QUERY,
        )
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        limit = self.number("limit", 100, least=1, most=_MOST)
        listed = selectors.versions(head.session_id, after=self.number("after", 0), limit=limit)
        return self.answered([version_answer(head, one) for one in listed], version=head.version)


class StateAtView(SessionResource):
    """``GET`` the state: now, at a version, at a time, or so many seconds ago."""

    operations = {
        "GET": Operation(
            "session.state",
            "The state of the session now, or as it was at a version or a time.",
            STATE_VIEW,
            query={
                "version": _NUMBER,
                "at": {"type": "string", "format": "date-time", "description": "A time with its offset."},
                "seconds_ago": {"type": "integer", "minimum": 0},
            },
        ),
        "PATCH": Operation(
            "session.variables",
            f"Change what is the agent's own, by a merge patch (RFC 7396): {', '.join(AGENT_WRITABLE)}.",
            {
                "type": "object",
                "required": ["version", "merged"],
                "properties": {
                    "version": {"type": "integer", "minimum": 1},
                    "merged": {"type": "boolean", "description": "Others had moved the session on meanwhile."},
                },
            },
            query={
                "on_conflict": {
                    "enum": ["refuse", "merge"],
                    "description": "What to do if the session is no longer at the version that If-Match names.",
                },
                "scope": {
                    "enum": ["shared", "local"],
                    "description": "local: the patch is one of the agent's own scope, which other agents do not see.",
                },
            },
            body={"type": "object"},
            changes=True,
        ),
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        asked = [name for name in ("version", "at", "seconds_ago") if name in self.http.GET]
        if len(asked) > 1:
            raise InvalidParameter(asked[1], f"Send it or {asked[0]}, not both.")
        if "version" in asked:
            view = selectors.state_at_version(head, self.number("version", 1, least=1))
        elif "at" in asked:
            view = selectors.state_at_time(head, self._time())
        elif asked:
            ago = timedelta(seconds=self.number("seconds_ago", 0, most=10**9))
            view = selectors.state_at_time(head, timezone.now() - ago)
        else:
            view = selectors.current_state(head)
        return self.answered(state_answer(view, head), version=head.version)

    def patch(self, request: Request) -> HttpResponse:
        head = self.required_session()
        try:
            written = services.write_variables(
                head,
                patch=self.read_object(),
                expected_version=self.expected_version(head),
                merging=self.choice("on_conflict", ("refuse", "merge")) == "merge",
                local=self.choice("scope", ("shared", "local")) == "local",
            )
        except InvalidValue as refused:
            raise as_parameter(refused) from None
        return self.answered({"version": written.version, "merged": written.merged}, version=written.version)

    def _time(self) -> datetime:
        try:
            # A plus sign in a query is a space to whoever did not encode it.
            moment = parse_datetime(self.http.GET["at"].replace(" ", "+"))
            if moment is not None and moment.utcoffset() is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):  # the first and the last day there is have no time everywhere
            pass
        raise InvalidParameter("at", "Send a time with its offset, such as 2026-01-31T12:00:00Z.")


class DifferencesView(SessionResource):
    """``GET`` what changed between two versions, in the words of a shop."""

    operations = {
        "GET": Operation(
            "session.differences",
            "What changed from one version to another; to the current one if the second is left out.",
            {"type": "array", "items": DIFFERENCE},
            query={"from": _NUMBER, "to": _NUMBER},
        )
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        if "from" not in self.http.GET:
            raise InvalidParameter("from", "Send the number of the version to compare with.")
        before = self.number("from", 1, least=1)
        after = self.number("to", head.version, least=1)
        told = selectors.compare(head, before, after, as_agent=True)
        return self.answered([difference_answer(one) for one in told], version=head.version)


def version_answer(head: SessionHead, version: VersionInfo) -> dict[str, Any]:
    return {
        "number": version.number,
        "version_id": str(version.version_id),
        "kind": version.kind,
        "actor": version.actor,
        "created_at": format_time(version.created_at),
        "committed": version.number <= head.committed_version,
    }


def state_answer(view: StateView, head: SessionHead) -> dict[str, Any]:
    """Return a state as the session's agent may see it."""
    return {"version": view.version, "schema": view.schema, "state": view.seen_by(local_name(head))}


def difference_answer(one: Difference) -> dict[str, Any]:
    """Return a difference; what was not there before, or is no more, is left out."""
    answer: dict[str, Any] = {"kind": one.kind, "path": one.path, "text": one.text}
    return answer | {name: value for name, value in (("before", one.old), ("after", one.new)) if value is not None}
