from agent_sessions.models.approvals import Approval, TransferGrant
from agent_sessions.models.handoff import Caller, CheckoutHandoff, DeviceConfirmation
from agent_sessions.models.history import Artifact, AuditEvent, Checkpoint, Message, SessionVersion
from agent_sessions.models.keys import SiteKey
from agent_sessions.models.log import LogGeneration, LogLeaf, LogNode, SiteEvent, TreeHead
from agent_sessions.models.requests import IdempotencyRecord
from agent_sessions.models.retention import Erasure, LegalHold
from agent_sessions.models.session import Session, SessionKey
from agent_sessions.models.stock import HeldItem, Hold, SessionReference, StoreChange

__all__ = [
    "Approval",
    "Artifact",
    "AuditEvent",
    "Caller",
    "CheckoutHandoff",
    "Checkpoint",
    "DeviceConfirmation",
    "Erasure",
    "HeldItem",
    "Hold",
    "IdempotencyRecord",
    "LegalHold",
    "LogGeneration",
    "LogLeaf",
    "LogNode",
    "Message",
    "Session",
    "SessionKey",
    "SessionReference",
    "SessionVersion",
    "SiteEvent",
    "SiteKey",
    "StoreChange",
    "TransferGrant",
    "TreeHead",
]
