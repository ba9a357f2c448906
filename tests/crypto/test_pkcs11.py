from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

import pytest

from agent_sessions.crypto.keys import UnknownMasterKey
from agent_sessions.exceptions import KeyProblem
from tests.crypto.conformance import CONTEXT, KEY, Conformance
from tests.crypto.softhsm import MODULE, PIN

pkcs11 = pytest.importorskip("pkcs11", reason="the extra for PKCS#11 is not installed: requirements/pkcs11.txt")

from agent_sessions.crypto import pkcs11_token  # noqa: E402 - needs the extra
from agent_sessions.crypto.pkcs11 import REFRESH, REFRESH_UNKNOWN, PKCS11KeyProvider  # noqa: E402
from agent_sessions.crypto.pkcs11_token import LABEL, REST, Token  # noqa: E402

Making = Callable[..., PKCS11KeyProvider]


class Ticking:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticking() -> Ticking:
    return Ticking()


@pytest.fixture
def making(softhsm: Callable[[], str], ticking: Ticking) -> Making:
    """Make providers of one new token."""
    token = softhsm()

    def make(**facts: Any) -> PKCS11KeyProvider:
        return PKCS11KeyProvider(**{"module": MODULE, "token": token, "pin": PIN, "clock": ticking, **facts})

    return make


@pytest.fixture
def provider(making: Making) -> PKCS11KeyProvider:
    made = making()
    made.create("2026-10")
    return made


class TestPKCS11KeyProvider(Conformance):
    """A8: keys in a token, tried with SoftHSM."""


def test_the_key_cannot_leave_the_token(provider: PKCS11KeyProvider) -> None:
    """A8."""
    with pkcs11.lib(MODULE).get_token(token_label=provider._token.label).open() as session:
        key = session.get_key(label=LABEL + "2026-10")
        assert key[pkcs11.Attribute.SENSITIVE] is True
        assert key[pkcs11.Attribute.EXTRACTABLE] is False
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            _ = key[pkcs11.Attribute.VALUE]


def test_token_keys_are_derived_without_asking_the_token(
    provider: PKCS11KeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forged token must not cost a call to the hardware."""
    first = provider.derive("2026-10", b"label")

    def called(*args: object) -> None:
        raise AssertionError("the token was asked")

    monkeypatch.setattr(Token, "_run", called)
    assert provider.derive("2026-10", b"label") == first
    assert provider.derive("2026-10", b"another label") != first
    with pytest.raises(UnknownMasterKey):
        provider.derive("made up", b"label")


def test_another_process_finds_a_new_key_within_a_minute(
    provider: PKCS11KeyProvider, making: Making, ticking: Ticking
) -> None:
    """A8: a rotation needs no restart."""
    other = making()
    assert other.active_id == "2026-10"
    provider.create("2026-11")
    wrapped = provider.wrap(KEY, context=CONTEXT)
    with pytest.raises(UnknownMasterKey):  # it has just looked
        other.unwrap(*wrapped, context=CONTEXT)
    ticking.now += REFRESH_UNKNOWN
    assert other.unwrap(*wrapped, context=CONTEXT) == KEY
    ticking.now += REFRESH
    assert other.active_id == "2026-11"
    provider.destroy("2026-10")
    ticking.now += REFRESH
    with pytest.raises(UnknownMasterKey):
        other.derive("2026-10", b"label")


def test_which_key_is_active_can_be_configured(provider: PKCS11KeyProvider, making: Making) -> None:
    provider.create("2026-11")
    assert making(active="2026-10").active_id == "2026-10"
    with pytest.raises(UnknownMasterKey, match="2027"):
        _ = making(active="2027").active_id


def test_an_id_that_would_not_become_active_is_refused(provider: PKCS11KeyProvider) -> None:
    with pytest.raises(KeyProblem, match="comes after"):
        provider.create("2026-09")
    assert provider.master_ids() == ["2026-10"]


def test_an_empty_token_says_how_to_make_a_key(making: Making) -> None:
    with pytest.raises(KeyProblem, match="make_master_key"):
        _ = making().active_id


def test_where_the_active_key_is_fixed_no_other_is_made(provider: PKCS11KeyProvider, making: Making) -> None:
    """It would not wrap, though whoever made it is told so."""
    with pytest.raises(KeyProblem, match=r"'2026-10' is active \(ACTIVE\)"):
        making(active="2026-10").create("2026-11")
    making(active="2026-11").create("2026-11")
    assert provider.master_ids() == ["2026-11", "2026-10"]


def test_two_keys_of_one_name_are_told_and_neither_is_used(provider: PKCS11KeyProvider, making: Making) -> None:
    """A token does not mind. What one of them wrapped would be taken for altered."""
    provider._token._run(lambda: provider._token._write(_make_another, "2026-10"))
    with pytest.raises(KeyProblem, match="two keys 'agent-sessions/2026-10'"):
        making().wrap(KEY, context=CONTEXT)


def _make_another(session: Any, master_id: str) -> None:
    session.generate_key(
        pkcs11.KeyType.GENERIC_SECRET, 256, label=LABEL + master_id, store=True,
        mechanism=pkcs11.Mechanism.GENERIC_SECRET_KEY_GEN,
    )  # fmt: skip


def test_a_key_whose_making_was_not_answered_is_made_once(
    provider: PKCS11KeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3: the connection is lost after the token has made it; the second attempt finds it."""
    make, lost = pkcs11_token._make_unless_there, []

    def answer_lost(session: Any, master_id: str) -> None:
        make(session, master_id)
        if not lost:
            lost.append(master_id)
            raise pkcs11.exceptions.DeviceError

    monkeypatch.setattr(pkcs11_token, "_make_unless_there", answer_lost)
    provider.create("2026-11")
    assert lost == ["2026-11"]
    assert provider.master_ids() == ["2026-11", "2026-10"]


@pytest.mark.parametrize(("facts", "told"), [({"token": "not there"}, "NoSuchToken"), ({"pin": "wrong-pin"}, "Pin")])
def test_a_token_out_of_reach_is_a_key_problem_without_the_pin(
    making: Making, facts: dict[str, str], told: str
) -> None:
    """503, try again; never "this token is forged" and never "this session is damaged"."""
    with pytest.raises(KeyProblem, match=told) as caught:
        making(**facts).wrap(KEY, context=CONTEXT)
    assert type(caught.value) is KeyProblem
    assert caught.value.status == 503
    assert "wrong-pin" not in caught.value.message


def test_a_wrong_pin_is_tried_once(
    provider: PKCS11KeyProvider, making: Making, ticking: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens lock themselves after a few wrong ones, for every process."""
    opened = Token._open
    tries = []

    def counted(self: Token, *, anew: bool) -> None:
        tries.append(anew)
        opened(self, anew=anew)

    pkcs11.lib(MODULE).finalize()  # as in a new process: nobody is logged in
    wrong = making(pin="wrong-pin")
    monkeypatch.setattr(Token, "_open", counted)
    for _ in range(3):
        ticking.now += REFRESH
        with pytest.raises(KeyProblem, match=r"refuses the PIN.*restart"):
            wrong.wrap(KEY, context=CONTEXT)
    assert len(tries) == 1
    assert making().wrap(KEY, context=CONTEXT)[0] == "2026-10"


def test_a_token_that_is_away_is_not_asked_by_every_request(
    making: Making, ticking: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may wait for a network's timeout, one behind the other."""
    asked = []
    token = making()
    token.create("2026-10")

    def away(*args: object, **kwargs: object) -> None:
        asked.append(args)
        raise pkcs11.exceptions.DeviceRemoved

    with monkeypatch.context() as patched:
        patched.setattr(Token, "_open", away)
        token._token._session = None
        for _ in range(5):
            with pytest.raises(KeyProblem, match="DeviceRemoved"):
                token.wrap(KEY, context=CONTEXT)
    assert len(asked) == 3
    ticking.now += REST
    assert token.wrap(KEY, context=CONTEXT)[0] == "2026-10"


def test_a_session_that_was_logged_out_is_not_taken_for_an_empty_token(
    provider: PKCS11KeyProvider, ticking: Ticking
) -> None:
    """It sees no keys and gets no error: every token would be forged and every session's key unknown."""
    wrapped = provider.wrap(KEY, context=CONTEXT)
    for act in (lambda: provider.derive("2026-10", b"a"), provider.master_ids, lambda: provider.active_id):
        _log_out(provider)
        ticking.now += REFRESH
        act()
        assert provider.unwrap(*wrapped, context=CONTEXT) == KEY
    _log_out(provider)
    assert provider.wrap(KEY, context=CONTEXT)[0] == "2026-10"


def _log_out(provider: PKCS11KeyProvider) -> None:
    """Log the process out and leave the provider's session open, as other code in the process can."""
    pkcs11.lib(MODULE).get_token(token_label=provider._token.label)
    library = ctypes.CDLL(MODULE)
    assert any(library.C_Logout(ctypes.c_ulong(handle)) == 0 for handle in range(1, 200))


def test_a_module_that_is_no_library_is_named(making: Making) -> None:
    with pytest.raises(KeyProblem, match=r"/nowhere/lib\.so"):
        making(module="/nowhere/lib.so").wrap(KEY, context=CONTEXT)


def test_it_goes_on_after_the_token_was_away(provider: PKCS11KeyProvider) -> None:
    """The module was restarted under a running process, as after a network failure: all its handles are dead."""
    wrapped = provider.wrap(KEY, context=CONTEXT)
    pkcs11.lib(MODULE).finalize()
    assert provider.unwrap(*wrapped, context=CONTEXT) == KEY
    pkcs11.lib(MODULE).finalize()
    assert provider.wrap(KEY, context=CONTEXT)[0] == "2026-10"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_has_a_session_of_its_own(provider: PKCS11KeyProvider) -> None:
    """gunicorn --preload: the parent has used the token before it forks."""
    wrapped = provider.wrap(KEY, context=CONTEXT)
    derived = provider.derive("2026-10", b"label")
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            try:
                same = provider.unwrap(*wrapped, context=CONTEXT) == KEY
                again = provider.unwrap(*provider.wrap(KEY, context=CONTEXT), context=CONTEXT) == KEY
                os._exit(0 if same and again and provider.derive("2026-10", b"label") == derived else 3)
            finally:
                os._exit(4)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert provider.unwrap(*wrapped, context=CONTEXT) == KEY
