"""A PostgreSQL server of the test's own, to be stopped in the middle of whatever it does."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

PATIENCE = 60
_NOT_GONE = "is still in use"
"""What a new server says of the shared memory of processes that have been killed and are not gone yet."""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "4MB",  # so that pages are written all the time
    "max_wal_size": "32MB",  # and checkpoints come often
    "max_connections": "20",
}


def server_binaries() -> Path:
    """The folder of initdb and postgres. Skips the test where no server is installed, only a client."""
    config = shutil.which("pg_config")
    named = [] if config is None else [Path(subprocess.check_output([config, "--bindir"], text=True).strip())]
    for folder in [*named, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]:
        if (folder / "initdb").exists():
            return folder
    pytest.skip("no PostgreSQL server is installed: neither pg_config nor /usr/lib/postgresql leads to an initdb")


class Cluster:
    """A server in a temporary folder, gone after the block: a new one, or one that goes on from the files in ``copy``.

    ``settings`` are options of PostgreSQL's besides those that every server here has.
    """

    def __init__(self, *, copy: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self._copy = copy
        self._settings = {**_SETTINGS, **(settings or {})}
        self._binaries = server_binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="agent-sessions-cluster-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._server: subprocess.Popen[bytes] | None = None
        # What is acknowledged here is on the disk, whatever the settings of the tests say.
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres?options=-c%20synchronous_commit%3Don"
        self._dsn = self.url.replace("postgres://", "postgresql://")

    def __enter__(self) -> Cluster:
        try:
            if self._copy is None:
                new = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
                self._run("initdb", *new)
            else:
                subprocess.run(["cp", "-a", self._copy, self._data], check=True, timeout=PATIENCE)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(PATIENCE)
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start the server and wait until it has recovered and answers."""
        self._server = self._launch()
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, f"The server does not recover:\n{self.log()}"
            if self._server.poll() is not None:
                assert self.log().rstrip().rpartition("\n")[0].endswith(_NOT_GONE), f"It does not start:\n{self.log()}"
                self._server = self._launch()
            time.sleep(0.01)

    def stop_immediately(self) -> None:
        """Stop without a checkpoint and without a word to anyone, as if the power had failed for the server."""
        assert self._server is not None
        self._run("pg_ctl", "stop", "--mode=immediate", "--no-wait")
        self._server.wait(PATIENCE)

    def stop(self) -> None:
        """Stop as one stops a server: everything is written, and archived where that is set up."""
        assert self._server is not None
        self._run("pg_ctl", "stop", "--mode=fast", "--no-wait")
        self._server.wait(PATIENCE)

    def base_backup(self) -> Path:
        """Take a base backup with the WAL that it needs; return its folder, inside the server's own."""
        target = self.folder / "backup"
        command = [self._binaries / "pg_basebackup", "-D", target, "--checkpoint=fast", "--no-sync", "-d", self._dsn]
        subprocess.run(command, cwd=self.folder, check=True, timeout=PATIENCE, **self._user)
        return target

    def kill(self) -> None:
        """Kill every process of the server, as running out of memory may."""
        assert self._server is not None
        with psycopg.connect(self._dsn) as asking:
            processes = [pid for (pid,) in asking.execute("SELECT pid FROM pg_stat_activity")]
        self._server.kill()
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait(PATIENCE)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *settings],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._user,
            )

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn, connect_timeout=PATIENCE).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, "--pgdata", self._data, *arguments],
            cwd=self.folder,
            check=True,
            timeout=PATIENCE,
            stdout=subprocess.DEVNULL,
            **self._user,
        )
