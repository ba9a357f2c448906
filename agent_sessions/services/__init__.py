"""Every change. These names are the public surface; see docs/python.md."""

from agent_sessions.services._commit import Committed
from agent_sessions.services._opening import OpenedSession
from agent_sessions.services.artifacts import get_artifact, seal_artifact
from agent_sessions.services.calls import Answer, call_capability
from agent_sessions.services.conversation import Added, add_message
from agent_sessions.services.expiry import Expired, end_revoked_sessions, expire_sessions, revoke_all_sessions
from agent_sessions.services.handoffs import complete_handoff, note_handoff_opened
from agent_sessions.services.idempotency import Claim, claim_key, purge_idempotency_records, run_once
from agent_sessions.services.integrity import quarantine_damaged, release_session, repair_session
from agent_sessions.services.keys import (
    SigningKey,
    caller_pseudonym,
    consumer_pseudonym,
    rotate_signing_key,
    signing_keys,
)
from agent_sessions.services.sessions import (
    change_session,
    end_session,
    expire_session,
    open_session,
    record_event,
)
from agent_sessions.services.variables import Written, write_variables

__all__ = [
    "Added",
    "Answer",
    "Claim",
    "Committed",
    "Expired",
    "OpenedSession",
    "SigningKey",
    "Written",
    "add_message",
    "call_capability",
    "caller_pseudonym",
    "change_session",
    "claim_key",
    "complete_handoff",
    "consumer_pseudonym",
    "end_revoked_sessions",
    "end_session",
    "expire_session",
    "expire_sessions",
    "get_artifact",
    "note_handoff_opened",
    "open_session",
    "purge_idempotency_records",
    "quarantine_damaged",
    "record_event",
    "release_session",
    "repair_session",
    "revoke_all_sessions",
    "rotate_signing_key",
    "run_once",
    "seal_artifact",
    "signing_keys",
    "write_variables",
]
