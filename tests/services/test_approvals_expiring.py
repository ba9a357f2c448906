"""A question is open until its time or its session is over (L5)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.domain.identity import AGENT
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.exceptions import (
    AgentSessionsError,
    ApprovalExpired,
    InvalidValue,
    PolicyDenied,
    VersionConflict,
)
from agent_sessions.models import SessionKey
from agent_sessions.store import StoreContext
from tests.conftest import MORNING
from tests.services.asking import (
    WINDOW_EXPIRED,
    ask,
    asking,
    cart_of,
    granted,
    is_sound,
    kinds,
    note,
    status,
    stored,
)
from tests.store.calling import call, head, named, state
from tests.stored import everything_stored

pytestmark = pytest.mark.django_db
__all__ = ["asking"]

MINUTE = timedelta(minutes=1)


def test_the_job_closes_what_lapsed_and_says_so(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 300})
    asked = [ask(cart_of(opened)), granted(cart_of(opened))]
    late = cart_of(opened)
    assert services.expire_approvals() == 0
    clock.move_to(MORNING + 5 * MINUTE)
    still = ask(late)
    assert selectors.count_lapsed_approvals() == 2

    assert services.expire_approvals() == 2

    for one in asked:
        session = stored(one).session_id
        told: Any = selectors.events(session)[-1]
        assert (told["kind"], told["actor"], told["params"]["had_ms"]) == ("approval.expired", "system", 300_000)
        assert state(session)["decisions"]["approvals"][str(one.approval_id)]["status"] == "expired"
        assert selectors.verify_session(session).ok
        assert stored(one).status == "expired"
    assert (status(still), services.expire_approvals(), selectors.count_lapsed_approvals()) == ("pending", 0, 0)


def test_the_job_keeps_to_its_limit_and_goes_on(asking: Any, opened: Any, configure: Any, clock: Any) -> None:
    configure(TTL={"approval": 300})
    first = cart_of(opened)
    for one in (first, cart_of(opened), cart_of(opened)):
        ask(one)
    clock.move_to(MORNING + 5 * MINUTE)
    SessionKey.objects.filter(pk=first.session_id).delete()  # it fails, and holds up no other
    assert [services.expire_approvals(limit=1) for _ in range(3)] == [1, 1, 0]
    for limit in (0, -1, True, "5"):
        with pytest.raises(InvalidValue):
            services.expire_approvals(limit=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", [EndReason.DELETED, EndReason.COMPLETED, EndReason.REVOKED, EndReason.EXPIRED])
@pytest.mark.parametrize("answered", [False, True])
def test_the_end_of_the_session_closes_it_before_its_last_event(
    asking: Any, opened: Any, clock: Any, reason: EndReason, answered: bool
) -> None:
    """L5: if the session lapses while waiting, no payment."""
    one = cart_of(opened)
    asked = granted(one) if answered else ask(one)
    if reason is EndReason.EXPIRED:
        clock.move_to(MORNING + 31 * MINUTE)
        with pytest.raises(ApprovalExpired):
            services.grant_approval(asked.approval_id)
        services.expire_session(one.session_id)
    else:
        services.end_session(one.session_id, reason=reason)
    assert kinds(one)[-2:] == ["approval.expired", "session.ended"]
    assert (stored(asked).status, note(one, asked)["status"]) == ("expired", "expired")
    with pytest.raises(ApprovalExpired, match=WINDOW_EXPIRED):
        services.grant_approval(asked.approval_id)
    with pytest.raises(ApprovalExpired):
        services.reject_approval(asked.approval_id)
    assert is_sound(one)


def test_an_end_that_names_a_version_still_fits(asking: Any, opened: Any) -> None:
    one = cart_of(opened)
    asked = ask(one)
    with pytest.raises(VersionConflict):
        services.end_session(one.session_id, expected_version=2)
    assert (status(asked), kinds(one)[-1]) == ("pending", "approval.requested")
    made = services.end_session(one.session_id, expected_version=3)
    assert (made.version, status(asked)) == (5, "expired")
    assert is_sound(one)


def test_in_a_renewed_session_the_human_is_asked_anew(asking: Any, opened: Any) -> None:
    """L2: the yes was to the session that is over."""
    one = cart_of(opened)
    asked = granted(one)
    renewed = services.renew_session(one.session_id, ctx=StoreContext())
    assert (stored(asked).status, kinds(one)[-2:]) == ("expired", ["approval.expired", "session.ended"])
    with pytest.raises(PolicyDenied) as refused:
        services.call_capability(
            named("checkout"), {}, ctx=StoreContext(), session=selectors.authenticate(renewed.opened.token)
        )
    assert refused.value.details["approval"]["status"] == "none"  # type: ignore[index]
    assert is_sound(one)


def test_a_revoked_session_closes_it_too(asking: Any, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: also before the job has come by, nothing can be granted."""
    one = cart_of(opened)
    asked = ask(one)
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.services.expiry.end_revoked_sessions", lambda **_: 0)
        services.revoke_all_sessions(reason="a laptop was stolen")
    with pytest.raises(ApprovalExpired):
        services.grant_approval(asked.approval_id)
    services.end_revoked_sessions()
    assert (status(asked), kinds(one)[-2:]) == ("expired", ["approval.expired", "session.ended"])
    assert is_sound(one)


def test_a_session_without_its_key_is_quarantined_when_it_is_to_end(asking: Any, opened: Any, clock: Any) -> None:
    """R5: what its end has to write first does not hide that it is damaged."""
    one = cart_of(opened)
    ask(one)
    SessionKey.objects.filter(pk=one.session_id).delete()
    clock.move_to(MORNING + 31 * MINUTE)
    assert services.expire_sessions().failed == 1
    assert head(one).status.value == "quarantined"


def test_nothing_is_written_by_a_request_that_fails_halfway(
    asking: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cart_of(opened)
    asked = granted(one)
    before = everything_stored()
    with monkeypatch.context() as patched:
        patched.setattr("agent_sessions.models.Approval.save", _fail)
        with pytest.raises(RuntimeError):
            ask(one)
    assert everything_stored() == before
    assert status(asked) == "granted"
    assert call("checkout", one).status == 200


def _fail(*args: Any, **facts: Any) -> Any:
    raise RuntimeError


def test_the_agent_cannot_answer_itself(asking: Any, opened: Any) -> None:
    asked = ask(cart_of(opened))
    for answer in (services.grant_approval, services.reject_approval, services.escalate_approval):
        with pytest.raises(AgentSessionsError) as refused:
            answer(asked.approval_id, actor=AGENT)  # type: ignore[operator]
        assert refused.value.code == "actor_refused"
    assert status(asked) == "pending"
