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
from pathlib import Path
from typing import Any

import psycopg
import pytest

PATIENCE = 60
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
    if config is None:
        pytest.skip("pg_config is not installed, so there is no telling where the PostgreSQL server is")
    folder = Path(subprocess.check_output([config, "--bindir"], text=True).strip())
    if not (folder / "initdb").exists():
        pytest.skip(f"{folder} has no initdb: only a PostgreSQL client is installed")
    return folder


class Cluster:
    """A new server in a temporary folder, gone after the block."""

    def __init__(self) -> None:
        self._binaries = server_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="agent-sessions-cluster-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgres://postgres@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Cluster:
        try:
            self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(PATIENCE)
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server and wait until it has recovered and answers."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self._port), *settings],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **self._user,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._server.poll() is None, f"The server does not start:\n{self.log()}"
            assert time.monotonic() < deadline, f"The server does not recover:\n{self.log()}"
            time.sleep(0.01)

    def stop_immediately(self) -> None:
        """Stop without a checkpoint and without a word to anyone, as if the power had failed for the server."""
        assert self._server is not None
        self._run("pg_ctl", "stop", "--mode=immediate", "--no-wait")
        self._server.wait(PATIENCE)

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url.replace("postgres://", "postgresql://"), connect_timeout=PATIENCE).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / program, "--pgdata", self._data, *arguments],
            cwd=self._folder,
            check=True,
            timeout=PATIENCE,
            stdout=subprocess.DEVNULL,
            **self._user,
        )
