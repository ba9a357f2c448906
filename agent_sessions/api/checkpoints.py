"""Steps, checkpoints, and going back to what was committed, over HTTP (R1, R2, V6)."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from agent_sessions import selectors, services
from agent_sessions.api.history import LIST_QUERY
from agent_sessions.api.resource import Operation, SessionResource
from agent_sessions.api.schemas import CHECKPOINT, NEXT_ACTION
from agent_sessions.audit.events import format_time
from agent_sessions.domain.steps import NextAction
from agent_sessions.selectors import SessionHead
from agent_sessions.store import StoreContext
from agent_sessions.store.cart import cart_answer

_VERSIONS = {
    "type": "object",
    "required": ["version", "committed_version"],
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "committed_version": {"type": "integer", "minimum": 1},
    },
}


class CheckpointsView(SessionResource):
    """``GET`` the attempts at steps, in the order in which they began."""

    operations = {
        "GET": Operation(
            "session.checkpoints",
            "Every attempt at a step: which way, how it went, and the versions that say so.",
            {"type": "array", "items": CHECKPOINT},
            query=LIST_QUERY,
        )
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        limit = self.number("limit", 100, least=1, most=500)
        listed = selectors.checkpoints(head.session_id, after=self.number("after", 0), limit=limit)
        return self.answered([checkpoint_answer(one) for one in listed], version=head.version)


class NextStepView(SessionResource):
    """``GET`` how the work goes on."""

    operations = {
        "GET": Operation(
            "session.next_step",
            "How the work goes on: which step to run and how, what to wait for, or that a person has to decide.",
            NEXT_ACTION,
        )
    }

    def get(self, request: Request) -> HttpResponse:
        head = self.required_session()
        return self.answered(next_answer(selectors.next_step(head, now=timezone.now())), version=head.version)


class CommitView(SessionResource):
    """``POST``: the cart as it is now is what a rollback goes back to."""

    operations = {
        "POST": Operation(
            "session.commit", "Commit the cart as it is: a rollback goes back no further.", _VERSIONS, changes=True
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        made = services.commit_session(head, expected_version=self.expected_version(head))
        return self.answered({"version": made.version, "committed_version": made.version}, version=made.version)


class RollbackView(SessionResource):
    """``POST``: the cart goes back to the last committed version."""

    slow = True  # the store is asked for prices
    operations = {
        "POST": Operation(
            "session.rollback",
            "Bring the cart back to the last committed version, at today's prices, as a new version.",
            {
                "type": "object",
                "required": ["version", "rolled_back_to", "cart"],
                "properties": {
                    "version": {"type": "integer", "minimum": 1},
                    "rolled_back_to": {"type": "integer", "minimum": 1},
                    "cart": {"type": "object"},
                },
            },
            changes=True,
        )
    }

    def post(self, request: Request) -> HttpResponse:
        head = self.required_session()
        ctx = StoreContext(request=self.http, consumer=head.consumer)
        answered = partial(self._rolled_back, head)
        made = services.rollback_session(
            head,
            ctx=ctx,
            expected_version=self.expected_version(head),
            writing=partial(self.at_once, answered=answered),
        )
        return answered(made)

    def _rolled_back(self, head: SessionHead, made: services.RolledBack) -> HttpResponse:
        view = selectors.state_at_version(head.session_id, made.version)
        data = {"version": made.version, "rolled_back_to": made.to, "cart": cart_answer(view.state)}
        return self.answered(data, version=made.version)


def checkpoint_answer(one: selectors.CheckpointInfo) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "number": one.number,
        "step": one.step,
        "attempt": one.attempt,
        "outcome": one.outcome,
        "version": one.version,
        "started_at": format_time(one.started_at),
    }
    told = {"method": one.method, "code": one.code, "ended_version": one.ended_version}
    answer |= {name: value for name, value in told.items() if value}
    return answer | ({} if one.ended_at is None else {"ended_at": format_time(one.ended_at)})


def next_answer(action: NextAction) -> dict[str, Any]:
    """Return how the work goes on, without what says nothing."""
    told = {"step": action.step, "method": action.method, "reason": action.reason}
    answer: dict[str, Any] = {"action": action.action} | {name: text for name, text in told.items() if text}
    return answer | ({} if action.not_before is None else {"not_before": format_time(action.not_before)})
