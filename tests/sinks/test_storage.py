"""The sink that is one of Django's storages (A4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages

from agent_sessions.exceptions import InvalidValue
from agent_sessions.sinks import Sink, SinkBehind, SinkFailed, StorageSink
from tests.sinks.conformance import ORIGIN, Conformance
from tests.sinks.trees import Tree


def use(settings: Any, backend: str, **options: Any) -> StorageSink:
    settings.STORAGES = {**settings.STORAGES, "audit": {"BACKEND": backend, "OPTIONS": options}}
    return StorageSink("bucket", "audit")


class TestFiles(Conformance):
    @pytest.fixture
    def sink(self, settings: Any, tmp_path: Path) -> StorageSink:
        return use(settings, "django.core.files.storage.FileSystemStorage", location=str(tmp_path))

    @pytest.fixture
    def again(self, sink: Sink) -> Callable[[], Sink]:
        return lambda: StorageSink("bucket", "audit")


class TestMemory(Conformance):
    @pytest.fixture
    def sink(self, settings: Any) -> StorageSink:
        return use(settings, "django.core.files.storage.InMemoryStorage")


class Racing(InMemoryStorage):
    """Somebody else writes first, with a content of their own, after one has looked."""

    first: bytes | None = None

    def save(self, name: Any, content: Any, max_length: Any = None) -> str:
        if Racing.first is not None:
            super().save(name, ContentFile(Racing.first))
        return super().save(name, content, max_length)


@pytest.mark.parametrize("story", ["", "other"])
def test_who_comes_second_leaves_what_is_there(settings: Any, monkeypatch: Any, story: str) -> None:
    """A4: most storages then save under another name, which would be a second head nobody finds."""
    first = Tree(story=story).submission(0, 7)
    monkeypatch.setattr(Racing, "first", first.text.encode())
    sink = use(settings, f"{__name__}.Racing")

    if story:
        with pytest.raises(SinkBehind):
            sink.write(Tree().submission(0, 7))
    else:
        sink.write(Tree().submission(0, 7))

    assert list(sink.heads(ORIGIN)) == [first]
    folders, files = storages["audit"].listdir("log/shop.example%2Fagent-sessions%2F1/0000000000000000")
    assert (folders, files) == ([], ["head-00000000000000000007.txt"])


class Forgetting(InMemoryStorage):
    """Says that it has saved, and has not."""

    def _save(self, name: Any, content: Any) -> str:
        return str(name)


def test_what_is_not_there_afterwards_was_not_kept(settings: Any) -> None:
    sink = use(settings, f"{__name__}.Forgetting")

    with pytest.raises(SinkFailed, match="not there after it was written"):
        sink.write(Tree().submission(0, 7))


class Broken(FileSystemStorage):
    """Fails with an error of its own, as clients of object stores do."""

    def listdir(self, path: str) -> Any:
        raise RuntimeError("AccessDenied")

    exists = listdir  # type: ignore[assignment]


def test_whatever_a_storage_raises_is_a_failure_of_the_sink(settings: Any) -> None:
    sink = use(settings, f"{__name__}.Broken")

    for act in (lambda: sink.write(Tree().submission(0, 7)), lambda: sink.newest(ORIGIN), sink.origins):
        with pytest.raises(SinkFailed, match="RuntimeError: AccessDenied"):
            act()


def test_an_alias_that_there_is_not_is_told() -> None:
    with pytest.raises(InvalidValue, match="'nowhere'"):
        StorageSink("bucket", "nowhere")
