"""Errors about what a caller sent, sent again, or sent too often."""

from __future__ import annotations

from agent_sessions.exceptions.base import AgentSessionsError


class InvalidValue(AgentSessionsError):
    """A value, key or shape that a session cannot hold. ``path`` is a JSON pointer (RFC 6901) to it."""

    code = "invalid_value"
    status = 422

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or '/'}: {problem}", path=path, problem=problem)
        self.path = path
        self.problem = problem


class LimitExceeded(AgentSessionsError):
    """A slice, a state or a message is larger than the setting allows. Sizes are bytes of JSON."""

    code = "limit_exceeded"
    status = 413

    def __init__(self, what: str, *, size: int, limit: int, setting: str) -> None:
        super().__init__(
            f"{what} would hold {size} bytes; the limit is {limit} (AGENT_SESSIONS[{setting!r}]). "
            "Keep only what the agent needs and refer to the rest by id.",
            what=what,
            size=size,
            limit=limit,
        )
        self.what = what
        self.size = size
        self.limit = limit


class InvalidParameter(AgentSessionsError):
    """A parameter of a capability is missing, has the wrong type, or is not one of its values (contract item 38)."""

    code = "invalid_parameter"
    status = 400

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}", parameter=name, problem=problem)
        self.name = name
        self.problem = problem


class PaymentDataRefused(AgentSessionsError):
    """A card's number, track data, a security code or a PIN, where none is ever kept (S8). Nothing was stored.

    ``pointer`` is a JSON pointer (RFC 6901) that never holds the value; ``rule`` says what was found there, for
    programs; ``where`` which part of an HTTP request it is about: body, query, path or header.
    """

    code = "payment_data_refused"
    status = 422

    def __init__(self, pointer: str, rule: str, where: str = "") -> None:
        place = f"{where} {pointer or '/'}".strip()
        super().__init__(
            f"{place} holds raw payment data ({rule}). Nothing of the request was kept. Send the token that the "
            "payment provider gives for the card, with its brand and last four digits if they are needed.",
            pointer=pointer,
            rule=rule,
            **({"where": where} if where else {}),
        )
        self.pointer = pointer
        self.rule = rule
        self.where = where


class IdempotencyKeyReused(AgentSessionsError):
    """The Idempotency-Key came with another request before; nothing was done (V7)."""

    code = "idempotency_key_reused"
    status = 422

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key came with another request before. Send a new key with a new request, and the same "
            "request when you send one again."
        )


class RequestInProgress(AgentSessionsError):
    """The same request, under the same Idempotency-Key, is being carried out (V7). ``retry_after`` in seconds."""

    code = "request_in_progress"
    status = 409

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(
            f"This request is being carried out. Send it again after {retry_after} seconds, with the same "
            "Idempotency-Key, for its answer.",
            retry_after=retry_after,
        )
        self.retry_after = retry_after


class TooManySessions(AgentSessionsError):
    """The caller has as many live sessions as it may have (T7). ``retry_after``: seconds until the next one ends."""

    code = "too_many_sessions"
    status = 429

    def __init__(self, *, limit: int, retry_after: int) -> None:
        super().__init__(
            f"You have {limit} live sessions, which is the most. End one, or retry after {retry_after} seconds.",
            limit=limit,
            retry_after=retry_after,
        )
        self.retry_after = retry_after


class RateLimited(AgentSessionsError):
    """Too many requests in this minute. ``retry_after`` in seconds (contract items 43 and 44)."""

    code = "rate_limited"
    status = 429

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"Rate limit exceeded. Retry after {retry_after} seconds.", retry_after=retry_after)
        self.retry_after = retry_after
