"""The keys in one PKCS#11 token, and this process's session with it: threads, forks, logins and failures.

The C library is told nothing of threads, so one lock guards it in a process. A process that was forked starts it anew,
and none is forked while another thread is in it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from agent_sessions.crypto.keys import KEY_SIZE, UnknownMasterKey
from agent_sessions.exceptions import KeyProblem

try:
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
    from pkcs11.exceptions import (
        PinExpired,
        PinIncorrect,
        PinInvalid,
        PinLenRange,
        PinLocked,
        PKCS11Error,
        UserAlreadyLoggedIn,
    )
except ModuleNotFoundError as error:
    raise KeyProblem("The extra for PKCS#11 is not installed. Run: pip install agent-sessions[pkcs11]") from error

T = TypeVar("T")
LABEL: Final = "agent-sessions/"
REST: Final = 1.0
"""Seconds for which a token that did not answer is left alone, so that a queue of requests does not wait for each."""
_PIN_REFUSED: Final = (PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked)

_library_lock = threading.RLock()

# A child has only the thread that forked it: what another one had begun in the library would stay half done there.
os.register_at_fork(
    before=_library_lock.acquire, after_in_parent=_library_lock.release, after_in_child=_library_lock.release
)


class Token:
    """A token, found by its label. Keys are generic secrets of 256 bits labelled ``agent-sessions/<id>``.

    Methods raise KeyProblem, without the PIN, if the token stays out of reach after a new session and after starting
    the library anew; for the next second then without asking, and for good if it refuses the PIN.
    """

    def __init__(self, *, module: str, label: str, pin: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = label
        self._module, self._pin, self._clock = module, pin, clock
        self._pid = 0
        self._session: Any = None
        self._keys: dict[str, Any] = {}
        self._looked_at = 0.0
        self._rests_until = 0.0
        self._refusal = ""

    def ids(self, *, max_age: float = 0) -> set[str]:
        """Return the ids of the keys in the token, as it was at most ``max_age`` seconds ago."""
        if self._pid != os.getpid() or self._session is None or self._clock() - self._looked_at >= max_age:
            self._run(self._look)
        return set(self._keys)

    def sign(self, master_id: str, digest: bytes) -> bytes:
        """Return HMAC-SHA256 of a digest. Raises UnknownMasterKey."""

        def compute() -> bytes:
            key = self._keys.get(master_id)
            if key is None:
                raise UnknownMasterKey(master_id)
            made: bytes = key.sign(digest, mechanism=Mechanism.SHA256_HMAC)
            return made

        made = self._run(compute)
        if len(made) != KEY_SIZE:
            raise KeyProblem(f"The token answered with {len(made)} bytes where {KEY_SIZE} were asked for.")
        return made

    def make(self, master_id: str) -> None:
        """Make a key that cannot leave the token, unless there is one: an attempt's answer may have been lost."""
        self._run(lambda: self._write(_make_unless_there, master_id))

    def destroy(self, master_id: str) -> None:
        """Destroy a key for good, if it is there."""
        self._run(lambda: self._write(_destroy_if_there, master_id))

    def _run(self, act: Callable[[], T]) -> T:
        """Do something with the token, alone; it may be done again."""
        with _library_lock:
            if self._clock() < self._rests_until:
                raise KeyProblem(self._refusal)
            for anew in (False, False, True):
                try:
                    if self._pid != os.getpid() or self._session is None or anew:
                        self._open(anew=anew or self._pid not in (0, os.getpid()))
                    return act()
                except PKCS11Error as error:
                    self._session, failed = None, type(error)
                    if issubclass(failed, _PIN_REFUSED):
                        break
            self._let_rest(failed)
            raise KeyProblem(self._refusal)

    def _let_rest(self, failed: type[PKCS11Error]) -> None:
        """Settle until when nobody asks the token, and what they are told instead."""
        if issubclass(failed, _PIN_REFUSED):
            self._rests_until = math.inf
            self._refusal = (
                f"The token {self.label!r} refuses the PIN ({failed.__name__}). It is not tried again, because a "
                "token locks itself after a few. Put the file right that PIN_FILE in AGENT_SESSIONS['PKCS11'] names, "
                "and restart."
            )
        else:
            self._rests_until = self._clock() + REST
            self._refusal = (
                f"The token {self.label!r} of {self._module} does not answer ({failed.__name__}). Look whether it is "
                "there, and whether MODULE, TOKEN and PIN_FILE in AGENT_SESSIONS['PKCS11'] are right."
            )

    def _open(self, *, anew: bool) -> None:
        library = pkcs11.lib(self._module)
        if anew:
            with suppress(PKCS11Error):
                library.finalize()
            library.initialize()
        self._pid = os.getpid()
        token = library.get_token(token_label=self.label)
        try:
            self._session = token.open(user_pin=self._pin)
        except UserAlreadyLoggedIn:  # logging in counts for the process, not for the session
            self._session = token.open()
        self._keys, self._looked_at = _find(self._session), self._clock()

    def _look(self) -> None:
        found = _find(self._session)
        if found and found.keys() >= self._keys.keys():
            self._keys, self._looked_at = found, self._clock()
        else:
            # Whoever is logged out sees no keys and no error: that some are gone is believed after a login only.
            self._open(anew=False)

    def _write(self, act: Callable[[Any, str], None], master_id: str) -> None:
        """Do something that changes the token, in a session of its own; the login of the process counts for it."""
        session = pkcs11.lib(self._module).get_token(token_label=self.label).open(rw=True)
        try:
            act(session, master_id)
        finally:
            session.close()


def _find(session: Any) -> dict[str, Any]:
    ours = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.GENERIC_SECRET}
    keys: dict[str, Any] = {}
    for key in list(session.get_objects(ours)):  # a search that is left half done blocks the session
        label = key.label
        if label.removeprefix(LABEL) in keys:
            raise KeyProblem(
                f"The token has two keys {label!r}, and nothing tells which one wrapped what. Destroy the one that was "
                "made last, with the tools of the token."
            )
        if label.startswith(LABEL):
            keys[label.removeprefix(LABEL)] = key
    return keys


def _make_unless_there(session: Any, master_id: str) -> None:
    if master_id in _find(session):
        return
    session.generate_key(
        KeyType.GENERIC_SECRET,
        KEY_SIZE * 8,
        label=LABEL + master_id,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )


def _destroy_if_there(session: Any, master_id: str) -> None:
    if key := _find(session).get(master_id):
        key.destroy()
