"""The witness: it co-signs one history of each log, over HTTP and by folder (A4; C2SP tlog-witness)."""

from __future__ import annotations

import http.client
import json
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from agent_sessions.audit import merkle
from agent_sessions.audit.merkle import Frontier, grow, leaf_hash
from agent_sessions.audit.notes import Checkpoint, Policy, add_signatures, parse_signatures, sign_checkpoint
from agent_sessions.audit.submissions import MAX_SUBMISSION, Submission, cosignature_file, head_file, read_submission
from agent_sessions.audit.vkeys import COSIGNS, SIGNS, NoteKey, read_vkey
from agent_sessions.audit.witness import Server, main
from agent_sessions.audit.witnessing import Refused, Witness
from agent_sessions.crypto.signing import new_signing_key, sign
from agent_sessions.exceptions import KeyProblem, NoteRefused

ORIGIN = "shop.example/agent-sessions/2026-1"
NAME = "witness.example/w1"
NOW = 1_795_255_800


class Log:
    """A log that can say anything of itself: each of its histories is a list of leaves."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.private, public = new_signing_key()
        self.key = NoteKey(origin, SIGNS, public)
        self.leaves = [leaf_hash(b"leaf %d" % number) for number in range(20)]

    def note(self, size: int, leaves: list[bytes] | None = None) -> str:
        frontier, _ = grow(Frontier(), (leaves or self.leaves)[:size])
        return sign_checkpoint(Checkpoint(self.key.name, size, frontier.root()), self.key, partial(sign, self.private))

    def submission(self, old: int, size: int, leaves: list[bytes] | None = None) -> Submission:
        nodes = {node[:2]: node.hash for node in grow(Frontier(), leaves or self.leaves)[1]}
        proof = merkle.consistency_plan(min(old, size), size).hashes(nodes)
        return Submission(old, tuple(proof), self.note(size, leaves))

    def forked(self) -> list[bytes]:
        return [self.leaves[0], leaf_hash(b"another"), *self.leaves[2:]]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def witness(home: Path, log: Log) -> Witness:
    Witness.create(home, NAME)
    witness = Witness(home, clock=lambda: NOW)
    witness.add_log(log.key)
    return witness


def refusal(witness: Witness, submission: Submission) -> tuple[int, int | None]:
    with pytest.raises(Refused) as refused:
        witness.consider(submission)
    return refused.value.http_status, refused.value.known_size


def test_it_cosigns_a_log_that_grows(witness: Witness, log: Log) -> None:
    policy = Policy((log.key,), (witness.key,), 1)
    old = 0
    for size in (0, 3, 3, 8, 13):
        made = witness.consider(log.submission(old, size))
        opened = policy.open(add_signatures(log.note(size), [made]))
        assert opened.cosigned == ((witness.key, NOW),)
        assert (witness.find(ORIGIN).size, witness.find(ORIGIN).seen_at) == (size, NOW)
        old = size
    assert witness.find(ORIGIN).refusals == 0


def test_two_roots_for_one_size_are_refused_and_both_are_kept(witness: Witness, log: Log, home: Path) -> None:
    witness.consider(log.submission(0, 5))
    split = Submission(5, (), log.note(5, log.forked()))
    assert refusal(witness, split) == (409, 5)
    assert refusal(witness, split) == (409, 5)
    assert refusal(witness, Submission(0, (), log.note(5, log.forked()))) == (409, 5)
    known = witness.find(ORIGIN)
    assert (known.size, known.note, known.refusals, known.alarms) == (5, log.note(5), 3, 1)
    with sqlite3.connect(home / "state.sqlite3") as database:
        assert database.execute("SELECT origin, at, note, known_note FROM alarm").fetchall() == [
            (ORIGIN, NOW, log.note(5, log.forked()), log.note(5))
        ]
    database.close()


def test_a_rewritten_history_is_refused_whatever_its_size(witness: Witness, log: Log) -> None:
    witness.consider(log.submission(0, 5))
    assert refusal(witness, log.submission(5, 9, log.forked())) == (422, None)
    assert refusal(witness, Submission(5, (), log.note(9))) == (422, None)
    assert refusal(witness, Submission(5, (bytes(32),), log.note(5))) == (422, None)
    assert refusal(witness, log.submission(4, 4)) == (409, 5)
    assert refusal(witness, log.submission(0, 9)) == (409, 5)
    assert witness.find(ORIGIN).size == 5
    assert witness.consider(log.submission(5, 9))


def test_strangers_and_other_logs_are_refused(witness: Witness, log: Log) -> None:
    stranger = Log()
    assert refusal(witness, Log("other.example/log").submission(0, 3)) == (404, None)
    assert refusal(witness, stranger.submission(0, 3)) == (403, None)
    forged = log.note(3).replace("\n3\n", "\n4\n", 1)
    assert refusal(witness, Submission(0, (), forged)) == (403, None)
    assert (witness.find(ORIGIN).size, witness.find(ORIGIN).refusals) == (0, 0)
    witness.add_log(stranger.key)
    witness.add_log(stranger.key)
    assert len(witness.keys(ORIGIN)) == 2
    witness.consider(stranger.submission(0, 3))
    witness.consider(log.submission(3, 4))
    with pytest.raises(KeyProblem):
        witness.add_log(witness.key)


def test_memory_outlives_the_process_and_time_does_not_go_back(witness: Witness, log: Log, home: Path) -> None:
    witness.consider(log.submission(0, 5))
    later = Witness(home, clock=lambda: NOW - 100)
    assert later.consider(log.submission(5, 6)).time == NOW
    assert refusal(later, Submission(0, (), log.note(6, log.forked()))) == (409, 6)


def test_of_many_at_once_one_is_signed(witness: Witness, log: Log) -> None:
    """Every thread starts from the same head with another history; only one of these can become the log's."""
    witness.consider(log.submission(0, 2))
    histories = [[*log.leaves[:2], *(leaf_hash(b"%d" % number) for _ in range(3))] for number in range(8)]
    submissions = [log.submission(2, 5, history) for history in histories]
    barrier = threading.Barrier(8)

    def submit(submission: Submission) -> int:
        barrier.wait()
        try:
            witness.consider(submission)
        except Refused as refused:
            return refused.http_status
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(submit, submissions)) == [200] + [409] * 7
    assert witness.find(ORIGIN).alarms == 7


def test_a_head_that_could_not_be_kept_is_not_signed(witness: Witness, log: Log, home: Path) -> None:
    with sqlite3.connect(home / "state.sqlite3") as database:
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    database.close()
    with pytest.raises(sqlite3.Error, match="disk full"):
        witness.consider(log.submission(0, 5))
    assert witness.find(ORIGIN).size == 0


def test_its_key_is_for_its_user_only(witness: Witness, home: Path) -> None:
    assert stat.S_IMODE((home / "key.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (home / "key.json").chmod(0o640)
    with pytest.raises(KeyProblem, match="chmod 600"):
        Witness(home)
    with pytest.raises(KeyProblem, match="already"):
        Witness.create(home, NAME)


def test_without_its_own_memory_it_does_not_start(witness: Witness, home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    Witness.create(other, NAME)
    (home / "state.sqlite3").unlink()
    with pytest.raises(KeyProblem, match="retire this key"):
        Witness(home)
    (other / "state.sqlite3").rename(home / "state.sqlite3")
    with pytest.raises(KeyProblem, match="memory of another witness"):
        Witness(home)
    for text in ("", "{}", "[]", '{"vkey": 5, "private_key": ""}'):
        (home / "key.json").write_text(text)
        with pytest.raises(KeyProblem):
            Witness(home)
    (home / "key.json").unlink()
    with pytest.raises(KeyProblem, match="init"):
        Witness(home)


# What is sent


def test_a_submission_is_read_as_it_was_written(log: Log) -> None:
    for submission in (log.submission(0, 5), log.submission(3, 7), log.submission(7, 7)):
        assert read_submission(submission.text.encode()) == submission
    assert log.submission(3, 7).text.startswith("old 3\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("old 3", "old 03"),
        ("old 3", "old -3"),
        ("old 3", "3"),
        ("old 3", "old 8"),
        ("old 3\n", "old 3\nnonsense\n"),
        ("old 3\n", "old 3\nAAAA\n"),
        ("old 3\n", "old 3\n" + ("A" * 43 + "=\n") * 64),
        ("\n\n", "\n"),
        ("\n7\n", "\nseven\n"),
    ],
)
def test_what_is_no_submission(log: Log, old: str, new: str) -> None:
    with pytest.raises(NoteRefused):
        read_submission(log.submission(3, 7).text.replace(old, new, 1).encode())


def test_a_submission_is_text_of_bounded_length() -> None:
    for written in (b"", b"\xff\n\n", b"x" * (MAX_SUBMISSION + 1)):
        with pytest.raises(NoteRefused):
            read_submission(written)


# Over HTTP


@pytest.fixture
def connection(witness: Witness) -> Iterator[http.client.HTTPConnection]:
    server = Server(("127.0.0.1", 0), witness)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    yield connection
    connection.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_answers_as_the_specification_says(
    connection: http.client.HTTPConnection, witness: Witness, log: Log
) -> None:
    def post(body: str | bytes, path: str = "/add-checkpoint") -> tuple[int, str, str]:
        connection.request("POST", path, body if isinstance(body, bytes) else body.encode())
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"].split(";")[0], answer.read().decode()

    status, _, line = post(log.submission(0, 5).text)
    assert status == 200
    assert Policy((log.key,), (witness.key,), 1).open(add_signatures(log.note(5), parse_signatures(line)))
    assert post(log.submission(0, 5).text) == (409, "text/x.tlog.size", "5\n")
    assert post(Submission(5, (), log.note(5, log.forked())).text)[0] == 409
    assert post(Submission(5, (), log.note(9)).text)[0] == 422
    assert post(Log().submission(5, 9).text)[0] == 403
    assert post(Log("other.example/log").submission(0, 9).text)[0] == 404
    assert post("old 0\nnonsense")[0] == 400
    assert post(log.submission(5, 9).text.replace("old 5", "old 10", 1))[0] == 400
    assert post("", "/elsewhere")[0] == 404
    assert post(b"x" * (MAX_SUBMISSION + 1))[0] == 400
    assert post(log.submission(5, 9).text)[0] == 200
    assert witness.find(ORIGIN).size == 9


def test_http_without_a_length_is_refused(connection: http.client.HTTPConnection) -> None:
    for length in ("-1", "x", "9" * 5000, "٣"):
        connection.putrequest("POST", "/add-checkpoint")
        connection.putheader("Content-Length", length.encode())
        connection.endheaders()
        assert connection.getresponse().status == 400
        connection.close()


def test_http_says_when_the_memory_cannot_be_written(
    connection: http.client.HTTPConnection, witness: Witness, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_: Submission) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(witness, "consider", locked)
    connection.request("POST", "/add-checkpoint", log.submission(0, 5).text.encode())
    assert connection.getresponse().status == 503


# By folder, and as a command


def write(folder: Path, submission: Submission) -> str:
    name = head_file(submission.head.size)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(submission.text)
    return name


def test_heads_in_a_folder_are_cosigned_in_order(
    witness: Witness, log: Log, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "heads" / "2026-1"
    names = [write(folder, log.submission(old, size)) for old, size in ((2, 5), (5, 11))]
    command = ["--home", str(home), "cosign", "--directory", str(tmp_path / "heads")]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{names[0]}: co-signed, 5 leaves\n{names[1]}: co-signed, 11 leaves\n"
    policy = Policy((log.key,), (witness.key,), 1)
    for name, size in zip(names, (5, 11), strict=True):
        lines = (folder / cosignature_file(name, witness.key.key_id)).read_text()
        assert policy.open(add_signatures(log.note(size), parse_signatures(lines)))
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    assert sorted(one.name for one in folder.iterdir()) == sorted(
        [*names, *(cosignature_file(name, witness.key.key_id) for name in names)]
    )
    (folder / cosignature_file(names[1], witness.key.key_id)).unlink()
    assert main(command) == 0
    assert capsys.readouterr().out == f"{names[1]}: co-signed, 11 leaves\n"


def test_a_log_that_shrank_or_was_rewritten_is_seen_in_the_folder(
    witness: Witness, log: Log, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    witness.consider(log.submission(0, 9))
    command = ["--home", str(home), "cosign", "--directory", str(tmp_path / "heads")]
    name = write(tmp_path / "heads", log.submission(0, 6))
    assert main(command) == 1
    assert capsys.readouterr().err == f"{ORIGIN}: HAS SHRUNK from 9 to 6: the log was rolled back or cut\n"
    split = write(tmp_path / "heads", Submission(6, (), log.note(9, log.forked())))
    assert main(command) == 1
    assert "the log has shown two histories" in capsys.readouterr().err
    write(tmp_path / "heads", log.submission(6, 9))
    later = write(tmp_path / "heads", log.submission(9, 12, log.forked()))
    assert main(command) == 1
    captured = capsys.readouterr()
    assert f"{later}: REFUSED, The proof does not lead" in captured.err
    assert captured.out == f"{split}: co-signed, 9 leaves\n"
    assert not (tmp_path / "heads" / cosignature_file(name, witness.key.key_id)).exists()
    assert (witness.find(ORIGIN).size, witness.find(ORIGIN).alarms) == (9, 1)


def test_what_is_no_head_in_the_folder_is_named(
    witness: Witness, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "heads"
    write(folder, Log("other.example/log").submission(0, 3))
    (folder / "head-x.txt").write_bytes(b"\xff")
    assert main(["--home", str(home), "cosign", "--directory", str(folder)]) == 1
    err = capsys.readouterr().err
    assert "head-x.txt: refused, it is not UTF-8" in err
    assert "other.example/log: This witness does not follow that log." in err
    assert main(["--home", str(home), "cosign", "--directory", str(tmp_path / "missing")]) == 2


def test_the_command_makes_and_shows_a_witness(home: Path, log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--home", str(home)]
    assert main([*command, "show"]) == 2
    assert main([*command, "init", "two words"]) == 2
    assert not home.exists()
    assert main([*command, "init", NAME]) == 0
    vkey = capsys.readouterr().out.strip()
    assert (read_vkey(vkey).name, read_vkey(vkey).kind) == (NAME, COSIGNS)
    assert main([*command, "init", NAME]) == 2
    assert main([*command, "add-log", "nonsense"]) == 2
    assert main([*command, "add-log", log.key.text]) == 0
    Witness(home, clock=lambda: NOW).consider(log.submission(0, 5))
    capsys.readouterr()
    assert main([*command, "show"]) == 0
    assert capsys.readouterr().out == (
        f"{vkey}\n{ORIGIN}: size 5, seen 2026-11-21T10:10:00+00:00, 0 refused, 0 alarms\n"
    )


def test_it_needs_only_the_standard_library_and_cryptography() -> None:
    program = (
        "import sys, json, agent_sessions.audit.witness;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules} & {'django', 'msgspec', 'rfc8785'})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
