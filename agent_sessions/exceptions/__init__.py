"""Every error the package raises: what was wrong, with what, and what to do next.

Each class has a stable ``code`` for programs, an HTTP ``status`` for the wire, and its facts as attributes and in
``details``. Messages never hold a secret, a token or a value that an agent or a consumer sent.
"""

from agent_sessions.exceptions.access import (
    ActorRefused,
    InvalidAssertion,
    InvalidToken,
    NotRelated,
    SignatureRefused,
    TransferRefused,
)
from agent_sessions.exceptions.approvals import (
    AnswerRefused,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalNotFound,
    ApprovalWaiting,
)
from agent_sessions.exceptions.audit import ArtifactNotReady, LogDamaged, NoteRefused, NotLogged
from agent_sessions.exceptions.base import AgentSessionsError
from agent_sessions.exceptions.erasure import (
    ContentErased,
    ErasedTooEarly,
    ErasureUnknown,
    HoldUnknown,
    LegallyHeld,
    SessionNotEnded,
)
from agent_sessions.exceptions.handoffs import CheckoutElsewhere, DevicesUnconfirmed, HandoffClosed, HandoffNotFound
from agent_sessions.exceptions.requests import (
    IdempotencyKeyReused,
    InvalidParameter,
    InvalidValue,
    LimitExceeded,
    PaymentDataRefused,
    RateLimited,
    RequestInProgress,
    TooManySessions,
)
from agent_sessions.exceptions.sessions import (
    NotHeld,
    NotPaused,
    SessionEnded,
    SessionExpired,
    SessionHeld,
    SessionNotFound,
    SessionPaused,
    SessionRevoked,
    StepRefused,
)
from agent_sessions.exceptions.store import (
    CartProblem,
    DocumentRefused,
    FactUnavailable,
    HoldNotFound,
    HoldRefused,
    ItemNotFound,
    NoStore,
    PolicyDenied,
    StaleCart,
)
from agent_sessions.exceptions.stored import KeyProblem, SchemaUnknown, SealBroken, SessionDamaged, SessionQuarantined
from agent_sessions.exceptions.versions import (
    Change,
    MergeConflict,
    NothingCommitted,
    SessionBusy,
    VersionConflict,
    VersionNotFound,
)

__all__ = [
    "ActorRefused",
    "AgentSessionsError",
    "AnswerRefused",
    "ApprovalClosed",
    "ApprovalExpired",
    "ApprovalNotFound",
    "ApprovalWaiting",
    "ArtifactNotReady",
    "CartProblem",
    "Change",
    "CheckoutElsewhere",
    "ContentErased",
    "DevicesUnconfirmed",
    "DocumentRefused",
    "ErasedTooEarly",
    "ErasureUnknown",
    "FactUnavailable",
    "HandoffClosed",
    "HandoffNotFound",
    "HoldNotFound",
    "HoldRefused",
    "HoldUnknown",
    "IdempotencyKeyReused",
    "InvalidAssertion",
    "InvalidParameter",
    "InvalidToken",
    "InvalidValue",
    "ItemNotFound",
    "KeyProblem",
    "LegallyHeld",
    "LimitExceeded",
    "LogDamaged",
    "MergeConflict",
    "NoStore",
    "NotHeld",
    "NotLogged",
    "NotPaused",
    "NotRelated",
    "NoteRefused",
    "NothingCommitted",
    "PaymentDataRefused",
    "PolicyDenied",
    "RateLimited",
    "RequestInProgress",
    "SchemaUnknown",
    "SealBroken",
    "SessionBusy",
    "SessionDamaged",
    "SessionEnded",
    "SessionExpired",
    "SessionHeld",
    "SessionNotEnded",
    "SessionNotFound",
    "SessionPaused",
    "SessionQuarantined",
    "SessionRevoked",
    "SignatureRefused",
    "StaleCart",
    "StepRefused",
    "TooManySessions",
    "TransferRefused",
    "VersionConflict",
    "VersionNotFound",
]
