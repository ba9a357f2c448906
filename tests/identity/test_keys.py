"""Keys of a directory: which are taken, under which name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent_sessions.crypto.encoding import to_base64url
from agent_sessions.identity.keys import MAX_KEYS, RFC_9421_TEST_KEYS, Jwk, load_key, read_directory, thumbprint
from agent_sessions.identity.signing import key_directory
from tests.identity.agents import KEYID, SIGNING_KEY

ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": to_base64url(SIGNING_KEY.public_key().public_bytes_raw())}
EC_NUMBERS = ec.derive_private_key(7, ec.SECP256R1()).public_key().public_numbers()
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": to_base64url(EC_NUMBERS.x.to_bytes(32, "big")),
    "y": to_base64url(EC_NUMBERS.y.to_bytes(32, "big")),
}


def read(*keys: Any) -> dict[str, Jwk]:
    return read_directory(json.dumps({"keys": keys}).encode())


def rsa_jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "RSA",
        "n": to_base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": to_base64url(numbers.e.to_bytes(3, "big")),
    }


def test_thumbprints_are_those_of_the_rfcs() -> None:
    """RFC 8037 appendix A.3 and RFC 7638 section 3.1."""
    okp = Jwk(kty="OKP", crv="Ed25519", x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )

    assert thumbprint(okp) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert thumbprint(Jwk(kty="RSA", n=modulus, e="AQAB")) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_published_example_keys_are_known() -> None:
    p256 = Jwk(
        kty="EC",
        crv="P-256",
        x="qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA",
        y="Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0",
    )
    ed25519 = Jwk(kty="OKP", crv="Ed25519", x="JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs")

    assert {thumbprint(p256), thumbprint(ed25519)} < RFC_9421_TEST_KEYS
    assert len(RFC_9421_TEST_KEYS) == 4


def test_each_accepted_kind_of_key_has_one_algorithm(rsa_key: rsa.RSAPrivateKey) -> None:
    p384 = ec.derive_private_key(7, ec.SECP384R1()).public_key().public_numbers()
    large = {
        "kty": "EC",
        "crv": "P-384",
        "x": to_base64url(p384.x.to_bytes(48, "big")),
        "y": to_base64url(p384.y.to_bytes(48, "big")),
    }
    found = read(ED25519, P256, large, rsa_jwk(rsa_key))

    assert [load_key(jwk).algorithm for jwk in found.values()] == [
        "ed25519",
        "ecdsa-p256-sha256",
        "ecdsa-p384-sha384",
        "rsa-pss-sha512",
    ]


def test_a_key_is_named_by_its_thumbprint_whatever_the_directory_calls_it() -> None:
    assert set(read({**ED25519, "kid": "my favourite", "x5u": "https://elsewhere.example"})) == {KEYID}
    assert set(read_directory(key_directory(SIGNING_KEY.public_key()))) == {KEYID}


@pytest.mark.parametrize(
    "unusable",
    [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "oct"},
        {},
        {"kty": 7},
        {**P256, "d": to_base64url((7).to_bytes(32, "big"))},
        {**P256, "crv": "P-521"},
        {**P256, "y": P256["x"]},
        {**P256, "x": to_base64url(b"\0" + EC_NUMBERS.x.to_bytes(32, "big"))},
        {**P256, "x": P256["x"] + "="},
        {**P256, "use": "enc"},
        {**P256, "alg": "EdDSA"},
        {**P256, "nbf": "soon"},
        {"kty": "OKP", "crv": "X25519", "x": ED25519["x"]},
        {"kty": "OKP", "crv": "Ed25519", "x": to_base64url(bytes(31))},
        {"kty": "OKP", "crv": "Ed25519", "x": to_base64url(bytes(32))},
        {"kty": "OKP", "crv": "Ed25519", "x": to_base64url(b"\1" + bytes(31))},
        {"kty": "RSA", "n": to_base64url(b"\xff" * 128), "e": "AQAB"},
        {"kty": "RSA", "n": to_base64url(b"\xff" * 1024), "e": "AQAB"},
        {"kty": "RSA", "n": to_base64url(b"\xff" * 256), "e": to_base64url(b"\xff" * 256)},
        {"kty": "RSA", "n": to_base64url(b"\xff" * 256), "e": to_base64url((2**40 + 1).to_bytes(6, "big"))},
        {"kty": "RSA", "n": to_base64url(b"\xff" * 256), "e": "AA"},
        {"kty": "RSA", "n": "", "e": ""},
    ],
)
def test_an_unusable_key_is_passed_over_and_the_others_stay(unusable: dict[str, object]) -> None:
    assert set(read(unusable, ED25519)) == {KEYID}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": [1]}',
        b'{"keys": [',
        b"\xff",
        b'{"keys": [{"x": "\xff"}]}',
        b'{"keys": [{"x": ' + b"[" * 60_000,
    ],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="is not a JSON Web Key Set"):
        read_directory(document)


def test_a_directory_has_a_bounded_number_of_keys() -> None:
    assert read(*[P256] * MAX_KEYS)
    with pytest.raises(ValueError, match="20 is the most"):
        read(*[P256] * (MAX_KEYS + 1))
