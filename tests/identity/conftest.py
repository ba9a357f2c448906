from __future__ import annotations

import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.cache.backends.locmem import LocMemCache

from agent_sessions.identity.signing import key_directory
from agent_sessions.identity.verifier import SignatureVerifier
from tests.crypto.conftest import vectors
from tests.identity.agents import AGENT, OTHER_KEY, SIGNING_KEY, FakeDirectories

__all__ = ["vectors"]


@pytest.fixture
def cache() -> LocMemCache:
    return LocMemCache(f"identity-{uuid.uuid4()}", {"OPTIONS": {"MAX_ENTRIES": 10_000}})


@pytest.fixture
def directories() -> FakeDirectories:
    """The network: one agent that publishes two keys."""
    return FakeDirectories({AGENT: key_directory(SIGNING_KEY.public_key(), OTHER_KEY.public_key())})


@pytest.fixture
def verifier(cache: LocMemCache, directories: FakeDirectories) -> SignatureVerifier:
    return SignatureVerifier(directories=[AGENT], cache=cache, fetch=directories)


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
