"""Session stores of agent frameworks, each used as its documentation recommends, on the same server.

Each keeps the same state as the others. A write is what its framework does when a step of an agent has
changed one cart line; a read is what it does to go on with a session. A peer that is not installed is left
out and said so.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings

from benchmarks import workload
from benchmarks.measure import Contestant, run_async


@dataclass
class Peer:
    """An installed peer with a session of the wanted size."""

    name: str
    tables: tuple[str, ...]
    write: Contestant
    read: Contestant
    close: Callable[[], Any] = field(default=lambda: None)


LANGGRAPH, OPENAI, ADK = (
    "LangGraph PostgresSaver",
    "OpenAI Agents SQLAlchemySession",
    "ADK DatabaseSessionService",
)
DISTRIBUTIONS = {
    LANGGRAPH: "langgraph-checkpoint-postgres",
    OPENAI: "openai-agents",
    ADK: "google-adk",
}
WHAT_THEY_DO = {
    LANGGRAPH: (
        "put / get_tuple. A full copy of every changed channel per checkpoint, so any past state can be "
        "read. No compare-and-set (the last put wins), no audit chain; encryption is optional "
        "(EncryptedSerializer) and off here. Pipelined, prepared and binary, as from_conn_string sets it "
        "up. The put_writes that a running graph also makes are not counted."
    ),
    OPENAI: (
        "add_items of one item / get_items. A list of conversation items, a row each, with no state beside "
        "it. Locks the session's row; no compare-and-set for the caller, no versions, no audit chain; "
        "encryption is optional (EncryptedSession) and off here. asyncpg."
    ),
    ADK: (
        "append_event with a state delta / get_session. The event is a row and the whole state is "
        "rewritten. Locks the row and refuses a stale session object, which is a compare-and-set. Past "
        "states only by folding the events in one's own code; no audit chain, no encryption. asyncpg with "
        "pool_pre_ping, its default. The read is given num_recent_events=0: by default it loads every event "
        "too."
    ),
}


def installed() -> dict[str, str | None]:
    """Version of each peer, None where it is not installed."""
    found: dict[str, str | None] = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            found[name] = None
    return found


def peers(kb: int) -> Iterator[Peer]:
    """Open a session of that size with each installed peer."""
    makers: tuple[Callable[[int], Peer], ...] = (
        langgraph_whole,
        langgraph_by_slice,
        openai_agents,
        google_adk,
    )
    for make in makers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield make(kb)
        except ImportError as problem:
            if kb == workload.SIZES[0]:
                print(f"[{make.__name__}: not installed ({problem.name or problem})]", end=" ")


def server_url(scheme: str) -> str:
    """The benchmark's database as a URL, which is how the peers take it."""
    from urllib.parse import quote

    database = settings.DATABASES["default"]
    password = f":{quote(database['PASSWORD'])}" if database["PASSWORD"] else ""
    return (
        f"{scheme}://{quote(database['USER'])}{password}@{database['HOST']}:{database['PORT'] or 5432}"
        f"/{database['NAME']}"
    )


def langgraph_whole(kb: int) -> Peer:
    return _langgraph(f"{LANGGRAPH}, one channel", {"state": workload.state_of(kb)}, lambda values: values["state"])


def langgraph_by_slice(kb: int) -> Peer:
    return _langgraph(f"{LANGGRAPH}, a channel per slice", workload.state_of(kb), lambda values: values)


def _langgraph(name: str, values: dict[str, Any], state_in: Callable[[dict[str, Any]], workload.State]) -> Peer:
    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.base.id import uuid6
    from langgraph.checkpoint.postgres import PostgresSaver

    opened = PostgresSaver.from_conn_string(server_url("postgresql"))
    saver = opened.__enter__()
    saver.setup()
    thread = {"configurable": {"thread_id": str(uuid.uuid4()), "checkpoint_ns": ""}}
    lines = state_in(values)["shopping"]["lines"]
    changes = workload.changes(state_in(values))
    versions = {channel: saver.get_next_version(None, None) for channel in values}
    checkpoint = {**empty_checkpoint(), "channel_values": values, "channel_versions": versions}
    config = saver.put(thread, checkpoint, {"source": "input", "step": -1, "parents": {}}, versions)
    changed = next(channel for channel in values if channel in ("state", "shopping"))
    step = 0

    def write() -> None:
        nonlocal config, step
        key, line = next(changes)
        lines[key] = line
        step += 1
        versions[changed] = saver.get_next_version(versions[changed], None)
        new = {
            **checkpoint,
            "id": str(uuid6(clock_seq=step)),
            "channel_versions": versions,
            "updated_channels": [changed],
        }
        metadata: Any = {"source": "loop", "step": step, "parents": {}}
        config = saver.put(config, new, metadata, {changed: versions[changed]})

    def read() -> None:
        assert saver.get_tuple(thread) is not None

    return Peer(
        name,
        ("checkpoint%",),
        Contestant(name, write),
        Contestant(name, read),
        lambda: opened.__exit__(None, None, None),
    )


def openai_agents(kb: int) -> Peer:
    from agents.extensions.memory import SQLAlchemySession

    session = SQLAlchemySession.from_url(str(uuid.uuid4()), url=server_url("postgresql+asyncpg"), create_tables=True)
    state = workload.state_of(kb)
    changes = workload.changes(state)

    def item(key: str, value: Any) -> Any:
        return {"role": "assistant", "content": json.dumps({key: value})}

    items = [item(key, value) for part in state.values() for each in part.values() for key, value in each.items()]
    run_async(session.add_items(items))

    async def write() -> None:
        await session.add_items([item(*next(changes))])

    async def read() -> None:
        # As many items as the state has parts: what was added while measuring must not make the read longer.
        assert len(await session.get_items(len(items))) == len(items)

    return Peer(
        OPENAI,
        ("agent\\_sessions", "agent\\_messages"),
        Contestant(OPENAI, write),
        Contestant(OPENAI, read),
        lambda: run_async(session._engine.dispose()),
    )


def google_adk(kb: int) -> Peer:
    from google.adk.events import Event, EventActions
    from google.adk.sessions import DatabaseSessionService
    from google.adk.sessions.base_session_service import GetSessionConfig

    service = DatabaseSessionService(server_url("postgresql+asyncpg"))
    state = workload.state_of(kb)
    changes = workload.changes(state)
    # ADK merges a delta by top-level key, so its users keep a flat state.
    flat = {key: value for part in state.values() for each in part.values() for key, value in each.items()}
    place = {"app_name": "bench", "user_id": "u1", "session_id": str(uuid.uuid4())}
    session = run_async(service.create_session(**place, state=flat))

    async def write() -> None:
        key, line = next(changes)
        event = Event(author="agent", invocation_id="i1", actions=EventActions(state_delta={key: line}))
        await service.append_event(session, event)

    async def read() -> None:
        assert await service.get_session(**place, config=GetSessionConfig(num_recent_events=0)) is not None

    return Peer(
        ADK,
        ("sessions", "events", "app\\_states", "user\\_states"),
        Contestant(ADK, write),
        Contestant(ADK, read),
        lambda: run_async(service.close()),
    )
