from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent_sessions.crypto.key_files import FileKeyProvider, activate_master_key, add_master_key
from agent_sessions.crypto.keys import KeyProvider, LocalKeyProvider, UnknownMasterKey
from agent_sessions.exceptions import KeyProblem
from tests.crypto.conformance import CONTEXT, KEY, Conformance

OLD = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "keys.json"
    add_master_key(found, "2026-10")
    return found


@pytest.fixture
def provider(path: Path) -> KeyProvider:
    return FileKeyProvider(path)


class TestFileKeyProvider(Conformance):
    """A8: keys in a file."""


class TestLocalKeyProvider(Conformance):
    """A8: keys in the settings."""

    @pytest.fixture
    def provider(self) -> KeyProvider:
        return LocalKeyProvider({"one": OLD})


def test_the_file_is_made_for_its_owner_alone(path: Path) -> None:
    """A8."""
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_text())
    assert document["active"] == "2026-10"
    assert list(document["keys"]) == ["2026-10"]
    assert sorted(one.name for one in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_use_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyProblem, match=f"chmod 600 {path}"):
        FileKeyProvider(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"active": "a"}', '{"active": "a", "keys": {}}', '{"active": "a", "keys": []}',
     '{"active": "a", "keys": {"a": 1}}', '{"active": 1, "keys": {"1": "a"}}',
     '{"active": "a", "keys": {"a": "short"}}'],
)  # fmt: skip
def test_a_malformed_file_is_refused_without_showing_it(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(KeyProblem) as caught:
        FileKeyProvider(path)
    assert "short" not in caught.value.message


def test_a_missing_file_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="make_master_key"):
        FileKeyProvider(tmp_path / "nothing.json")
    with pytest.raises(KeyProblem, match="Make its folder"):
        add_master_key(tmp_path / "no" / "keys.json", "a")


def test_a_running_process_takes_up_a_new_key_without_a_restart(path: Path, provider: KeyProvider) -> None:
    """A8: on several machines every one gets the file first, and then the key is made active."""
    before = provider.wrap(KEY, context=CONTEXT)
    add_master_key(path, "2026-11", activate=False)
    assert provider.active_id == "2026-10"
    elsewhere = FileKeyProvider(path)
    activate_master_key(path, "2026-11")
    assert elsewhere.active_id == provider.active_id == "2026-11"
    after = elsewhere.wrap(KEY, context=CONTEXT)
    assert {provider.unwrap(*one, context=CONTEXT) for one in (before, after)} == {KEY}
    with pytest.raises(UnknownMasterKey):
        activate_master_key(path, "2027")


def test_a_file_that_was_spoilt_is_logged_once_and_the_keys_stay(
    path: Path, provider: KeyProvider, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped = provider.wrap(KEY, context=CONTEXT)
    good = path.read_text()
    for spoil in (lambda: path.write_text("{"), lambda: path.chmod(0o644), path.unlink):
        caplog.clear()
        spoil()
        with caplog.at_level(logging.ERROR, "agent_sessions"):
            assert [provider.unwrap(*wrapped, context=CONTEXT) for _ in range(3)] == [KEY] * 3
        assert len(caplog.records) == 1
        assert "stay in use" in caplog.text
        assert good.split('"')[-2] not in caplog.text
    path.touch(0o600)
    path.write_text(good)
    add_master_key(path, "2026-11")
    assert provider.active_id == "2026-11"


def test_two_who_add_a_key_at_once_both_do(path: Path) -> None:
    threads = [threading.Thread(target=add_master_key, args=(path, f"k{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(json.loads(path.read_text())["keys"]) == {"2026-10", *(f"k{number}" for number in range(8))}


def test_a_writer_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(KeyProblem, match=r"No space left.*as it was"):
        add_master_key(path, "2026-11")
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_writer_that_is_killed_leaves_the_file_whole_and_no_keys_behind(
    path: Path, provider: KeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R3: it dies between writing and replacing. The next writer clears up: a key that is destroyed is in no copy."""

    class Killed(BaseException):
        pass

    def die(*args: object) -> None:
        raise Killed

    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", die)
        with pytest.raises(Killed):
            add_master_key(path, "2026-11")
    assert path.read_bytes() == before
    assert (path.parent / ".keys.json.new").stat().st_mode & 0o777 == 0o600

    add_master_key(path, "2026-11")
    FileKeyProvider(path).destroy("2026-10")
    assert sorted(one.name for one in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]
    assert list(json.loads(path.read_text())["keys"]) == ["2026-11"]


def test_a_disk_that_is_full_in_the_middle_leaves_the_file_as_it_was(path: Path) -> None:
    """By a limit on the size of files, in a process of its own: the write itself fails."""
    for number in range(3):
        add_master_key(path, f"k{number}")
    before = path.read_bytes()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)}, {len(before)}))\n"
        "from agent_sessions.crypto.key_files import add_master_key\n"
        "from agent_sessions.exceptions import KeyProblem\n"
        "try: add_master_key(sys.argv[1], 'one-more')\n"
        "except KeyProblem as problem: print(problem.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert "cannot be written (File too large); it is as it was" in done.stdout
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    """Replacing the link would leave a destroyed key where it points to."""
    link = tmp_path / "elsewhere" / "keys.json"
    link.parent.mkdir()
    link.symlink_to(path)
    add_master_key(link, "2026-11")
    FileKeyProvider(link).destroy("2026-10")
    assert link.is_symlink()
    assert list(json.loads(path.read_text())["keys"]) == ["2026-11"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_file_and_its_lock_to_the_user_that_the_site_runs_as(path: Path) -> None:
    (path.parent / "keys.json.lock").unlink()
    os.chown(path, 65534, 65534)
    add_master_key(path, "2026-11")
    assert {(one.stat().st_uid, one.stat().st_gid) for one in path.parent.iterdir()} == {(65534, 65534)}


def test_it_needs_no_django(path: Path) -> None:
    code = "import sys; from agent_sessions.crypto.key_files import FileKeyProvider; FileKeyProvider(sys.argv[1]); "
    done = subprocess.run([sys.executable, "-c", code + "assert 'django' not in sys.modules", str(path)], check=False)
    assert done.returncode == 0
