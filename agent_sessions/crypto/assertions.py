"""Consumer assertions: what a shop gives an agent to show for whom it acts (C1).

An agent says nothing about its consumer that counts. The shop, where the consumer is signed in, makes an assertion; the
agent sends it along, and all agents that show one of the same consumer are known to belong together.

It is a sealed text (``sealed_texts``) that begins with ``agc_``. Inside are the consumer's pseudonym, the merchant, and
until when it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agent_sessions.crypto.keys import KeyProvider
from agent_sessions.crypto.sealed_texts import UNREADABLE, SealedTexts
from agent_sessions.exceptions import InvalidAssertion

PREFIX: Final = "agc_"
_TEXTS: Final = SealedTexts("an assertion", PREFIX, b"agent-consumer-assertion/v1\0")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[str, str, int]).decode


@dataclass(frozen=True, slots=True)
class AssertionClaims:
    """What an assertion says. ``consumer`` is a pseudonym, ``expires_at`` UTC; ``generation`` is the token key's."""

    consumer: str
    merchant: str
    expires_at: datetime
    generation: int


def issue_assertion(
    provider: KeyProvider, *, generation: int, consumer: str, merchant: str, expires_at: datetime
) -> str:
    """Issue an assertion under the active master key.

    Raises InvalidValue if the names are so long that it would exceed 1024 characters, KeyProblem.
    """
    claims = _pack((consumer, merchant, (expires_at - _EPOCH) // _MICROSECOND))
    return _TEXTS.seal(provider, generation, claims)


def read_assertion(provider: KeyProvider, text: object) -> AssertionClaims:
    """Read an assertion that this site issued, whether or not it still holds.

    Raises InvalidAssertion for whatever else it is given, KeyProblem if the provider is out of reach.
    """
    try:
        opened = _TEXTS.open(provider, text)
        consumer, merchant, expires = _unpack(opened.claims)
        return AssertionClaims(consumer, merchant, _EPOCH + timedelta(microseconds=expires), opened.generation)
    except UNREADABLE:
        raise InvalidAssertion from None
