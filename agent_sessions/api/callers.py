"""Who sends a request: the address it came from, the agent's key if it is signed, and for whom (T5, T7, C1)."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from django.core.cache import caches
from django.http import HttpRequest

from agent_sessions.conf import settings
from agent_sessions.identity import AgentIdentity, Outcome
from agent_sessions.services import KnownConsumer, read_consumer

UNSIGNED = AgentIdentity(Outcome.ABSENT)
CONSUMER_HEADER = "X-Agent-Consumer"


def client_address(request: HttpRequest) -> str:
    """Return the client's address in one spelling; IPv6 by its /64, which is what one customer is given.

    With PROXIES set to n, the address is the n-th from the right of X-Forwarded-For: what stands left of it the
    client may have made up. If fewer came, a proxy was passed by, and the peer counts.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if settings.proxies:
        forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
        if len(forwarded) >= settings.proxies:
            peer = forwarded[-settings.proxies]
    return _normal(peer)


def is_signed(request: HttpRequest) -> bool:
    return "HTTP_SIGNATURE" in request.META or "HTTP_SIGNATURE_INPUT" in request.META


def identify(request: HttpRequest, body: bytes) -> AgentIdentity:
    """Tell which agent signed the request. Without the extra ``identity`` nothing is verified, so nobody is known."""
    try:
        from agent_sessions.identity.verifier import SignatureVerifier
    except ImportError:
        return UNSIGNED
    verifier = SignatureVerifier(directories=settings.signature_directories, cache=caches[settings.limits_cache])
    return verifier.identify(
        method=request.method or "", url=request.build_absolute_uri(), headers=dict(request.headers), body=body
    )


def consumer_of(request: HttpRequest) -> KnownConsumer | None:
    """Return whom the request's assertion speaks for, None without one. Raises InvalidAssertion."""
    assertion = request.META.get("HTTP_X_AGENT_CONSUMER", "").strip()
    return read_consumer(assertion) if assertion else None


# Reading an address takes longer than all else that is done with it, and the same few come again and again.
@lru_cache(maxsize=1024)
def _normal(text: str) -> str:
    """Bring an address into one spelling; what is none, such as a socket's path, stays as it is."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
