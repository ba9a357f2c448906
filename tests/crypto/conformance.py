"""What every key provider has to do: inherit from it, and give ``provider`` (docs/keys.md)."""

from __future__ import annotations

import threading

import pytest

from agent_sessions.crypto.keys import (
    DestroysMasterKeys,
    KeyProvider,
    ListsMasterKeys,
    MakesMasterKeys,
    UnknownMasterKey,
    WrappedKeyBroken,
)
from agent_sessions.crypto.tokens import issue_token, read_token
from agent_sessions.domain.ids import new_id
from agent_sessions.exceptions import InvalidToken, KeyProblem
from tests.conftest import MORNING

KEY, CONTEXT = bytes(range(32)), b"session 1\0personal"


class Conformance:
    """A7, A8: the tests of a provider that has one master key at least."""

    def test_what_was_wrapped_unwraps_under_the_active_key(self, provider: KeyProvider) -> None:
        master_id, wrapped = provider.wrap(KEY, context=CONTEXT)
        assert master_id == provider.active_id
        assert provider.unwrap(master_id, wrapped, context=CONTEXT) == KEY
        assert KEY not in wrapped

    def test_the_id_fits_its_column_and_a_token(self, provider: KeyProvider) -> None:
        assert 0 < len(provider.active_id) <= 64
        assert provider.active_id.isprintable()
        assert provider.active_id.isascii()

    def test_the_context_is_authenticated(self, provider: KeyProvider) -> None:
        master_id, wrapped = provider.wrap(KEY, context=CONTEXT)
        for other in (b"", b"session 2\0personal", CONTEXT + b"\0", CONTEXT[:-1]):
            with pytest.raises(WrappedKeyBroken):
                provider.unwrap(master_id, wrapped, context=other)

    def test_every_altered_or_missing_byte_shows(self, provider: KeyProvider) -> None:
        master_id, wrapped = provider.wrap(KEY, context=CONTEXT)
        for at in range(len(wrapped)):
            for broken in (wrapped[:at], wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]):
                with pytest.raises(WrappedKeyBroken):
                    provider.unwrap(master_id, broken, context=CONTEXT)

    def test_wrapping_twice_tells_nothing(self, provider: KeyProvider) -> None:
        assert len({provider.wrap(KEY, context=CONTEXT)[1] for _ in range(20)}) == 20

    def test_an_unknown_master_key_is_said_to_be_unknown(self, provider: KeyProvider) -> None:
        _, wrapped = provider.wrap(KEY, context=CONTEXT)
        with pytest.raises(UnknownMasterKey, match="no-such-key"):
            provider.unwrap("no-such-key", wrapped, context=CONTEXT)
        with pytest.raises(UnknownMasterKey, match="no-such-key"):
            provider.derive("no-such-key", b"label")

    def test_derived_keys_stay_and_differ_by_label(self, provider: KeyProvider) -> None:
        made = [provider.derive(provider.active_id, label) for label in (b"a", b"b", b"", b"a")]
        assert [len(key) for key in made] == [32] * 4
        assert made[0] == made[3]
        assert len(set(made)) == 3

    def test_tokens_are_issued_and_read_and_a_forged_one_is_no_key_problem(self, provider: KeyProvider) -> None:
        session = new_id()
        token = issue_token(
            provider, generation=1, session_id=session, consumer="", merchant="m", started_at=MORNING, version=1
        )
        assert read_token(provider, token).session_id == session
        with pytest.raises(InvalidToken):
            read_token(provider, token[:-3] + ("AAA" if token[-3:] != "AAA" else "BBB"))

    def test_threads_share_it(self, provider: KeyProvider) -> None:
        wrong: list[object] = []

        def work(number: int) -> None:
            try:
                for count in range(10):
                    key = bytes([number, count]) * 16
                    master_id, wrapped = provider.wrap(key, context=CONTEXT)
                    if provider.unwrap(master_id, wrapped, context=CONTEXT) != key:
                        wrong.append((number, count))
                    provider.derive(master_id, bytes([number, count]))
            except BaseException as error:  # noqa: BLE001 - a thread's error must not get lost
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_listing_begins_with_the_active_one(self, provider: KeyProvider) -> None:
        if isinstance(provider, ListsMasterKeys):
            assert provider.master_ids()[0] == provider.active_id

    def test_a_new_key_takes_over_and_the_old_one_unwraps_until_it_is_destroyed(self, provider: KeyProvider) -> None:
        if not isinstance(provider, MakesMasterKeys) or not isinstance(provider, DestroysMasterKeys):
            assert not isinstance(provider, MakesMasterKeys | DestroysMasterKeys)
            return
        old, wrapped = provider.wrap(KEY, context=CONTEXT)
        derived = provider.derive(old, b"label")
        provider.create("zz-new")
        assert provider.active_id == provider.wrap(KEY, context=CONTEXT)[0] == "zz-new"
        assert provider.unwrap(old, wrapped, context=CONTEXT) == KEY
        assert provider.derive(old, b"label") == derived != provider.derive("zz-new", b"label")
        with pytest.raises(KeyProblem, match="zz-new"):
            provider.create("zz-new")
        with pytest.raises(KeyProblem, match="active"):
            provider.destroy("zz-new")
        with pytest.raises(WrappedKeyBroken):
            provider.unwrap("zz-new", wrapped, context=CONTEXT)
        provider.destroy(old)
        with pytest.raises(UnknownMasterKey, match=old):
            provider.unwrap(old, wrapped, context=CONTEXT)
        with pytest.raises(UnknownMasterKey, match=old):
            provider.derive(old, b"label")
        with pytest.raises(UnknownMasterKey, match=old):
            provider.destroy(old)
        if isinstance(provider, ListsMasterKeys):
            assert old not in provider.master_ids()
