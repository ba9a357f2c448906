"""Signatures: Ed25519 (RFC 8032), with keys as raw 32 bytes and as the text that is published.

Libraries disagree about signatures under degenerate public keys, so those are refused where a key is loaded
(C2SP CCTV, ed25519); with the keys that remain every implementation gives the same answer.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent_sessions.crypto.encoding import from_base64, to_base64
from agent_sessions.exceptions import KeyProblem

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

# SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410 section 4).
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# The y of every point whose order divides 8; both signs of x of each are refused.
_LOW_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def new_signing_key() -> tuple[bytes, bytes]:
    """Make a key pair: private seed and public key, 32 raw bytes each."""
    private = Ed25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def sign(private: bytes, message: bytes) -> bytes:
    """Sign a message: 64 bytes. Raises KeyProblem when the private key is not 32 bytes."""
    if len(private) != KEY_SIZE:
        raise KeyProblem(f"A signing key has {len(private)} bytes; it must have {KEY_SIZE}.")
    return Ed25519PrivateKey.from_private_bytes(private).sign(message)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is good; False too when the key or signature is malformed or degenerate."""
    if len(signature) != SIGNATURE_SIZE or _unfit_reason(public) is not None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def public_key_der(public: bytes) -> bytes:
    """Write a public key as DER SubjectPublicKeyInfo: 44 bytes."""
    return _SPKI + public


def public_key_text(public: bytes) -> str:
    """Write a public key as agents.json publishes it: base64 of the 44-byte DER (contract item 59)."""
    return to_base64(public_key_der(public))


def read_public_key(text: str) -> bytes:
    """Read a public key: base64 of the raw 32 bytes or of the 44-byte DER, or PEM. Returns the raw bytes.

    Raises KeyProblem for anything else, and for keys that are no point of the curve, of low order or not
    canonical: under those a signature proves nothing.
    """
    pem = _PEM.fullmatch(text.strip())
    body = "".join(pem[1].split()) if pem else text.strip()
    try:
        raw = from_base64(body)
    except ValueError as error:
        raise KeyProblem(f"A public key {error}. Give base64 of 32 or 44 bytes, or PEM.") from None
    if pem or len(raw) == len(_SPKI) + KEY_SIZE:
        if not raw.startswith(_SPKI):
            raise KeyProblem("A public key is not an Ed25519 key. Only Ed25519 is supported.")
        raw = raw.removeprefix(_SPKI)
    reason = _unfit_reason(raw) or _off_curve_reason(raw)
    if reason is not None:
        raise KeyProblem(f"A public key {reason}. Get the key from the site again.")
    return raw


def key_id(public: bytes) -> str:
    """Name a key: the first 16 hex digits of the SHA-256 of its DER."""
    return hashlib.sha256(public_key_der(public)).hexdigest()[:16]


def _unfit_reason(public: bytes) -> str | None:
    """Say why no honest site has this key, as the rest of a sentence; None for a key that can be used."""
    if len(public) != KEY_SIZE:
        return f"has {len(public)} bytes and must have {KEY_SIZE}"
    y = int.from_bytes(public, "little") & (2**255 - 1)  # the top bit is the sign of x
    if y >= _P:
        return "is not in its canonical encoding"
    if y in _LOW_ORDER_Y:
        return "is of low order, so that anyone can make signatures for it"
    return None


def _off_curve_reason(public: bytes) -> str | None:
    """Say so when no point has this y. Only when loading: it is slow, and a signature would fail anyway."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(x_squared, (_P - 1) // 2, _P) != 1:
        return "is not a point of the curve"
    return None
