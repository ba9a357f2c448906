"""The addresses below a session's, each with its view: routes and the OpenAPI description are made of this list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_sessions.api.approvals import ApprovalsView, OneApprovalView
from agent_sessions.api.branches import ForkDifferencesView, ForksView
from agent_sessions.api.checkpoints import CheckpointsView, CommitView, NextStepView, RollbackView
from agent_sessions.api.consumers import ConfirmationsView, ConfirmationView, InProgressView, OneInProgressView
from agent_sessions.api.conversation import MessagesView
from agent_sessions.api.documents import ExportView, ImportView
from agent_sessions.api.events import EventsView
from agent_sessions.api.history import DifferencesView, StateAtView, VersionsView
from agent_sessions.api.holds import HoldsView, HoldView
from agent_sessions.api.life import HandOverView, PauseView, RenewView, ResumeView, TakeBackView
from agent_sessions.api.resource import SessionResource
from agent_sessions.api.revalidation import RevalidateView
from agent_sessions.api.transfer import TransferView


@dataclass(frozen=True, slots=True)
class Resource:
    """``path`` is below the session's own address, with Django's converters: ``versions/<int:number>``."""

    name: str
    path: str
    view: type[SessionResource]


RESOURCES: Final[tuple[Resource, ...]] = (
    Resource("versions", "versions", VersionsView),
    Resource("state", "state", StateAtView),
    Resource("differences", "differences", DifferencesView),
    Resource("messages", "messages", MessagesView),
    Resource("events", "events", EventsView),
    Resource("holds", "holds", HoldsView),
    Resource("hold", "holds/<uuid:hold_id>", HoldView),
    Resource("revalidate", "revalidate", RevalidateView),
    Resource("checkpoints", "checkpoints", CheckpointsView),
    Resource("next-step", "next-step", NextStepView),
    Resource("commit", "commit", CommitView),
    Resource("rollback", "rollback", RollbackView),
    Resource("export", "export", ExportView),
    Resource("import", "import", ImportView),
    Resource("in-progress", "in-progress", InProgressView),
    Resource("one-in-progress", "in-progress/<uuid:session_id>", OneInProgressView),
    Resource("confirmations", "confirmations", ConfirmationsView),
    Resource("confirmation", "confirmations/<uuid:session_id>", ConfirmationView),
    Resource("pause", "pause", PauseView),
    Resource("resume", "resume", ResumeView),
    Resource("handover", "handover", HandOverView),
    Resource("takeback", "takeback", TakeBackView),
    Resource("renew", "renew", RenewView),
    Resource("transfer", "transfer", TransferView),
    Resource("forks", "forks", ForksView),
    Resource("fork_differences", "forks/<uuid:other>/differences", ForkDifferencesView),
    Resource("approvals", "approvals", ApprovalsView),
    Resource("approval", "approvals/<uuid:approval_id>", OneApprovalView),
)
