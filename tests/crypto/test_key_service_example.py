"""The key provider that docs/keys.md shows passes what every provider has to (A8), with a stand-in for the service."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from agent_sessions.crypto.keys import KeyProvider, LocalKeyProvider, UnknownMasterKey
from agent_sessions.exceptions import KeyProblem
from tests.crypto.conformance import CONTEXT, KEY, Conformance

PAGE = Path(__file__).resolve().parents[2] / "docs/keys.md"


class InvalidCiphertext(Exception):
    pass


class IncorrectKey(Exception):
    pass


class NotFound(Exception):
    pass


class StandIn:
    """AWS KMS as far as the example asks it: each alias has a key, an alias that was deleted is not found."""

    exceptions = SimpleNamespace(
        InvalidCiphertextException=InvalidCiphertext, IncorrectKeyException=IncorrectKey, NotFoundException=NotFound
    )

    def __init__(self) -> None:
        self.deleted: set[str] = set()
        self.away = False
        self.macs = 0

    def encrypt(self, *, KeyId: str, Plaintext: bytes, EncryptionContext: dict[str, str]) -> dict[str, bytes]:  # noqa: N803
        _, blob = self._of(KeyId).wrap(Plaintext, context=EncryptionContext["for"].encode())
        return {"CiphertextBlob": blob}

    def decrypt(self, *, KeyId: str, CiphertextBlob: bytes, EncryptionContext: dict[str, str]) -> dict[str, bytes]:  # noqa: N803
        try:
            plain = self._of(KeyId).unwrap("k", CiphertextBlob, context=EncryptionContext["for"].encode())
        except KeyProblem:
            raise InvalidCiphertext from None
        return {"Plaintext": plain}

    def generate_mac(self, *, KeyId: str, Message: bytes, MacAlgorithm: str) -> dict[str, bytes]:  # noqa: N803
        assert MacAlgorithm == "HMAC_SHA_256"
        self.macs += 1
        return {"Mac": self._of(KeyId).derive("k", Message)}

    def _of(self, alias: str) -> LocalKeyProvider:
        if self.away:
            raise TimeoutError("connect timeout with a secret in its text")
        if alias in self.deleted:
            raise NotFound
        return LocalKeyProvider({"k": bytes((at * 7 + sum(alias.encode())) % 256 for at in range(32))})


@pytest.fixture
def service() -> StandIn:
    return StandIn()


@pytest.fixture
def provider(service: StandIn, monkeypatch: pytest.MonkeyPatch) -> KeyProvider:
    (code,) = re.findall(r"```python\n# shop/kms\.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    boto3: Any = ModuleType("boto3")
    boto3.client = {"kms": service}.__getitem__
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102 - it is our own page
    made: KeyProvider = names["key_provider"]()
    return made


class TestExample(Conformance):
    """A8: a key service of another maker."""


def test_a_service_out_of_reach_is_a_key_problem_that_tells_nothing(provider: KeyProvider, service: StandIn) -> None:
    """503, try again; and what is known needs no service."""
    derived = provider.derive(provider.active_id, b"label")
    master_id, wrapped = provider.wrap(KEY, context=CONTEXT)
    service.away = True
    for act in (
        lambda: provider.wrap(KEY, context=CONTEXT),
        lambda: provider.unwrap(master_id, wrapped, context=CONTEXT),
        lambda: provider.derive("2026-11", b"label"),
    ):
        with pytest.raises(KeyProblem, match="TimeoutError") as caught:
            act()
        assert type(caught.value) is KeyProblem
        assert "secret" not in caught.value.message
    assert provider.derive(provider.active_id, b"label") == derived
    service.away = False
    assert provider.unwrap(master_id, wrapped, context=CONTEXT) == KEY
    assert provider.derive("2026-11", b"label") != derived


def test_tokens_cost_one_call_per_process_and_key(provider: KeyProvider, service: StandIn) -> None:
    for number in range(20):
        provider.derive(provider.active_id, b"label %d" % number)
        with pytest.raises(UnknownMasterKey):
            provider.derive(f"made-up-{number}", b"label")
    assert service.macs == 1


def test_a_key_that_was_deleted_in_the_console_is_unknown(provider: KeyProvider, service: StandIn) -> None:
    master_id, wrapped = provider.wrap(KEY, context=CONTEXT)
    service.deleted.add("alias/sessions-2026-12")
    with pytest.raises(UnknownMasterKey, match="2026-12"):
        provider.unwrap(master_id, wrapped, context=CONTEXT)
