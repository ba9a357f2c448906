"""Requests made up from the served OpenAPI document: whatever is sent, the answer is one that the document promises.

The document is the one that the demo shop serves, so that its own capabilities are among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.urls import reverse
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings

from agent_sessions import services
from agent_sessions.domain.identity import Agent
from tests.api.conftest import API

EXAMPLES: Final = 60
OPERATIONS: Final = [
    "POST /session",
    "DELETE /session",
    "GET /audit/{session_id}",
    "GET /search",
    "GET /browse",
    "GET /detail/{id}",
    "GET /cart",
    "POST /cart",
    "PATCH /cart",
    "PUT /cart",
    "DELETE /cart",
    "POST /checkout",
    "POST /contact",
    "POST /voucher/apply",
    "POST /voucher/remove",
]


@pytest.fixture
def described(db: None, configure: Callable[..., None], settings: Any) -> Iterator[dict[str, Any]]:
    """The operations that the shop describes, by method and path."""
    configure(
        STORE="shop_demo.store.DemoStore", SITE="", MAX_REQUESTS_PER_MINUTE=0, MAX_SESSIONS=0, END_ON_HANDOFF=False
    )
    settings.ALLOWED_HOSTS = ["localhost"]
    # As Django's own test client does: the end of a request would close the connection of the test's transaction.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    schema = schemathesis.openapi.from_wsgi(reverse("agent_sessions:openapi"), get_wsgi_application())
    yield {one.ok().label.replace(API, ""): one.ok() for one in schema.get_all_operations()}
    for signal in signals:
        signal.connect(close_old_connections)


def test_the_document_describes_these_operations(described: dict[str, Any]) -> None:
    assert sorted(described) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_one_that_the_document_promises(described: dict[str, Any], label: str) -> None:
    operation = described[label]
    statuses: set[int] = set()

    @hypothesis_settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def explore(case: Any) -> None:
        session = services.open_session(agent=Agent("Tester", "1"))
        case.headers["X-Agent-Session"] = session.token
        answer = case.call()
        statuses.add(answer.status_code)
        case.validate_response(answer)

    explore()
    assert statuses, "nothing was sent"
    print(label, statuses)
