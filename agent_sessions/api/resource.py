"""What lies below a session's address: one view per address, which also says how the OpenAPI description tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.http import HttpResponse

from agent_sessions.api.base import ApiView
from agent_sessions.api.envelopes import etag, success
from agent_sessions.api.preconditions import expected_version
from agent_sessions.exceptions import InvalidParameter, InvalidValue, VersionConflict
from agent_sessions.selectors import SessionHead

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of an address, for the OpenAPI description.

    ``answer`` is the schema of ``data``, ``body`` that of the request's, ``query`` those of the query's parameters.
    ``changes`` marks what takes If-Match; ``refusals`` are further statuses, as text; ``with_token`` False for what
    needs no session.
    """

    name: str
    summary: str
    answer: Schema = field(default_factory=dict)
    status: str = "200"
    body: Schema | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    changes: bool = False
    refusals: tuple[str, ...] = ()
    with_token: bool = True


class SessionResource(ApiView):
    """An address below a session's. The methods it answers are those it describes in ``operations``."""

    operations: ClassVar[Mapping[str, Operation]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.methods = tuple(cls.operations)

    def key_session(self) -> SessionHead | None:
        told = self.operations.get(self.http.method or "")
        return super().key_session() if told is not None and told.with_token else None

    def expected_version(self, head: SessionHead) -> int | None:
        """Return the version that If-Match names, None without it. Raises MalformedRequest."""
        return expected_version(self.http.META.get("HTTP_IF_MATCH"), head.version)

    def answered(self, data: Any, *, version: int | None = None, status: int = 200) -> HttpResponse:
        """Return a success, with the session's version as its ETag."""
        response = success(data, status=status)
        if version is not None:
            response["ETag"] = etag(version)
        return response

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """Return a whole number of the query. Raises InvalidParameter."""
        text = self.http.GET.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
            raise InvalidParameter(name, f"Send a whole number from {least} to {most}.")
        return int(text)

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """Return which of some words the query chose, the first without it. Raises InvalidParameter."""
        chosen = self.http.GET.get(name, known[0])
        if chosen not in known:
            raise InvalidParameter(name, f"Send {' or '.join(known)}.")
        return chosen

    def _handle(self, error: Exception, context: dict[str, Any]) -> HttpResponse:
        response = super()._handle(error, context)
        if isinstance(error, VersionConflict) and "HTTP_IF_MATCH" in self.http.META:
            response.status_code = 412  # RFC 9110: the condition that the caller sent is false
        return response


def text_of(body: Mapping[str, Any], name: str, *, most: int = 1000, required: bool = False) -> str:
    """Return a text of a body, empty if it is not there. Raises InvalidParameter."""
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or len(value) > most or (required and not value):
        raise InvalidParameter(name, f"Send text of {1 if required else 0} to {most} characters.")
    return value


def as_parameter(refused: InvalidValue) -> InvalidParameter:
    """Turn what the core refuses into what clients of the protocol read: they read the answers to 400, not to 422."""
    return InvalidParameter(refused.path.lstrip("/"), refused.problem)
