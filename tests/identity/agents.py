"""Agents that sign requests, and the directories they publish, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

from agent_sessions.identity import AgentIdentity
from agent_sessions.identity.fetching import DirectoryUnavailable, FetchedDirectory
from agent_sessions.identity.keys import thumbprint
from agent_sessions.identity.signing import public_jwk, sign_request
from agent_sessions.identity.verifier import SignatureVerifier

AGENT = "https://agent.example"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYID = thumbprint(public_jwk(SIGNING_KEY.public_key()))
OTHER_KEYID = thumbprint(public_jwk(OTHER_KEY.public_key()))


@dataclass
class FakeDirectories:
    """Stands in for ``fetch_directory``: serves ``pages`` by origin and notes what was asked."""

    pages: dict[str, bytes]
    max_age: int | None = None
    asked: list[str] = field(default_factory=list)

    def __call__(self, origin: str) -> FetchedDirectory:
        self.asked.append(origin)
        if origin not in self.pages:
            raise DirectoryUnavailable("it is down")
        return FetchedDirectory(self.pages[origin], self.max_age)


@dataclass(frozen=True)
class Request:
    """A request as a site receives it."""

    method: str = "POST"
    url: str = "https://shop.example/agents/sessions/17/?full=1"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"quantity":2}'

    def signed(self, **facts: Any) -> Request:
        """The request with the headers of ``sign_request``."""
        facts = {"private_key": SIGNING_KEY, "agent": AGENT, "now": timezone.now(), **facts}
        added = sign_request(self.method, self.url, self.headers, self.body, **facts)
        return replace(self, headers={**self.headers, **added})

    def signed_freely(
        self, components: Sequence[str], *, algorithm: Any = algorithms.ED25519, key: Any = SIGNING_KEY, **facts: Any
    ) -> Request:
        """The request signed by the library, which asks nothing of the profile; headers stay as they are."""
        now = timezone.now()
        facts = {
            "key_id": KEYID,
            "created": now,
            "expires": now + timedelta(minutes=5),
            "tag": "web-bot-auth",
            "label": "sig1",
            **facts,
        }
        request = replace(self, headers=dict(self.headers))
        keys = MappingKeyResolver(public_keys={}, private_keys={facts["key_id"]: key})
        signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=keys)
        signer.sign(request, covered_component_ids=components, **facts)
        return request

    def with_header(self, name: str, value: str | None) -> Request:
        headers = {**self.headers, name: value}
        return replace(self, headers={key: text for key, text in headers.items() if text is not None})

    def with_input(self, old: str, new: str) -> Request:
        """The request with something replaced in Signature-Input, which must be there."""
        before = self.headers["Signature-Input"]
        assert old in before
        return self.with_header("Signature-Input", before.replace(old, new))

    def identified(self, verifier: SignatureVerifier) -> AgentIdentity:
        return verifier.identify(method=self.method, url=self.url, headers=self.headers, body=self.body)

    def problem(self, verifier: SignatureVerifier) -> str:
        """What the verifier finds wrong, after a check that it says so consistently."""
        answer = self.identified(verifier)
        assert answer.outcome == "invalid"
        assert answer.problem
        assert answer.explanation
        assert (answer.key, answer.agent, answer.expires_at) == ("", "", None)
        return answer.problem
