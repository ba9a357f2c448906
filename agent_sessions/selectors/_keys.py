"""A session's two data keys, unwrapped when first needed: one for what is personal, one for the rest (A7)."""

from __future__ import annotations

import uuid
from typing import Final, Literal, TypeAlias

from agent_sessions.conf import settings
from agent_sessions.crypto.keys import UnknownMasterKey
from agent_sessions.crypto.sealing import new_data_key
from agent_sessions.exceptions import ContentErased, KeyProblem
from agent_sessions.selectors._master_keys import was_destroyed

DataClass: TypeAlias = Literal["content", "personal"]

PATCH: Final = "version.patch"
SNAPSHOT: Final = "version.snapshot"
_CONTENT: Final = frozenset({PATCH, SNAPSHOT})
_WRAPS: Final = 3
_CONTENT_PATHS: Final = frozenset({"patch"})


class DataKeys:
    """The data keys of one session, as its row has them.

    What a place or a commitment belongs to is settled here: the content parts of patches and snapshots are sealed with
    the content key, everything else (messages, private values of events, answers, what a human wrote) with the
    personal one.
    """

    __slots__ = ("_content", "_master_id", "_personal", "_session", "_wrapped", "_wrapped_personal")

    def __init__(
        self, session_id: uuid.UUID, master_id: str | None, wrapped: bytes | None, personal: bytes | None
    ) -> None:
        self._session = session_id
        self._master_id = master_id
        self._wrapped = wrapped
        self._wrapped_personal = personal
        self._content: bytes | None = None
        self._personal: bytes | None = None

    @classmethod
    def unwrapped(cls, session_id: uuid.UUID, content: bytes, personal: bytes) -> DataKeys:
        """Return the keys of a session that is being opened."""
        keys = cls(session_id, None, None, None)
        keys._content, keys._personal = content, personal
        return keys

    @property
    def has_content(self) -> bool:
        """Whether the content key has not been destroyed."""
        return self._content is not None or self._wrapped is not None

    @property
    def has_personal(self) -> bool:
        """Whether the personal key has not been destroyed."""
        return self._personal is not None or self._wrapped_personal is not None

    def opens(self, data_class: DataClass) -> bool:
        """Tell whether a class can be read: its key is there, and its master key was not destroyed.

        Raises KeyProblem if the master key is missing or out of reach.
        """
        try:
            _ = self.content if data_class == "content" else self.personal
        except ContentErased:
            return False
        return True

    @property
    def content(self) -> bytes:
        """The key of the content class. Raises ContentErased, KeyProblem."""
        if self._content is None:
            self._content = self._unwrap(self._wrapped, "content")
        return self._content

    @property
    def personal(self) -> bytes:
        """The key of the personal class. Raises ContentErased, KeyProblem."""
        if self._personal is None:
            self._personal = self._unwrap(self._wrapped_personal, "personal")
        return self._personal

    def of_place(self, what: str) -> bytes:
        """Return the key that seals what is kept at a place (``version.patch``)."""
        return self.content if what in _CONTENT else self.personal

    def of_path(self, path: str) -> bytes:
        """Return the key that the salt of a commitment in an event comes from."""
        return self.content if path in _CONTENT_PATHS else self.personal

    def _unwrap(self, wrapped: bytes | None, data_class: DataClass) -> bytes:
        if wrapped is None or self._master_id is None:
            raise ContentErased(self._session)
        try:
            return settings.key_provider.unwrap(
                self._master_id, wrapped, context=data_key_context(self._session, data_class)
            )
        except UnknownMasterKey:
            # What was destroyed on purpose is erased; any other key that is not there is a fault of the installation.
            if was_destroyed(self._master_id):
                raise ContentErased(self._session) from None
            raise


def usable(keys: DataKeys, data_class: DataClass) -> DataKeys | None:
    """Return the keys if that of a class is there and unwraps, None if it was destroyed.

    Raises WrappedKeyBroken, KeyProblem.
    """
    if not (keys.has_content if data_class == "content" else keys.has_personal):
        return None
    _ = keys.content if data_class == "content" else keys.personal
    return keys


def new_keys(session_id: uuid.UUID) -> tuple[DataKeys, str, bytes, bytes]:
    """Make a session's keys: with the id of the master key that wraps them, the content key and the personal key as
    they are stored. Raises KeyProblem.
    """
    content, personal = new_data_key(), new_data_key()
    master_id, wrapped, wrapped_personal = wrapped_keys(session_id, content, personal)
    return DataKeys.unwrapped(session_id, content, personal), master_id, wrapped, wrapped_personal


def wrapped_keys(session_id: uuid.UUID, content: bytes, personal: bytes) -> tuple[str, bytes, bytes]:
    """Wrap a session's keys with the active master key: its id, the content key and the personal key.

    Raises KeyProblem.
    """
    for _ in range(_WRAPS):
        first, wrapped = settings.key_provider.wrap(content, context=data_key_context(session_id, "content"))
        second, wrapped_personal = settings.key_provider.wrap(
            personal, context=data_key_context(session_id, "personal")
        )
        if first == second:
            return first, wrapped, wrapped_personal
    # A rotation between the two calls makes them differ once, not always.
    raise KeyProblem("The key provider wraps with another master key each time it is asked.", master_id=first)


def data_key_context(session_id: uuid.UUID, data_class: DataClass) -> bytes:
    """Bind a wrapped data key to its session and class."""
    return b"agent-sessions/v1\0data-key\0" + data_class.encode() + b"\0" + session_id.bytes
