"""What can be wrong with a request before it reaches the core."""

from __future__ import annotations

from collections.abc import Iterable

from agent_sessions.exceptions import AgentSessionsError


class MalformedRequest(AgentSessionsError):
    """The request cannot be read: bad JSON, a content type that is not JSON, a bad If-Match (contract item 4)."""

    code = "malformed_request"
    status = 400


class BodyTooLarge(AgentSessionsError):
    """The body is larger than MAX_BODY_BYTES; it was not read."""

    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is too large; {limit} bytes is the most.", limit=limit)


class EndpointNotFound(AgentSessionsError):
    """Nothing is at this path (contract items 36 and 40)."""

    code = "not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is nothing at this address. /.well-known/agents.json lists what there is.")


class MethodNotAllowed(AgentSessionsError):
    """The path exists, but not with this method. ``allowed`` goes into the header Allow."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"This address takes {', '.join(self.allowed)} only.", allowed=list(self.allowed))


class ArtifactNotFound(AgentSessionsError):
    """No artifact is to be had under this id: unknown, not yours to see, or the site keeps none (item 79)."""

    code = "artifact_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no audit artifact at this address.")


class LimitsUnavailable(AgentSessionsError):
    """The cache that counts requests is out of reach, and the site refuses rather than counts nothing."""

    code = "limits_unavailable"
    status = 503

    def __init__(self) -> None:
        super().__init__("The site cannot count requests right now and answers none. Try again in a few seconds.")


class StreamsExhausted(AgentSessionsError):
    """This process has as many live streams open as MAX_STREAMS allows."""

    code = "streams_exhausted"
    status = 503
    retry_after = 5

    def __init__(self) -> None:
        super().__init__("No more live streams are to be had right now. Ask without Accept: text/event-stream instead.")
