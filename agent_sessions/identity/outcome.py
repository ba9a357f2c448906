"""What the verifier answers: verified, invalid or absent, and what was wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """The three outcomes of draft-ietf-webbotauth-httpsig-protocol. ABSENT proves nothing, for or against."""

    VERIFIED = "verified"
    INVALID = "invalid"
    ABSENT = "absent"


class Problem(StrEnum):
    """Why a signature was refused: a stable code. ``SENTENCES`` has the words for people."""

    MALFORMED = "malformed"
    WRONG_TAG = "wrong_tag"
    SEVERAL_SIGNATURES = "several_signatures"
    ALGORITHM = "algorithm"
    CREATED_IN_FUTURE = "created_in_future"
    EXPIRED = "expired"
    WINDOW_TOO_LONG = "window_too_long"
    NOT_COVERED = "not_covered"
    AGENT_MISSING = "agent_missing"
    AGENT_MALFORMED = "agent_malformed"
    AGENT_UNSUPPORTED = "agent_unsupported"
    UNKNOWN_DIRECTORY = "unknown_directory"
    DIRECTORY_UNAVAILABLE = "directory_unavailable"
    KEY_UNKNOWN = "key_unknown"
    TEST_KEY = "test_key"
    WRONG_SIGNATURE = "wrong_signature"
    WRONG_DIGEST = "wrong_digest"
    REPLAYED = "replayed"


SENTENCES: Final = {
    Problem.MALFORMED: "Signature and Signature-Input must be one pair of well-formed fields (RFC 9421 section 4), "
    "with created, expires and, as keyid, the thumbprint of the key.",
    Problem.WRONG_TAG: 'No signature carries tag="web-bot-auth".',
    Problem.SEVERAL_SIGNATURES: 'More than one signature carries tag="web-bot-auth"; send one.',
    Problem.ALGORITHM: "The algorithm is not accepted or is not the key's; use ed25519, ecdsa-p256-sha256, "
    "ecdsa-p384-sha384 or rsa-pss-sha512.",
    Problem.CREATED_IN_FUTURE: "The signature was created in the future; check the signer's clock.",
    Problem.EXPIRED: "The signature has expired; sign the request anew.",
    Problem.WINDOW_TOO_LONG: "The time from created to expires is too long; use minutes.",
    Problem.NOT_COVERED: "The signature must cover @authority or @target-uri, and one member of Signature-Agent by "
    "its key.",
    Problem.AGENT_MISSING: "A signed request must name its key directory in Signature-Agent.",
    Problem.AGENT_MALFORMED: "The covered member of Signature-Agent must be the https origin of a key directory, "
    "without path, query or user.",
    Problem.AGENT_UNSUPPORTED: "Only key directories are read; leave out the type or send type=directory.",
    Problem.UNKNOWN_DIRECTORY: "This site does not accept agents of that key directory.",
    Problem.DIRECTORY_UNAVAILABLE: "The key directory could not be read; try again in a few minutes.",
    Problem.KEY_UNKNOWN: "The key directory holds no usable key with that thumbprint as its keyid.",
    Problem.TEST_KEY: "The key is published as an example in RFC 9421, so anybody can sign with it.",
    Problem.WRONG_SIGNATURE: "The signature does not fit the request: something it covers is missing or changed, or "
    "the key is another.",
    Problem.WRONG_DIGEST: "The covered Content-Digest does not fit the body, or cannot be checked.",
    Problem.REPLAYED: "The nonce has been seen before; sign every request, a repeated one too, with a new nonce.",
}
"""For people: what was wrong and what to do. Nothing that was sent is repeated."""


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """The answer about one request.

    For VERIFIED, ``agent`` is the origin of the signer's key directory and names the agent for good; ``key`` is
    ``<agent>#<JWK thumbprint>``, at most 200 characters, and changes when the agent rotates its key; ``expires_at``
    is the end of the signature (UTC). For INVALID, ``problem`` is a code of ``Problem`` and ``explanation`` its
    sentence. What does not apply is empty.
    """

    outcome: Outcome
    key: str = ""
    agent: str = ""
    expires_at: datetime | None = None
    problem: str = ""

    @property
    def explanation(self) -> str:
        """What was wrong and what to do, as one sentence without anything that was sent."""
        return SENTENCES[Problem(self.problem)] if self.problem else ""


class Refused(Exception):
    """The signature is INVALID for this reason; ``SignatureVerifier.identify`` turns it into the answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(SENTENCES[problem])
        self.problem = problem
