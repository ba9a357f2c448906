"""A shop with a log, an auditor who keeps heads and an artifact, and a witness: who of them finds what?"""

from __future__ import annotations

import functools
import inspect
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agent_sessions import services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witness import cosign_folder
from agent_sessions.audit.witnessing import Witness
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.calls import Call
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import AgentSessionsError
from agent_sessions.selectors.log import log_keys
from agent_sessions.services.sequencing import sequence_log
from tests.conftest import SHOPPING_AGENT
from tests.management.running import run
from tests.shopping import variables


@dataclass(frozen=True)
class Found:
    """Who finds an attack: the check of the database by itself, who holds the artifact that was given out before,
    ``audit_fsck`` with the auditor's heads, and the witness at the shop's next head.
    """

    chain: bool = False
    artifact: bool = False
    fsck: bool = False
    witness: bool = False


EXPECTED: dict[str, Found] = {}
"""Who finds what, by the names of the tests."""


def found_by(fixture: str = "shop", **who: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let everybody look after a test's attack: those named find it, and no one else does."""

    def decorate(attack: Callable[..., None]) -> Callable[..., None]:
        EXPECTED[attack.__name__] = Found(**who)

        @functools.wraps(attack)
        def run(**fixtures: Any) -> None:
            attack(**fixtures)
            assert fixtures[fixture].found() == EXPECTED[attack.__name__]

        assert fixture in inspect.signature(attack).parameters
        return run

    return decorate


@dataclass(frozen=True)
class Shop:
    """``ended`` was given out as an artifact (events 1 to 6, the end is 6), ``live`` goes on (events 1 to 5).

    All is in the log, ``heads`` is the auditor's copy of what the shop's sink has ``exported`` by then.
    """

    ended: UUID
    live: UUID
    exported: Path
    heads: Path
    artifact: bytes
    site_key: bytes
    log_key: str
    witness: Witness

    def found(self) -> Found:
        """Let everybody look; the shop's next head goes out before the witness does."""
        chain, artifact, fsck = self._chain(), self._artifact(), bool(self.codes())
        return Found(chain, artifact, fsck, self._witness())

    def codes(self, *, with_heads: bool = True) -> set[str]:
        """The codes of what ``audit_fsck`` finds with the auditor's key, and with the auditor's heads or with none."""
        options = ["--heads", str(self.heads)] if with_heads else []
        ran = run("audit_fsck", "--log-key", self.log_key, "--no-sinks", *options)
        codes = {line.rpartition("[")[2].rstrip("]") for line in ran.out.splitlines() if line.endswith("]")}
        assert ran.status == (1 if codes else 0), ran.out
        return codes

    def goes_on(self) -> None:
        """Let another day pass: the auditor and the witness get their heads."""
        sequence_log()
        assert cosign_folder(self.witness, self.exported) == 0
        shutil.copytree(self.exported, self.heads, dirs_exist_ok=True)

    def _chain(self) -> bool:
        return run("verify_sessions", "--dry-run").status == 1

    def _artifact(self) -> bool:
        """Ask for the artifact once more: it has to be there, good, and of the same events."""
        try:
            now = services.get_artifact(self.ended)
        except AgentSessionsError:
            return True
        verdict, before = verify_artifact(now, [self.site_key]), verify_artifact(self.artifact, [self.site_key])
        assert before.ok, "what was given out stays good"
        return not verdict.ok or _root(now) != _root(self.artifact)

    def _witness(self) -> bool:
        """Let the shop go on, and the witness look at what it exports."""
        services.open_session(agent=SHOPPING_AGENT)
        sequence_log()
        return cosign_folder(self.witness, self.exported) == 1


def _root(artifact: bytes) -> bytes:
    _, _, after = artifact.partition(b'"root_hash":"')
    return after[:64]


@pytest.fixture
def shop(opened: Callable[..., Any], configure: Callable[..., None], tmp_path: Path) -> Shop:
    exported, heads, home = tmp_path / "exported", tmp_path / "heads", tmp_path / "witness"
    exported.mkdir()
    configure(LOG_SINKS=[{"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": str(exported)}])
    bought, looking = opened(purpose="find a mug"), opened()
    for one in (bought.session_id, looking.session_id):
        services.change_session(one, expected_version=1, patch=variables(a=1))
        for kind in ("item.viewed", "item.compared", "cart.viewed"):
            services.record_event(one, kind=kind, call=Call("browse"))
    sequence_log()
    services.end_session(bought.session_id, reason=EndReason.COMPLETED)
    sequence_log()
    Witness.create(home, "witness.example/w1")
    witness, key = Witness(home), log_keys()[0].vkey
    witness.add_log(read_vkey(key))
    site_key = read_public_key(services.signing_keys()[0].public_key)
    artifact = services.get_artifact(bought.session_id)
    made = Shop(bought.session_id, looking.session_id, exported, heads, artifact, site_key, key, witness)
    made.goes_on()
    return made
