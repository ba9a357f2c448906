"""A sink that is one of Django's storages: an object store, with object lock if it has that."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from agent_sessions.audit.submissions import MAX_SUBMISSION
from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks._folders import FolderSink
from agent_sessions.sinks.base import SinkFailed


class StorageSink(FolderSink):
    """Keeps heads below ``prefix`` in the storage that ``STORAGES`` has under ``alias``.

    What the storage raises counts as a failure of the sink, whatever it is.
    """

    def __init__(self, name: str, alias: str, prefix: str = "log", witnesses: Sequence[str] = ()) -> None:
        """Raise InvalidValue when ``STORAGES`` has no such alias."""
        super().__init__(name, witnesses)
        if alias not in storages.backends:
            raise InvalidValue("/alias", f"names the storage {alias!r}, which STORAGES does not have")
        self._alias = alias
        self._prefix = prefix.strip("/")

    def _list(self, path: str) -> list[str]:
        try:
            folders, files = storages[self._alias].listdir(self._place(path))
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._failed(error) from error
        return [*(name.strip("/") for name in folders), *files]

    def _read(self, path: str) -> bytes | None:
        storage, place = storages[self._alias], self._place(path)
        try:
            if not storage.exists(place):
                return None
            with storage.open(place, "rb") as opened:
                return bytes(opened.read(MAX_SUBMISSION + 1))
        except Exception as error:
            raise self._failed(error) from error

    def _create(self, path: str, content: bytes) -> None:
        storage, place = storages[self._alias], self._place(path)
        try:
            made = storage.save(place, ContentFile(content))
            if made != place:  # somebody came first, and this storage then takes another name
                storage.delete(made)
        except Exception as error:
            raise self._failed(error) from error

    def _place(self, path: str) -> str:
        return "/".join(part for part in (self._prefix, path) if part)

    def _failed(self, error: Exception) -> SinkFailed:
        return SinkFailed(self.name, f"{type(error).__name__}: {error}")
