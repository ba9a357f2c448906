"""Where tree heads go so that they outlive the database: sinks (A4). ``LOG_SINKS`` names them."""

from agent_sessions.sinks.base import OtherHeadKept, Sink, SinkBehind, SinkFailed
from agent_sessions.sinks.configured import configured_sinks, sinks_needed, witness_keys
from agent_sessions.sinks.directory import DirectorySink
from agent_sessions.sinks.http import HttpSink
from agent_sessions.sinks.storage import StorageSink
from agent_sessions.sinks.witness import WitnessSink

__all__ = [
    "DirectorySink",
    "HttpSink",
    "OtherHeadKept",
    "Sink",
    "SinkBehind",
    "SinkFailed",
    "StorageSink",
    "WitnessSink",
    "configured_sinks",
    "sinks_needed",
    "witness_keys",
]
