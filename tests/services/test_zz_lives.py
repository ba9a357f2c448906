import pytest
from typing import Any
from agent_sessions import services, selectors
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.models import Hold, Approval
from tests.store.calling import call, head, state
from tests.services.succeeding import renew, wrong
pytestmark = pytest.mark.django_db

@pytest.fixture
def busy(shop, opened, clock):
    one = opened(consumer="c1")
    call("cart.add", one, item_id="mug", quantity=2)
    services.place_hold(one.session_id, item="mug", quantity=2)
    services.request_approval(one.session_id, reason="dear")
    services.commit_session(one.session_id)
    return one

@pytest.mark.parametrize("how", ["end","expire","renew","transfer"])
@pytest.mark.parametrize("standing", ["", "paused", "held"])
def test_it(busy, how, standing, clock):
    one=busy
    given = None
    if how=="transfer":
        given=services.grant_transfer(one.session_id, actor=Actor("consumer"))
    if standing=="paused": services.pause_session(one.session_id)
    if standing=="held": services.hand_over(one.session_id, to=Actor("consumer"))
    if how=="end":
        services.end_session(one.session_id, actor=Actor("consumer"))
    elif how=="expire":
        clock.shift(3600*5); services.expire_sessions()
        assert not Hold.objects.filter(released_at=None).exists()
    elif how=="renew":
        if standing:
            with pytest.raises(Exception): renew(one)
            return
        r=renew(one)
        print([c.text for c in r.changes])
        assert Approval.objects.get().status not in ("pending","granted"), Approval.objects.get().status
        assert Hold.objects.get().session_id==r.opened.session_id
        assert head(r.opened).committed_version in (0,1), head(r.opened).committed_version
        print(head(one).committed_version, head(one).version, state(r.opened))
        assert wrong(one, r.opened)==[]
        services.end_session(r.opened.session_id)
        assert wrong(one, r.opened)==[]
        assert not Hold.objects.filter(released_at=None).exists()
    else:
        t=services.accept_transfer(given.code, agent=Agent("x"))
        print(state(t.opened))
        assert wrong(one, t.opened)==[]
        call("cart.add", t.opened, item_id="plate")
        services.request_approval(t.opened.session_id, reason="dear")
        assert wrong(one, t.opened)==[]
    assert wrong(one)==[]
