from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_sessions.audit.verify import main
from agent_sessions.crypto.signing import new_signing_key, public_key_text
from tests.golden.make import HERE, SITE_PUBLIC

GOOD = str(HERE / "shopping.json")


@pytest.fixture
def bad(tmp_path: Path) -> str:
    file = tmp_path / "bad.json"
    file.write_bytes((HERE / "shopping.json").read_bytes().replace(b'"deny"', b'"allow"'))
    return str(file)


@pytest.mark.parametrize("key", [public_key_text(SITE_PUBLIC), str(HERE / "site-key.txt"), str(HERE / "site-key.pem")])
def test_good_with_the_key_of_the_site(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([GOOD, "--key", key]) == 0
    out = capsys.readouterr().out
    assert "Good: session 0193a6f0-0000-7000-8000-000000000001." in out
    assert "5 events" in out
    assert "which you gave" in out


def test_one_of_several_keys_is_enough() -> None:
    other = public_key_text(new_signing_key()[1])
    assert main([GOOD, "--key", other, "--key", public_key_text(SITE_PUBLIC)]) == 0
    assert main([GOOD, "--key", other]) == 1


def test_without_a_key_it_says_so_and_does_not_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([GOOD]) == 3
    assert "WHO SIGNED IT IS NOT CHECKED" in capsys.readouterr().out


def test_bad_names_what_is_wrong(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([bad], [bad, "--key", public_key_text(SITE_PUBLIC)]):
        assert main(arguments) == 1
        out = capsys.readouterr().out
        assert out.startswith("NOT GOOD")
        assert "events[3].prev_hash is not the hash of the event before it [broken_chain]" in out


def test_json_for_machines(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([GOOD, "--json", "--key", public_key_text(SITE_PUBLIC)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True, "trusted": True, "problems": [], "event_count": 5, "opened": 3, "withheld": 0,
        "run_id": "0193a6f0-0000-7000-8000-000000000001", "key_id": "439ecea1ff9fa4c5", "logged": None,
        "erased": [],
    }  # fmt: skip
    assert main([bad, "--json"]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["problems"][0]["code"] == "broken_chain"
    assert found["problems"][0]["where"] == "events[3].prev_hash"


def test_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((HERE / "shopping.json").read_bytes())))
    assert main(["-", "--key", str(HERE / "site-key.txt")]) == 0


def test_wrong_use_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "binary.key").write_bytes(b"\xff\xfe")
    for arguments in (
        [str(tmp_path / "missing.json")],
        [str(tmp_path)],
        [GOOD, "--key", "nonsense"],
        [GOOD, "--key", "x" * 5000],
        [GOOD, "--key", ""],
        [GOOD, "--key", str(tmp_path / "binary.key")],
        [GOOD, "--key", GOOD],
    ):
        assert main(arguments) == 2, arguments
        assert capsys.readouterr().err.startswith("agent-sessions-verify: ")
    for arguments in ([], [GOOD, GOOD], [GOOD, "--key"], [GOOD, "--unknown"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_what_an_artifact_says_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.json"
    file.write_bytes(b'{"\\u001b]0;owned\\u0007":1,"\\u202egood":2}')
    assert main([str(file)]) == 1
    out = capsys.readouterr().out
    assert out.isascii()
    assert all(character.isprintable() or character == "\n" for character in out)


def test_runs_where_there_is_no_django() -> None:
    program = (
        "import sys; sys.modules['django'] = None\n"
        "from agent_sessions.audit.verify import main\n"
        "code = main(sys.argv[1:])\n"
        "assert not [name for name in sys.modules if name.startswith('django.')]\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, GOOD, "--key", str(HERE / "site-key.txt")],
        capture_output=True,
        check=False,
        cwd=HERE.parent.parent,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_is_a_module_to_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent_sessions.audit.verify", GOOD],
        capture_output=True,
        check=False,
        cwd=HERE.parent.parent,
    )
    assert done.returncode == 3
