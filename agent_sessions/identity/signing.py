"""Sign requests as an agent, and publish its keys: what ``SignatureVerifier`` verifies."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

from agent_sessions.crypto.encoding import to_base64, to_base64url
from agent_sessions.identity.keys import Jwk, thumbprint
from agent_sessions.identity.signature import TAG

LABEL: Final = "sig1"


@dataclass(frozen=True, slots=True)
class _Outgoing:
    method: str
    url: str
    headers: dict[str, str]


def sign_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    private_key: Ed25519PrivateKey,
    agent: str,
    now: datetime,
    expires_in: int = 300,
    nonce: str | None = None,
) -> dict[str, str]:
    """Sign a request and return the headers to add to it.

    Covers method, authority, path, query and agent, and the body by its Content-Digest where there is one.
    ``method`` is upper-case, ``url`` absolute and encoded; ``headers`` are those the request has already, of which a
    Content-Digest is kept. ``agent`` is the origin that publishes the key, ``now`` an aware time, ``expires_in``
    seconds, and ``nonce`` a fresh one unless given; an empty one is left out.
    """
    request = _Outgoing(method, url, {**headers, "Signature-Agent": f'{LABEL}="{agent}"'})
    has_digest = any(name.lower() == "content-digest" for name in headers)
    keyid = thumbprint(public_jwk(private_key.public_key()))
    signer = HTTPMessageSigner(
        signature_algorithm=algorithms.ED25519,
        key_resolver=MappingKeyResolver(public_keys={}, private_keys={keyid: private_key}),
    )
    signer.sign(
        request,
        key_id=keyid,
        created=now,
        expires=now + timedelta(seconds=expires_in),
        nonce=(to_base64(secrets.token_bytes(32)) if nonce is None else nonce) or None,
        label=LABEL,
        tag=TAG,
        covered_component_ids=("@method", "@authority", "@path", "@query", f'"signature-agent";key="{LABEL}"'),
        body=body if body or has_digest else None,
        use_existing_digest=has_digest,
    )
    return {name: value for name, value in request.headers.items() if headers.get(name) != value}


def public_jwk(key: Ed25519PublicKey) -> Jwk:
    """Write a public key as a JWK (RFC 8037)."""
    return Jwk(kty="OKP", crv="Ed25519", x=to_base64url(key.public_bytes_raw()))


def key_directory(*keys: Ed25519PublicKey) -> bytes:
    """Write the key directory that an agent serves.

    It is served at ``/.well-known/http-message-signatures-directory`` of the agent's origin, as
    ``application/http-message-signatures-directory+json``.
    """
    jwks = [public_jwk(key) for key in keys]
    return msgspec.json.encode({"keys": [{**msgspec.to_builtins(jwk), "kid": thumbprint(jwk)} for jwk in jwks]})
