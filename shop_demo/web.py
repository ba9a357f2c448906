"""HTTP for the scripted agent and the human it plays, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final

TIMEOUT: Final = 30
"""Seconds until an answer counts as lost."""
_LARGEST: Final = 16 * 1024 * 1024


class Problem(Exception):
    """Something did not work: what it was, and what to do about it."""

    def __init__(self, what: str, what_to_do: str) -> None:
        super().__init__(f"{what} {what_to_do}")


@dataclass(frozen=True, slots=True)
class Answer:
    """``url`` is where redirects have led to."""

    status: int
    headers: Message
    body: bytes
    url: str

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body. Raises Problem."""
        try:
            told = json.loads(self.body)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Problem(
                f"The answer ({self.status}, {self.headers.get_content_type()}) is not a JSON object.",
                "Check the address of the shop, and its log.",
            )
        return told


_plain = urllib.request.build_opener()


def fetch(
    method: str,
    url: str,
    *,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    opener: urllib.request.OpenerDirector = _plain,
) -> Answer:
    """Send one request and follow redirects; an answer of any status is an answer. Raises Problem if none came."""
    if not url.startswith(("http://", "https://")):
        raise Problem(f"{url} is not the address of a web site.", "It begins with http:// or https://.")
    request = urllib.request.Request(url, content, dict(headers or {}), method=method)  # noqa: S310 - checked above
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            return _whole(response.status, response.headers, response.read(_LARGEST), response.url)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _whole(refusal.code, refusal.headers, refusal.read(_LARGEST), refusal.url or url)
    except (OSError, http.client.HTTPException) as failure:
        reason = getattr(failure, "reason", failure)
        raise Problem(f"No answer from {url} ({reason}).", "Is the shop running? `make serve` starts it.") from None


def _whole(status: int, headers: Message, body: bytes, url: str) -> Answer:
    declared = headers.get("Content-Length", "")
    if declared.isdigit() and len(body) < min(int(declared), _LARGEST):
        raise http.client.IncompleteRead(body, int(declared) - len(body))
    return Answer(status, headers, body, url)
