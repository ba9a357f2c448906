"""Every read. These names are the public surface; see docs/python.md."""

from agent_sessions.selectors._heads import (
    SessionHead,
    authenticate,
    authenticate_repeat,
    get_session,
    read_head,
    session_of_token,
)
from agent_sessions.selectors.approvals import (
    ApprovalView,
    approval_by_token,
    approvals_of,
    cart_of_approval,
    count_lapsed_approvals,
    get_approval,
    waiting_approval,
)
from agent_sessions.selectors.audit import DISCLOSURES, events, private_values
from agent_sessions.selectors.branches import FamilyMember, compare_sessions, family, relatives
from agent_sessions.selectors.checkpoints import CheckpointInfo, checkpoints, count_unknown_outcomes, next_step
from agent_sessions.selectors.conversation import Ancestor, Found, ancestors, search_messages
from agent_sessions.selectors.erasures import ErasedNote, erased
from agent_sessions.selectors.evidence import Subject, evidence
from agent_sessions.selectors.handoffs import (
    get_handoff,
    handoff_by_token,
    handoff_of_request,
    handoff_to_resend,
    remember_handoff,
)
from agent_sessions.selectors.history import (
    StateView,
    Turn,
    VersionInfo,
    compare,
    current_state,
    messages,
    state_at_time,
    state_at_version,
    versions,
    was_committed,
)
from agent_sessions.selectors.in_progress import (
    AskedConfirmation,
    Device,
    InProgress,
    confirmations_asked,
    count_in_progress,
    in_progress,
    other_devices,
)
from agent_sessions.selectors.legal_holds import HoldView, get_hold, holds_on, legal_holds
from agent_sessions.selectors.log import (
    LogKey,
    LogState,
    log_consistency,
    log_inclusion,
    log_keys,
    log_state,
    tree_head,
)
from agent_sessions.selectors.master_keys import (
    Dependents,
    KeyEpoch,
    dependents_of,
    key_epochs,
)
from agent_sessions.selectors.overview import SessionOverview, overview
from agent_sessions.selectors.receipts import Receipt, check_receipt, get_receipt, overdue_erasures
from agent_sessions.selectors.requests import RequestSession, sessions_of_request
from agent_sessions.selectors.retention import (
    Earliest,
    Latest,
    RuleState,
    earliest_erasure,
    latest_erasure,
    retention_rules,
)
from agent_sessions.selectors.reveals import Reveal, reveals
from agent_sessions.selectors.selection import Selection, selected_sessions
from agent_sessions.selectors.sessions import DueSessions, due_sessions, session_ids
from agent_sessions.selectors.staleness import count_open_changes
from agent_sessions.selectors.stock import ItemStock, count_due_holds, held_by, held_by_others, stock_of
from agent_sessions.selectors.verification import SessionReport, verify_session

__all__ = [
    "DISCLOSURES",
    "Ancestor",
    "ApprovalView",
    "AskedConfirmation",
    "CheckpointInfo",
    "Dependents",
    "Device",
    "DueSessions",
    "Earliest",
    "ErasedNote",
    "FamilyMember",
    "Found",
    "HoldView",
    "InProgress",
    "ItemStock",
    "KeyEpoch",
    "Latest",
    "LogKey",
    "LogState",
    "Receipt",
    "RequestSession",
    "Reveal",
    "RuleState",
    "Selection",
    "SessionHead",
    "SessionOverview",
    "SessionReport",
    "StateView",
    "Subject",
    "Turn",
    "VersionInfo",
    "ancestors",
    "approval_by_token",
    "approvals_of",
    "authenticate",
    "authenticate_repeat",
    "cart_of_approval",
    "check_receipt",
    "checkpoints",
    "compare",
    "compare_sessions",
    "confirmations_asked",
    "count_due_holds",
    "count_in_progress",
    "count_lapsed_approvals",
    "count_open_changes",
    "count_unknown_outcomes",
    "current_state",
    "dependents_of",
    "due_sessions",
    "earliest_erasure",
    "erased",
    "events",
    "evidence",
    "family",
    "get_approval",
    "get_handoff",
    "get_hold",
    "get_receipt",
    "get_session",
    "handoff_by_token",
    "handoff_of_request",
    "handoff_to_resend",
    "held_by",
    "held_by_others",
    "holds_on",
    "in_progress",
    "key_epochs",
    "latest_erasure",
    "legal_holds",
    "log_consistency",
    "log_inclusion",
    "log_keys",
    "log_state",
    "messages",
    "next_step",
    "other_devices",
    "overdue_erasures",
    "overview",
    "private_values",
    "read_head",
    "relatives",
    "remember_handoff",
    "retention_rules",
    "reveals",
    "search_messages",
    "selected_sessions",
    "session_ids",
    "session_of_token",
    "sessions_of_request",
    "state_at_time",
    "state_at_version",
    "stock_of",
    "tree_head",
    "verify_session",
    "versions",
    "waiting_approval",
    "was_committed",
]
