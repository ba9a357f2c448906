from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent_sessions.crypto.signing import (
    key_id,
    new_signing_key,
    public_key_text,
    read_public_key,
    sign,
    verify,
)
from agent_sessions.exceptions import KeyProblem

# RFC 8032 section 7.1: secret key, public key, message, signature
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("private", "public", "message", "signature"), RFC_8032)
def test_agrees_with_rfc_8032(private: str, public: str, message: str, signature: str) -> None:
    private_key, public_key, body = map(bytes.fromhex, (private, public, message))
    assert sign(private_key, body).hex() == signature
    assert verify(public_key, body, bytes.fromhex(signature))
    assert read_public_key(public_key_text(public_key)) == public_key


def test_other_messages_keys_and_signatures_do_not_verify() -> None:
    private, public = new_signing_key()
    _, other = new_signing_key()
    signature = sign(private, b"message")
    assert verify(public, b"message", signature)
    assert not verify(public, b"massage", signature)
    assert not verify(other, b"message", signature)
    for at in range(64):
        assert not verify(public, b"message", signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :])
    for malformed in (b"", signature[:-1], signature + b"\0"):
        assert not verify(public, b"message", malformed)
    for malformed in (b"", public[:-1], public + b"\0"):
        assert not verify(malformed, b"message", signature)


def test_refuses_signing_keys_of_another_length() -> None:
    with pytest.raises(KeyProblem):
        sign(bytes(31), b"x")


def test_reads_every_published_form_of_a_key() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    raw = key.public_bytes_raw()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert public_key_text(raw) == base64.b64encode(der).decode()
    for text in (
        base64.b64encode(raw).decode(),
        public_key_text(raw),
        pem,
        pem.replace("\n", "\r\n"),
        f"\n{public_key_text(raw)}\n",
    ):
        assert read_public_key(text) == raw
    assert key_id(raw) == hashlib.sha256(der).hexdigest()[:16]


def test_refuses_what_is_no_ed25519_key() -> None:
    x25519 = X25519PrivateKey.generate().public_key()
    raw = new_signing_key()[1]
    for text in (
        "", "é", "not base64", "AAAA", base64.b64encode(raw[:-1]).decode(),
        base64.b64encode(raw + b"\0").decode(),
        base64.b64encode(b"\0" * 12 + raw).decode(), base64.b64encode(raw).decode().rstrip("="),
        base64.b64encode(x25519.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(),
        x25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(raw).decode()}\n-----END PUBLIC KEY-----",
    ):  # fmt: skip
        with pytest.raises(KeyProblem):
            read_public_key(text)


P = 2**255 - 19
ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


@pytest.mark.parametrize("y", [0, 1, P - 1, ORDER_8, P - ORDER_8, P, P + 1])
@pytest.mark.parametrize("sign_bit", [0, 1])
def test_refuses_the_14_encodings_of_low_order(y: int, sign_bit: int) -> None:
    raw = (y | sign_bit << 255).to_bytes(32, "little")
    with pytest.raises(KeyProblem, match=r"low order|canonical"):
        read_public_key(base64.b64encode(raw).decode())
    # The identity "signs" every message: R the identity, S zero. Without the check this verifies.
    assert not verify(raw, b"anything", (1).to_bytes(32, "little") + bytes(32))


def test_refuses_what_is_no_point_of_the_curve() -> None:
    refused = 0
    for y in range(2, 200):
        raw = y.to_bytes(32, "little")
        try:
            assert read_public_key(base64.b64encode(raw).decode()) == raw
        except KeyProblem:
            refused += 1
    assert 70 < refused < 130  # half of all y have no x


def test_keys_that_implementations_disagree_on_are_refused_at_load(vectors: Path) -> None:
    """C2SP CCTV: with the keys that remain, honest signatures are the only ones that all libraries accept."""
    cases = json.loads((vectors / "ed25519" / "ed25519vectors.json").read_bytes())
    refused = set()
    for case in cases:
        degenerate = {"low_order_A", "non_canonical_A"} & set(case["flags"] or ())
        raw = bytes.fromhex(case["key"])
        try:
            assert read_public_key(base64.b64encode(raw).decode()) == raw
        except KeyProblem:
            assert degenerate
            refused.add(raw)
        else:
            assert not degenerate
    low_order = {bytes.fromhex(case["key"]) for case in cases if "low_order_A" in (case["flags"] or ())}
    assert len(low_order) == 14
    assert low_order <= refused
