"""A sink that is a witness: it remembers the largest head and co-signs what continues it (C2SP tlog-witness)."""

from __future__ import annotations

from collections.abc import Sequence

from agent_sessions.audit.submissions import Submission
from agent_sessions.sinks._folders import cosigned_lines, witness_key
from agent_sessions.sinks._posting import Endpoint, PostingSink, Reply, check_conflict
from agent_sessions.sinks.base import SinkBehind, SinkFailed


class WitnessSink(PostingSink):
    """Sends each head to the witness at ``url`` (below which it answers ``add-checkpoint``).

    ``key`` is the witness's own (a vkey): what it answers counts only with its cosignature.
    """

    def __init__(self, name: str, url: str, key: str, timeout: float = 10) -> None:
        """Raise InvalidValue for a URL that is not https and for a key that is not a witness's."""
        self.name = name
        self._endpoint = Endpoint(name, url.rstrip("/") + "/add-checkpoint", timeout)
        self._key = witness_key(key, "/key")
        self.witnesses = [self._key]

    def write(self, submission: Submission) -> Sequence[str]:
        """Have a head co-signed; see ``Sink.write``."""
        head = submission.head
        reply = self._endpoint.post(submission.text.encode(), {})
        if reply.status == 200:
            lines = cosigned_lines(reply.body, self._key, head.text)
            if not lines:
                raise SinkFailed(self.name, "what it answered is not its cosignature of this head")
            return lines
        check_conflict(self.name, submission, reply)
        if reply.status == 422 and submission.old:  # what it knows does not lead to this; nothing leads to everything
            raise SinkBehind(self.name, head.origin, size=head.size, known=submission.old)
        raise SinkFailed(self.name, _refusal(reply))


def _refusal(reply: Reply) -> str:
    if reply.status == 404:
        return "it does not follow this log; have its operator run add-log with the log's key (log_proof --keys)"
    if reply.status == 403:
        return "it does not trust this log's key; have its operator run add-log with the new one (log_proof --keys)"
    return f"it answered {reply.status}"
