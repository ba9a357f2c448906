"""Keys of a directory: JWKs (RFC 7517), named by their thumbprints (RFC 7638, RFC 8037)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from agent_sessions.crypto.encoding import from_base64url, to_base64, to_base64url
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.building import build
from agent_sessions.exceptions import KeyProblem

MAX_KEYS: Final = 20

RFC_9421_TEST_KEYS: Final = frozenset(
    {
        "BHj8s0GPnMEQtkaULIM-PLgEhLBbuGUQ1vMxmBWZzEo",  # test-key-rsa
        "oD0HwocPBSfpNy5W3bpJeyFGY_IQ_YpqxSjQ3Yd-CLA",  # test-key-rsa-pss
        "ydQXMtvbsOsZyFir-Y7A8t7fKEM1gbKPvyFkdpu4fvI",  # test-key-ecc-p256
        "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U",  # test-key-ed25519
    }
)
"""Thumbprints of the key pairs whose private halves RFC 9421 prints (appendix B.1)."""

_CURVES: Final[dict[str, tuple[EllipticCurve, int, str]]] = {
    "P-256": (SECP256R1(), 32, "ecdsa-p256-sha256"),
    "P-384": (SECP384R1(), 48, "ecdsa-p384-sha384"),
}
_SMALLEST_RSA, _LARGEST_RSA = 2048, 4096
_JOSE_NAMES: Final = {
    "ed25519": ("EdDSA", "Ed25519"),
    "ecdsa-p256-sha256": ("ES256",),
    "ecdsa-p384-sha384": ("ES384",),
    "rsa-pss-sha512": ("PS512",),
}


class Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """The public members of a key; ``nbf`` and ``exp`` are seconds since 1970."""

    kty: str
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""
    alg: str = ""
    use: str = "sig"
    nbf: float = 0
    exp: float | None = None

    def is_valid_at(self, moment: float) -> bool:
        """Tell whether the directory means the key to be used at this time (seconds since 1970)."""
        return self.nbf <= moment and (self.exp is None or moment < self.exp)


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


build(Jwk)
_decode_set: Final = msgspec.json.Decoder(_KeySet).decode


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key with the one algorithm of RFC 9421 that it is used with."""

    algorithm: str
    public: Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


def thumbprint(jwk: Jwk) -> str:
    """Name a key: base64url SHA-256 of its required members (RFC 7638 section 3, RFC 8037 appendix A.3).

    Raises ValueError for a kind of key that is not accepted.
    """
    match jwk.kty:
        case "OKP":
            members = {"crv": jwk.crv, "kty": jwk.kty, "x": jwk.x}
        case "EC":
            members = {"crv": jwk.crv, "kty": jwk.kty, "x": jwk.x, "y": jwk.y}
        case "RSA":
            members = {"e": jwk.e, "kty": jwk.kty, "n": jwk.n}
        case _:
            raise ValueError("a key is of kty OKP, EC or RSA")
    return to_base64url(hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest())


def read_directory(document: bytes) -> dict[str, Jwk]:
    """Read a key directory: its usable keys by thumbprint.

    A key that is not for signatures, of a kind that is not accepted, malformed, weak or published with its private
    half is passed over, for the other keys of the directory are still good. What the directory calls its keys
    (``kid``) does not matter. Raises ValueError for what is no key set or holds more than 20 keys.
    """
    try:
        entries = _decode_set(document).keys
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise ValueError("is not a JSON Web Key Set") from None
    if len(entries) > MAX_KEYS:
        raise ValueError(f"holds {len(entries)} keys; {MAX_KEYS} is the most")
    found = {}
    for entry in entries:
        try:
            jwk = _public_jwk(entry)
            load_key(jwk)
        except ValueError:
            continue
        found[thumbprint(jwk)] = jwk
    return found


def load_key(jwk: Jwk) -> VerificationKey:
    """Make the key that verifies. Its kind alone decides on the algorithm. Raises ValueError for an unusable key."""
    match jwk.kty:
        case "OKP":
            key = _ed25519(jwk)
        case "EC":
            key = _ecdsa(jwk)
        case "RSA":
            key = _rsa_pss(jwk)
        case _:
            raise ValueError("a key is of kty OKP, EC or RSA")
    if jwk.alg not in ("", key.algorithm, *_JOSE_NAMES[key.algorithm]):
        raise ValueError("the key is meant for another algorithm")
    return key


def _public_jwk(entry: dict[str, Any]) -> Jwk:
    if "d" in entry or "k" in entry:
        raise ValueError("the key is not secret any more")
    try:
        jwk = msgspec.convert(entry, Jwk)
    except msgspec.ValidationError:
        raise ValueError("is not a key") from None
    if jwk.use != "sig":
        raise ValueError("the key is not for signatures")
    return jwk


def _ed25519(jwk: Jwk) -> VerificationKey:
    raw = from_base64url(jwk.x)
    if jwk.crv != "Ed25519" or len(raw) != 32:
        raise ValueError("an OKP key is of crv Ed25519 with 32 bytes")
    try:
        raw = read_public_key(to_base64(raw))
    except KeyProblem as problem:
        raise ValueError(problem.message) from None
    return VerificationKey("ed25519", Ed25519PublicKey.from_public_bytes(raw))


def _ecdsa(jwk: Jwk) -> VerificationKey:
    if jwk.crv not in _CURVES:
        raise ValueError(f"an EC key is of crv {' or '.join(_CURVES)}")
    curve, size, algorithm = _CURVES[jwk.crv]
    x, y = from_base64url(jwk.x), from_base64url(jwk.y)
    if not len(x) == len(y) == size:
        raise ValueError("a coordinate has the size of the curve (RFC 7518 section 6.2.1.2)")
    numbers = EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
    return VerificationKey(algorithm, numbers.public_key())


def _rsa_pss(jwk: Jwk) -> VerificationKey:
    modulus, exponent = (int.from_bytes(from_base64url(text), "big") for text in (jwk.n, jwk.e))
    # The upper bounds keep the work of one verification small.
    if not _SMALLEST_RSA <= modulus.bit_length() <= _LARGEST_RSA or exponent.bit_length() > 32:
        raise ValueError(f"an RSA key has {_SMALLEST_RSA} to {_LARGEST_RSA} bits and a small exponent")
    return VerificationKey("rsa-pss-sha512", RSAPublicNumbers(exponent, modulus).public_key())
