"""The addresses below a session's, each with its view: routes and the OpenAPI description are made of this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_sessions.api.conversation import MessagesView
from agent_sessions.api.events import EventsView
from agent_sessions.api.history import DifferencesView, StateAtView, VersionsView
from agent_sessions.api.resource import SessionResource


@dataclass(frozen=True, slots=True)
class Resource:
    """``path`` is below the session's own address, with Django's converters: ``versions/<int:number>``."""

    name: str
    path: str
    view: type[SessionResource]


RESOURCES: Final[tuple[Resource, ...]] = (
    Resource("versions", "versions", VersionsView),
    Resource("state", "state", StateAtView),
    Resource("differences", "differences", DifferencesView),
    Resource("messages", "messages", MessagesView),
    Resource("events", "events", EventsView),
)
