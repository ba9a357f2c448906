"""A sink that is a directory: another disk, a mounted share, a folder that a witness or a backup looks into."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from agent_sessions.audit.submissions import MAX_SUBMISSION
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks._folders import FolderSink
from agent_sessions.sinks.base import SinkFailed


class DirectorySink(FolderSink):
    """Keeps heads as files below ``directory``, on a file system that has hard links.

    A file appears whole, under its name, or not at all, and never replaces another. The directory has to be there: if
    it is on a mount that is missing, nothing is written into the mount point.
    """

    def __init__(self, name: str, directory: str | Path, witnesses: Sequence[str] = ()) -> None:
        """Raise InvalidValue when the directory is not an absolute path."""
        super().__init__(name, witnesses)
        self._root = Path(directory)
        if not self._root.is_absolute():
            raise InvalidValue("/directory", "is not an absolute path, so it depends on where a process was started")

    def _list(self, path: str) -> list[str]:
        self._check_root()
        try:
            return os.listdir(self._root / path)
        except (FileNotFoundError, NotADirectoryError):  # other files may lie about
            return []
        except OSError as error:
            raise SinkFailed(self.name, _said(error)) from error

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise SinkFailed(self.name, f"{self._root} is not a directory that is there; mount it or make it")

    def _read(self, path: str) -> bytes | None:
        self._check_root()
        try:
            with (self._root / path).open("rb") as opened:
                return opened.read(MAX_SUBMISSION + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SinkFailed(self.name, _said(error)) from error

    def _create(self, path: str, content: bytes) -> None:
        self._check_root()
        file = self._root / path
        # Witnesses look for head-*.txt, so they do not see it before it is whole.
        partly = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
        try:
            _make_folder(file.parent)
            try:
                opened = os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                with open(opened, "wb") as written:
                    written.write(content)
                    written.flush()
                    os.fsync(opened)
                try:
                    os.link(partly, file)  # unlike a rename, it does not replace a file
                except FileExistsError:
                    return
            finally:
                partly.unlink(missing_ok=True)
            _sync_folder(file.parent)
        except OSError as error:
            raise SinkFailed(self.name, _said(error)) from error


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on disk before the next."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _said(error: OSError) -> str:
    return f"{error.strerror or type(error).__name__}: {error.filename}"
