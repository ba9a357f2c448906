"""A sink that is an HTTP endpoint of someone else, who keeps what is posted to it."""

from __future__ import annotations

from collections.abc import Sequence

from agent_sessions.audit.submissions import Submission
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks._posting import Endpoint, PostingSink, check_conflict
from agent_sessions.sinks.base import SinkFailed


class HttpSink(PostingSink):
    """Posts each head (``Submission.text``) to ``url``, with ``token`` as a bearer token if there is one.

    The endpoint answers 2xx once the head is kept, also when it had it already; 409 with the size that it knows
    (``text/x.tlog.size``) when the proof has to begin there, or when it knows a larger head. Anything else is tried
    again. It cannot be read back: whoever runs it compares.
    """

    def __init__(self, name: str, url: str, token: str = "", timeout: float = 10) -> None:
        """Raise InvalidValue for a URL that is not https, or a token that no header can hold."""
        self.name = name
        if not isinstance(token, str) or not token.isascii() or not all(map(str.isprintable, token)):
            raise InvalidValue("/token", "is not text that a header can hold")
        self._endpoint = Endpoint(name, url, timeout)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def write(self, submission: Submission) -> Sequence[str]:
        """Post a head; see ``Sink.write``."""
        reply = self._endpoint.post(submission.text.encode(), self._headers)
        check_conflict(self.name, submission, reply)
        if not 200 <= reply.status < 300:
            raise SinkFailed(self.name, f"the endpoint answered {reply.status}")
        return ()
