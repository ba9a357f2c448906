"""Make the golden artifacts and log that went through a database: ``python -m tests.golden.make_database``.

Everything is done as a shop does it: sessions, the sequencer, a sink, a witness beside it, an erasure. Keys and times
are new with every run. So these files are made once by a version and kept: what it gave out has to verify for ever.
Make them anew, beside the old ones, when the format gets a new type.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "database"
WITNESS = "witness.example/golden"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["DATABASE_URL"] = f"sqlite:///{folder}/golden.sqlite3"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        for name, content in database_goldens(Path(folder)).items():
            (OUT / name).parent.mkdir(parents=True, exist_ok=True)
            (OUT / name).write_bytes(content)
            sys.stdout.write(f"{name}: {len(content)} bytes\n")


def database_goldens(folder: Path) -> dict[str, bytes]:
    """Every file by its name; ``folder`` is for the sink and the witness."""
    import agent_sessions
    from agent_sessions import services
    from agent_sessions.audit.vkeys import read_vkey
    from agent_sessions.audit.witness import cosign_folder
    from agent_sessions.audit.witnessing import Witness
    from agent_sessions.domain.identity import SYSTEM
    from agent_sessions.selectors.log import log_keys, tree_head
    from agent_sessions.services.sequencing import sequence_log

    exported = folder / "heads"
    exported.mkdir()
    witness = Witness.create(folder / "witness", WITNESS)
    _configure(exported, witness.key.text)
    bought, erased, looking = _open("Zoë"), _open("Ana"), _open("Zoë")
    services.end_session(erased)
    sequence_log()
    witness.add_log(read_vkey(log_keys()[0].vkey))
    _buy(bought)
    services.erase_consumer("Ana", actor=SYSTEM)
    sequence_log()
    services.record_event(looking, kind="cart.viewed")
    if cosign_folder(witness, exported):
        raise SystemExit("the witness found the heads inconsistent")
    sequence_log()
    cosign_folder(witness, exported)
    sequence_log()  # takes the last cosignature
    heads = sorted(exported.rglob("head-*.txt"))
    return {
        "made-by.txt": f"agent-sessions {agent_sessions.__version__}\n".encode(),
        "site-key.txt": services.signing_keys()[0].public_key.encode() + b"\n",
        "log-key.txt": log_keys()[0].vkey.encode() + b"\n",
        "witness-key.txt": witness.key.text.encode() + b"\n",
        "leaves.jsonl": _leaves(),
        "newest-head.txt": tree_head().encode(),
        "bought.json": services.get_artifact(bought, disclose="all"),
        "erased.json": services.get_artifact(erased),
        **{f"heads/{one.name}": one.read_bytes() for one in heads},
    }


def _configure(exported: Path, witness: str) -> None:
    from django.conf import settings

    sink = {"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": str(exported)}
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "LOG_SINKS": [{**sink, "witnesses": [witness]}]}


def _open(consumer: str) -> Any:
    from agent_sessions import services
    from agent_sessions.domain.identity import Agent

    pseudonym = services.consumer_pseudonym(consumer)
    agent = Agent("Shopping helper", "2.1", "Agentur Müller")
    return services.open_session(agent=agent, purpose=f"Find a mug for {consumer} ☕", consumer=pseudonym).session_id


def _buy(session: Any) -> None:
    from agent_sessions import services
    from agent_sessions.domain.calls import Call
    from agent_sessions.domain.lifecycle import EndReason

    line: dict[str, Any] = {"item": "mug-7", "quantity": 2, "unit_price": 1250, "currency": "EUR"}
    services.change_session(session, expected_version=1, patch={"shopping": {"lines": {"l1": line}}}, note="two of it")
    services.add_message(session, role="user", content="In blue, please.")
    services.record_event(session, kind="cart.viewed", call=Call("cart.view", private={"email": "zoe@example.org"}))
    services.end_session(session, reason=EndReason.COMPLETED)


def _leaves() -> bytes:
    """The leaves' bytes, a line each, as whoever reads the whole log gets them."""
    from agent_sessions.audit.leaf import session_leaf, site_leaf
    from agent_sessions.models import LogLeaf

    written = []
    for leaf in LogLeaf.objects.select_related("generation").order_by("index"):
        log, seq, head = leaf.generation.origin, leaf.seq or 0, bytes(leaf.head or b"").hex()
        if leaf.kind == LogLeaf.Kind.SESSION:
            written.append(session_leaf(log=log, session=str(leaf.session), seq=seq, head=head))
        elif leaf.kind == LogLeaf.Kind.SITE:
            written.append(site_leaf(log=log, seq=seq, head=head))
        else:
            written.append(bytes(leaf.data or b""))
    return b"".join(one + b"\n" for one in written)


if __name__ == "__main__":
    main()
