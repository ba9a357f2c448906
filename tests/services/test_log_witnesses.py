"""Witnesses co-sign tree heads (A4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.notes import Policy, open_checkpoint
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.audit.witness import cosign_folder
from agent_sessions.audit.witnessing import Witness
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.models import LogGeneration, TreeHead
from tests.sequenced import DISK, backup
from tests.services.exporting import ORIGIN, errors, follow, nothing_fails_yet, witness, witnessed

pytestmark = pytest.mark.django_db
__all__ = ["nothing_fails_yet", "witness", "witnessed"]


def test_a_witness_co_signs_and_artifacts_say_so(ended: Any, witness: Witness, witnessed: Any, opened: Any) -> None:
    """A4: a quorum of witnesses can be asked for."""
    services.sequence_log()
    assert TreeHead.objects.get().exported_to == ["disk"]  # the witness does not follow the log yet
    follow(witness)
    opened()
    assert services.sequence_log().counted == 3
    assert services.sequence_log().counted == 4

    keys = [read_public_key(one.public_key) for one in services.signing_keys()]
    policy = Policy(tuple(read_vkey(one.vkey) for one in selectors.log_keys()), (witness.key,), quorum=1)
    found = verify_artifact(services.get_artifact(ended.session_id), keys, log=LogTrust(policy, required=True))
    assert found.ok
    assert found.logged is not None
    assert [name for name, _ in found.logged.witnesses] == ["witness.example/w1"]


def test_while_the_witness_is_out_of_reach_the_head_waits(
    opened: Any, witness: Witness, witnessed: Any, configure: Any, settings: Any, caplog: Any
) -> None:
    services.sequence_log()
    follow(witness)
    services.sequence_log()
    sinks = settings.AGENT_SESSIONS["LOG_SINKS"]
    witnessed()
    opened()
    assert [services.sequence_log().waiting for _ in range(2)] == [1, 1]
    assert TreeHead.objects.get(size=3).exported_to == ["disk"]
    assert len(errors(caplog)) == 2  # it did not follow the log, and it is out of reach

    configure(LOG_SINKS=sinks)
    assert services.sequence_log().counted == 3
    assert witness.find(ORIGIN).size == 3
    assert witness.find(ORIGIN).refusals == 0


def test_a_witness_that_missed_heads_gets_the_proof_from_where_it_is(
    opened: Any, witness: Witness, witnessed: Any, configure: Any
) -> None:
    configure(LOG_SINKS_NEEDED=1)
    services.sequence_log()
    follow(witness)
    for _ in range(3):
        services.sequence_log()
        opened()
    TreeHead.objects.update(exported_to=["disk"])  # as if its answers had been lost
    opened()

    services.sequence_log()

    newest = TreeHead.objects.order_by("-size")[0]
    assert newest.exported_to == ["disk", "w1"]
    assert witness.find(ORIGIN).size == newest.size


def test_a_witness_that_knows_another_history_makes_the_log_begin_again(
    opened: Any, witness: Witness, witnessed: Any, caplog: Any
) -> None:
    """A4: a witness cannot be asked before; what it refuses never counts."""
    services.sequence_log()
    follow(witness)
    services.sequence_log()
    restore = backup()
    opened()
    services.sequence_log()
    restore()
    _forget(Path(witness._state).parent.parent / "heads")
    opened()

    services.sequence_log()

    assert LogGeneration.objects.get(closed_at=None).number == 2
    assert "a new generation of the log has to begin" in errors(caplog)[-1]
    assert TreeHead.objects.get(size=3).exported_at is None
    assert witness.find(ORIGIN).alarms == 1


def _forget(folder: Path) -> None:
    """Whoever restored the database restored the directory too."""
    for file in sorted(folder.rglob("head-*.txt"))[1:]:
        file.unlink()


def test_cosignatures_that_come_beside_the_heads_are_taken_with_the_next_run(
    ended: Any, opened: Any, witness: Witness, configure: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "heads"
    folder.mkdir()
    configure(LOG_SINKS=[{"name": "disk", "class": DISK, "directory": folder, "witnesses": [witness.key.text]}])
    services.sequence_log()
    follow(witness)
    assert cosign_folder(witness, folder) == 0
    services.sequence_log()
    opened()
    services.sequence_log()

    # The newest head has none yet, and an artifact carries one that has.
    document = json.loads(services.get_artifact(ended.session_id))
    keys = [read_vkey(selectors.log_keys()[0].vkey), witness.key]
    found = open_checkpoint(document["inclusion"]["checkpoint"], keys)
    assert found.checkpoint.size == TreeHead.objects.order_by("size")[0].size
    assert [key for key, _ in found.cosigned] == [witness.key]


def test_a_witness_goes_on_through_rotations(opened: Any, witness: Witness, witnessed: Any) -> None:
    """A4: it has from one rotation to the next to take the new key over."""
    services.sequence_log()
    follow(witness)
    services.sequence_log()
    services.rotate_log_key()
    assert services.sequence_log().waiting == 0
    follow(witness)
    services.rotate_log_key()
    done = services.sequence_log()

    assert done.waiting == 0
    assert witness.find(ORIGIN).size == done.size
    assert witness.find(ORIGIN).refusals == 0
