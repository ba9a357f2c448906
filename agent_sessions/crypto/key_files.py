"""Master keys in a file outside the repository, which only its owner can read.

The file is JSON: ``{"active": "2026-11", "keys": {"2026-10": base64, "2026-11": base64}}``. It is always replaced as a
whole, so no reader ever sees half of it. Every process notices by itself that it was replaced, so a rotation needs no
restart. A file that cannot be used is logged and left aside: the keys that were read before stay in use.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from agent_sessions.crypto.keys import (
    KEY_SIZE,
    LocalKeyProvider,
    UnknownMasterKey,
    active_key_stays,
    check_master_id,
    decode_master_key,
)
from agent_sessions.exceptions import KeyProblem

logger = logging.getLogger("agent_sessions")

_Seen: TypeAlias = tuple[int, ...]
_MAX_BYTES: Final = 1 << 20


class FileKeyProvider:
    """Master keys from a file. Raises KeyProblem if it is missing, malformed, or open to others than its owner."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen, self._keys = _read(self._path)
        self._refused: object = None

    @property
    def active_id(self) -> str:
        """Id of the key that the file calls active."""
        return self._current().active_id

    def master_ids(self) -> list[str]:
        """Ids of all keys in the file, the active one first."""
        return self._current().master_ids()

    def wrap(self, data_key: bytes, *, context: bytes) -> tuple[str, bytes]:
        """Encrypt with the active key, as LocalKeyProvider does."""
        return self._current().wrap(data_key, context=context)

    def unwrap(self, master_id: str, wrapped: bytes, *, context: bytes) -> bytes:
        """Decrypt; raises UnknownMasterKey, WrappedKeyBroken."""
        return self._current().unwrap(master_id, wrapped, context=context)

    def derive(self, master_id: str, label: bytes) -> bytes:
        """Derive with HKDF-SHA256; raises UnknownMasterKey."""
        return self._current().derive(master_id, label)

    def create(self, master_id: str) -> None:
        """Add a new random key to the file and make it the active one; the others stay. Raises KeyProblem."""
        add_master_key(self._path, master_id)

    def destroy(self, master_id: str) -> None:
        """Take a key out of the file. Raises UnknownMasterKey; KeyProblem for the active one.

        Copies of the file, and what a disk keeps of a file that was replaced, are beyond this: see docs/keys.md.
        """
        with _alone(self._path) as path:
            active, keys = _parsed(path)
            if master_id not in keys:
                raise UnknownMasterKey(master_id)
            if master_id == active:
                raise active_key_stays(master_id)
            del keys[master_id]
            _replace(path, active, keys)

    def _current(self) -> LocalKeyProvider:
        """Return the keys that the file holds now, or held when it was last in order."""
        try:
            found: object = _identity(os.stat(self._path))
        except OSError as error:
            found = error.errno
        if found not in (self._seen, self._refused):
            try:
                # The keys last: whoever finds the new identity finds the new keys too, or reads once more.
                seen, keys = _read(self._path)
                self._keys, self._seen, self._refused = keys, seen, None
            except KeyProblem as problem:
                self._refused = found
                logger.error("The master keys that were read before stay in use. %s", problem.message)
        return self._keys


def add_master_key(path: str | Path, master_id: str, *, activate: bool = True) -> None:
    """Add a new random key to the file, which is made if there is none.

    ``activate`` False adds it behind the active one: for sites on several machines, which all need the file before the
    key is used. Raises KeyProblem.
    """
    check_master_id(master_id)
    with _alone(Path(path)) as path:
        active, keys = _parsed(path) if path.exists() else (master_id, {})
        if master_id in keys:
            raise KeyProblem(f"{path} has a master key {master_id!r} already. Choose another id.", master_id=master_id)
        keys[master_id] = base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode()
        _replace(path, master_id if activate else active, keys)


def activate_master_key(path: str | Path, master_id: str) -> None:
    """Have a key that is in the file wrap from now on. Raises UnknownMasterKey, KeyProblem."""
    with _alone(Path(path)) as path:
        _, keys = _parsed(path)
        if master_id not in keys:
            raise UnknownMasterKey(master_id)
        _replace(path, master_id, keys)


def _read(path: Path) -> tuple[_Seen, LocalKeyProvider]:
    seen, active, keys = _opened(path)
    # LocalKeyProvider takes the first for the active one.
    ordered = {name: decode_master_key(keys[name]) for name in (active, *(name for name in keys if name != active))}
    return seen, LocalKeyProvider(ordered)


def _parsed(path: Path) -> tuple[str, dict[str, str]]:
    return _opened(path)[1:]


def _opened(path: Path) -> tuple[_Seen, str, dict[str, str]]:
    """Read the file: what it was when it was opened, the active id, and the keys as text."""
    status, raw = _private(path, "The file of master keys")
    try:
        document: Any = json.loads(raw)
        active, keys = document["active"], document["keys"]
        fits = isinstance(active, str) and active in keys and all(isinstance(text, str) for text in keys.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise KeyProblem(f'{path} is not {{"active": id, "keys": {{id: base64 of 32 bytes}}}}. Restore it from a copy.')
    return _identity(status), active, dict(keys)


def read_private(path: str | Path, *, what: str) -> bytes:
    """Read a file that only its owner can use. Raises KeyProblem, naming ``what`` it is, if others can."""
    return _private(Path(path), what)[1]


def _private(path: Path, what: str) -> tuple[os.stat_result, bytes]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
                raise KeyProblem(
                    f"{what} {path} can be used by others than its owner (mode {stat.S_IMODE(status.st_mode):o}). "
                    f"Run: chmod 600 {path}"
                )
            return status, file.read(_MAX_BYTES)
    except OSError as error:
        raise KeyProblem(
            f"{what} {path} cannot be read ({error.strerror}). Make it as the user that the site runs as; one of "
            "master keys is made by: manage.py make_master_key ID"
        ) from None


def _identity(status: os.stat_result) -> _Seen:
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Keep other writers out, by a lock of its own, because the file itself is replaced. Gives where the file really
    is: of a link, the link would be replaced, and the keys would stay where it points to.
    """
    path = path.resolve()
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise KeyProblem(f"{path} cannot be written ({error.strerror}). Make its folder, and give it to you.") from None
    try:
        _give_to_owner(lock, path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(lock)


def _replace(path: Path, active: str, keys: dict[str, str]) -> None:
    """Write the whole file beside the old one and put it in its place, so that a crash leaves one of the two.

    What a crash leaves beside it is overwritten by the next writer: there is one at a time.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"active": active, "keys": keys}, file, indent=1)
            file.flush()
            _give_to_owner(handle, path)
            os.fsync(handle)
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise KeyProblem(f"{path} cannot be written ({error.strerror}); it is as it was.") from None
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give_to_owner(handle: int, path: Path) -> None:
    """Have root not take the file, or its lock, away from the user that the site runs as."""
    with suppress(FileNotFoundError):
        owner = os.stat(path)
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.fchown(handle, owner.st_uid, owner.st_gid)
