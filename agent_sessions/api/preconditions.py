"""If-Match: the version that a call is based on (RFC 9110; requirement V3)."""

from __future__ import annotations

import re

from agent_sessions.api.errors import MalformedRequest

_TAG = re.compile(r'"v?([0-9]{1,15})"')


def expected_version(if_match: str | None, current: int) -> int | None:
    """Return the version that ``If-Match`` names, None if any will do.

    ``"v3"`` and ``"3"`` are version 3; of several the ``current`` one counts, if it is among them. Raises
    MalformedRequest for anything else, weak tags too: If-Match compares strongly.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = [_TAG.fullmatch(part.strip()) for part in if_match.split(",")]
    versions = [int(match.group(1)) for match in found if match is not None]
    if len(versions) != len(found):
        raise MalformedRequest('Send If-Match with the version as the answers\' ETag has it: "v3".')
    return current if current in versions else versions[0]
