"""Read one web-bot-auth signature of a request and check it with a key.

The rules are those of RFC 9421 and draft-ietf-webbotauth-httpsig-protocol. The library builds the signature base and
verifies; what the profile asks beyond RFC 9421 stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import http_sf
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    MappingKeyResolver,
    algorithms,
)

from agent_sessions.identity.fetching import origin_of
from agent_sessions.identity.keys import VerificationKey
from agent_sessions.identity.outcome import Problem, Refused

TAG: Final = "web-bot-auth"
CLOCK_SKEW: Final = timedelta(seconds=5)
"""How far ahead of ours the signer's clock may be."""
MAX_FIELD: Final = 8192
"""Characters of each of the three fields."""

ALGORITHMS: Final[dict[str, type[HTTPSignatureAlgorithm]]] = {
    algorithm.algorithm_id: algorithm
    for algorithm in (
        algorithms.ED25519,
        algorithms.ECDSA_P256_SHA256,
        algorithms.ECDSA_P384_SHA384,
        algorithms.RSA_PSS_SHA512,
    )
}
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as the signature sees it: ``headers`` have lower-case names, ``url`` is absolute and encoded."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signature says of itself, not verified yet. ``components`` are the names and parameters it covers."""

    label: str
    components: tuple[tuple[str, dict[str, Any]], ...]
    keyid: str
    created: datetime
    expires: datetime
    algorithm: str | None
    nonce: str | None


def read_claim(headers: Mapping[str, str]) -> Claim:
    """Read the one signature of a request that has the tag web-bot-auth; others are passed over.

    Raises Refused: MALFORMED, WRONG_TAG, SEVERAL_SIGNATURES, NOT_COVERED, ALGORITHM.
    """
    inputs = _dictionary(headers.get("signature-input", ""), Problem.MALFORMED)
    values = _dictionary(headers.get("signature", ""), Problem.MALFORMED)
    if not inputs or inputs.keys() != values.keys():
        raise Refused(Problem.MALFORMED)
    labels = [label for label, (_, params) in inputs.items() if params.get("tag") == TAG]
    if not labels:
        raise Refused(Problem.WRONG_TAG)
    if len(labels) > 1:
        raise Refused(Problem.SEVERAL_SIGNATURES)
    covered, params = inputs[labels[0]]
    if not isinstance(covered, list) or not all(type(name) is str for name, _ in covered):
        raise Refused(Problem.MALFORMED)
    claim = Claim(
        label=labels[0],
        components=tuple((name, dict(parameters)) for name, parameters in covered),
        keyid=_text(params, "keyid") or "",
        created=_time(params, "created"),
        expires=_time(params, "expires"),
        algorithm=_text(params, "alg"),
        nonce=_text(params, "nonce"),
    )
    if not _THUMBPRINT.fullmatch(claim.keyid):
        raise Refused(Problem.MALFORMED)
    if ("@authority", {}) not in claim.components and ("@target-uri", {}) not in claim.components:
        raise Refused(Problem.NOT_COVERED)
    if claim.algorithm is not None and claim.algorithm not in ALGORITHMS:
        raise Refused(Problem.ALGORITHM)
    return claim


def check_times(claim: Claim, *, now: datetime, max_window: timedelta) -> None:
    """Check that a signature is of now. Raises Refused: CREATED_IN_FUTURE, EXPIRED, WINDOW_TOO_LONG, MALFORMED."""
    if claim.created > now + CLOCK_SKEW:
        raise Refused(Problem.CREATED_IN_FUTURE)
    if claim.expires <= claim.created:
        raise Refused(Problem.MALFORMED)
    # Without tolerance: what is issued from the signature ends with it.
    if claim.expires <= now:
        raise Refused(Problem.EXPIRED)
    if claim.expires - claim.created > max_window:
        raise Refused(Problem.WINDOW_TOO_LONG)


def read_agent(claim: Claim, headers: Mapping[str, str]) -> str:
    """Read the origin of the key directory that the signature covers.

    Signature-Agent is a dictionary, of which the signature covers one member by its key. The bare string of earlier
    drafts, covered as a whole, is still accepted. Raises Refused: AGENT_MISSING, AGENT_MALFORMED, AGENT_UNSUPPORTED,
    NOT_COVERED.
    """
    field = headers.get("signature-agent")
    if field is None:
        raise Refused(Problem.AGENT_MISSING)
    covered = [parameters for name, parameters in claim.components if name == "signature-agent"]
    if len(covered) != 1:
        raise Refused(Problem.NOT_COVERED)
    if field.lstrip(" \t").startswith('"'):
        if covered[0]:
            raise Refused(Problem.NOT_COVERED)
        value, parameters = _parse(field, "item", Problem.AGENT_MALFORMED)
    else:
        if covered[0].keys() != {"key"}:
            raise Refused(Problem.NOT_COVERED)
        members = _dictionary(field, Problem.AGENT_MALFORMED)
        if covered[0]["key"] not in members:
            raise Refused(Problem.AGENT_MALFORMED)
        value, parameters = members[covered[0]["key"]]
    if parameters not in ({}, {"type": "directory"}):
        raise Refused(Problem.AGENT_UNSUPPORTED)
    if type(value) is not str:
        raise Refused(Problem.AGENT_MALFORMED)
    try:
        return origin_of(value)
    except ValueError:
        raise Refused(Problem.AGENT_MALFORMED) from None


def check_signature(claim: Claim, key: VerificationKey, request: SignedRequest) -> None:
    """Check the signature itself, and the body where it covers Content-Digest (RFC 9530).

    Raises Refused: ALGORITHM, WRONG_SIGNATURE, WRONG_DIGEST.
    """
    if claim.algorithm not in (None, key.algorithm):
        raise Refused(Problem.ALGORITHM)
    verifier = HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[key.algorithm],
        key_resolver=MappingKeyResolver(public_keys={claim.keyid: key.public}, private_keys={}),
    )
    verifier.max_clock_skew = CLOCK_SKEW
    try:
        [result] = verifier.verify(request, max_age=None, expect_tag=TAG, expect_label=claim.label)
    except HTTPMessageSignaturesException:
        raise Refused(Problem.WRONG_SIGNATURE) from None
    digests = [parameters for name, parameters in claim.components if name == "content-digest"]
    if any(parameters.keys() - {"key", "sf"} for parameters in digests):
        raise Refused(Problem.WRONG_DIGEST)
    try:
        ContentDigest.verify_components(result.covered_components, request.body)
    except HTTPMessageSignaturesException:
        raise Refused(Problem.WRONG_DIGEST) from None


def _dictionary(field: str, problem: Problem) -> dict[str, tuple[Any, dict[str, Any]]]:
    found: dict[str, tuple[Any, dict[str, Any]]] = _parse(field, "dictionary", problem)
    return found


def _parse(field: str, kind: str, problem: Problem) -> Any:
    """Read a structured field (RFC 9651). A key that comes twice in a dictionary is refused: readers would differ."""

    def refuse_twice(_key: str, _where: str) -> None:
        raise Refused(problem)

    if len(field) > MAX_FIELD:
        raise Refused(problem)
    try:
        return http_sf.parse(field.encode("ascii"), tltype=kind, on_duplicate_key=refuse_twice)
    except ValueError:
        raise Refused(problem) from None


def _text(params: Mapping[str, Any], name: str) -> str | None:
    value = params.get(name)
    if value is not None and type(value) is not str:
        raise Refused(Problem.MALFORMED)
    return value


def _time(params: Mapping[str, Any], name: str) -> datetime:
    value = params.get(name)
    if type(value) is not int:
        raise Refused(Problem.MALFORMED)
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise Refused(Problem.MALFORMED) from None
