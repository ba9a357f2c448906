"""Every change. These names are the public surface; see docs/python.md."""

from agent_sessions.services._commit import Committed
from agent_sessions.services._opening import OpenedSession
from agent_sessions.services.answers import (
    escalate_approval,
    expire_approvals,
    grant_approval,
    note_approval_opened,
    refuse_answer,
    reject_approval,
)
from agent_sessions.services.approvals import Requested, request_approval
from agent_sessions.services.artifacts import get_artifact, seal_artifact
from agent_sessions.services.branches import fork_session
from agent_sessions.services.bundles import Bundle, export_evidence, select_evidence, write_bundle
from agent_sessions.services.calls import Answer, call_capability
from agent_sessions.services.checkpoints import (
    RunningStep,
    StepFailed,
    finish_step,
    start_step,
    step,
    step_key,
)
from agent_sessions.services.committing import RolledBack, commit_session, rollback_session
from agent_sessions.services.confirmations import answer_confirmation, confirm_devices, give_up_checkout
from agent_sessions.services.consumers import (
    ConsumerAssertion,
    KnownConsumer,
    assert_consumer,
    find_consumer,
    finds_customers,
    read_consumer,
)
from agent_sessions.services.conversation import Added, add_message
from agent_sessions.services.documents import Imported, export_state, import_state
from agent_sessions.services.endpoints import note_endpoint_failure, note_endpoint_success
from agent_sessions.services.erasing import purge_session
from agent_sessions.services.erasure import erase_consumer, finish_erasures
from agent_sessions.services.evidence import EvidenceFile, evidence_bytes, get_evidence, open_evidence
from agent_sessions.services.expiry import Expired, end_revoked_sessions, expire_sessions, revoke_all_sessions
from agent_sessions.services.facts import learn_fact
from agent_sessions.services.handoffs import Resent, complete_handoff, note_handoff_opened, resend_handoff
from agent_sessions.services.holding import hand_over, take_back
from agent_sessions.services.holds import Held, lock_held_items, place_hold
from agent_sessions.services.idempotency import Claim, claim_key, purge_idempotency_records, run_once
from agent_sessions.services.integrity import quarantine_damaged, release_session, repair_session
from agent_sessions.services.key_rotation import Rewrapped, rewrap
from agent_sessions.services.keys import (
    SigningKey,
    caller_pseudonym,
    consumer_pseudonym,
    rotate_signing_key,
    signing_keys,
)
from agent_sessions.services.legal_holds import lift_hold as lift_legal_hold
from agent_sessions.services.legal_holds import place_hold as place_legal_hold
from agent_sessions.services.legal_holds import remind_of_reviews
from agent_sessions.services.legal_holds import review_hold as review_legal_hold
from agent_sessions.services.locking import locked_session
from agent_sessions.services.log_generations import begin_log_generation
from agent_sessions.services.log_keys import rotate_log_key
from agent_sessions.services.marking import Marked, mark_stale
from agent_sessions.services.master_keys import (
    DestroyedMasterKey,
    activate_master_key,
    destroy_master_key,
    make_master_key,
    note_active_master_key,
)
from agent_sessions.services.pausing import pause_session, resume_session
from agent_sessions.services.releasing import Released, release_expired_holds, release_holds
from agent_sessions.services.retention import PurgeReport, RuleReport, purge
from agent_sessions.services.revealing import mask_content, note_download, reveal_content
from agent_sessions.services.security_events import SecurityReport, answer_security_event, resume_security_event
from agent_sessions.services.sequencing import Sequenced, sequence_log
from agent_sessions.services.sessions import (
    change_session,
    end_session,
    expire_session,
    open_session,
    record_event,
)
from agent_sessions.services.staff import add_note, note_refused_action
from agent_sessions.services.staleness import Revalidated, report_change, revalidate
from agent_sessions.services.succession import Renewed, renew_session
from agent_sessions.services.transfers import Grant, Transferred, accept_transfer, grant_transfer
from agent_sessions.services.unknown_steps import resolve_unknown_steps
from agent_sessions.services.variables import Written, write_variables

__all__ = [
    "Added",
    "Answer",
    "Bundle",
    "Claim",
    "Committed",
    "ConsumerAssertion",
    "DestroyedMasterKey",
    "EvidenceFile",
    "Expired",
    "Grant",
    "Held",
    "Imported",
    "KnownConsumer",
    "Marked",
    "OpenedSession",
    "PurgeReport",
    "Released",
    "Renewed",
    "Requested",
    "Resent",
    "Revalidated",
    "Rewrapped",
    "RolledBack",
    "RuleReport",
    "RunningStep",
    "SecurityReport",
    "Sequenced",
    "SigningKey",
    "StepFailed",
    "Transferred",
    "Written",
    "accept_transfer",
    "activate_master_key",
    "add_message",
    "add_note",
    "answer_confirmation",
    "answer_security_event",
    "assert_consumer",
    "begin_log_generation",
    "call_capability",
    "caller_pseudonym",
    "change_session",
    "claim_key",
    "commit_session",
    "complete_handoff",
    "confirm_devices",
    "consumer_pseudonym",
    "destroy_master_key",
    "end_revoked_sessions",
    "end_session",
    "erase_consumer",
    "escalate_approval",
    "evidence_bytes",
    "expire_approvals",
    "expire_session",
    "expire_sessions",
    "export_evidence",
    "export_state",
    "find_consumer",
    "finds_customers",
    "finish_erasures",
    "finish_step",
    "fork_session",
    "get_artifact",
    "get_evidence",
    "give_up_checkout",
    "grant_approval",
    "grant_transfer",
    "hand_over",
    "import_state",
    "learn_fact",
    "lift_legal_hold",
    "lock_held_items",
    "locked_session",
    "make_master_key",
    "mark_stale",
    "mask_content",
    "note_active_master_key",
    "note_approval_opened",
    "note_download",
    "note_endpoint_failure",
    "note_endpoint_success",
    "note_handoff_opened",
    "note_refused_action",
    "open_evidence",
    "open_session",
    "pause_session",
    "place_hold",
    "place_legal_hold",
    "purge",
    "purge_idempotency_records",
    "purge_session",
    "quarantine_damaged",
    "read_consumer",
    "record_event",
    "refuse_answer",
    "reject_approval",
    "release_expired_holds",
    "release_holds",
    "release_session",
    "remind_of_reviews",
    "renew_session",
    "repair_session",
    "report_change",
    "request_approval",
    "resend_handoff",
    "resolve_unknown_steps",
    "resume_security_event",
    "resume_session",
    "revalidate",
    "reveal_content",
    "review_legal_hold",
    "revoke_all_sessions",
    "rewrap",
    "rollback_session",
    "rotate_log_key",
    "rotate_signing_key",
    "run_once",
    "seal_artifact",
    "select_evidence",
    "sequence_log",
    "signing_keys",
    "start_step",
    "step",
    "step_key",
    "take_back",
    "write_bundle",
    "write_variables",
]
