"""Random stories of sessions, told to the package and to a model of a few lines: both end up with the same history.

The model is what a session is meant to be: states with the times they were made, turns, a number of events, an end. It
merges patches by its own reading of RFC 7396. Two processes take turns in a story, each with what it remembers of the
sessions, and now and then a host's transaction that holds a few changes is rolled back.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import hypothesis
import pytest
import time_machine
from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.signing import read_public_key
from agent_sessions.domain.differences import describe
from agent_sessions.domain.identity import Agent
from agent_sessions.domain.lifecycle import EndReason
from agent_sessions.domain.patch import diff
from agent_sessions.exceptions import (
    ArtifactNotReady,
    InvalidToken,
    InvalidValue,
    SessionEnded,
    SessionExpired,
    VersionConflict,
    VersionNotFound,
)
from agent_sessions.models import Session, SiteKey
from agent_sessions.selectors import _cache
from agent_sessions.types import JSONValue, State
from tests.domain.strategies import json_maps, json_values

BEGINNING = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME_TO_LIVE = timedelta(minutes=30)
SESSIONS = 3
"""So many at most in one story: each is checked after every step."""

T = TypeVar("T")


def basket(quantities: dict[str, int]) -> State:
    return {
        item: {"item": item, "quantity": quantity, "unit_price": 1250, "currency": "EUR"}
        for item, quantity in quantities.items()
    }


# Small, so that stories are long: what else a state can hold, the tests of the domain try out.
STATES: st.SearchStrategy[State] = st.fixed_dictionaries(
    {},
    optional={
        "shopping": st.fixed_dictionaries(
            {
                "lines": st.dictionaries(st.sampled_from(["mug", "pot", "cup"]), st.integers(1, 2), max_size=2).map(
                    basket
                )
            }
        ),
        "conversation": st.fixed_dictionaries({"summary": st.sampled_from(["", "Wants a mug", "Wants it blue"])}),
        "agent": json_maps(3),
    },
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def text(state: JSONValue) -> str:
    """A state as text, which tells true from 1."""
    return json.dumps(state, sort_keys=True)


@dataclass
class Model:
    """What a session is meant to be."""

    token: str
    expires_at: datetime
    made_at: list[datetime]
    states: list[State]
    turns: list[tuple[str, JSONValue]] = field(default_factory=list)
    events: int = 1
    end_reason: str = ""
    ended_at: datetime | None = None

    @property
    def version(self) -> int:
        return len(self.states)

    @property
    def state(self) -> State:
        return self.states[-1]

    def change(self, now: datetime, state: State) -> None:
        self.made_at.append(now)
        self.states.append(state)
        self.events += 1

    def end(self, now: datetime, reason: EndReason, ended_at: datetime) -> None:
        self.change(now, self.state)
        self.end_reason, self.ended_at = reason.value, ended_at

    def refusal(self, now: datetime) -> type[SessionEnded] | None:
        """What a writer is told now, or None if he is welcome."""
        if self.end_reason:
            return SessionExpired if self.end_reason == "expired" else SessionEnded
        return SessionExpired if now >= self.expires_at else None


@contextmanager
def host_rolls_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


class Story(RuleBasedStateMachine):
    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[uuid.UUID, Model] = {}
        self.heads: dict[uuid.UUID, selectors.SessionHead] = {}
        self.other_process = _cache.LocalStates()
        self.travel = time_machine.travel(BEGINNING, tick=False)
        self.clock = self.travel.start()

    def teardown(self) -> None:
        self.travel.stop()
        Session.objects.all().delete()
        SiteKey.objects.all().delete()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def write(self, session: uuid.UUID, write: Callable[[], T]) -> T | None:
        """Write, or see that it is refused as the model says; that nothing is written then, the invariants see."""
        refusal = self.models[session].refusal(self.now)
        if refusal is None:
            return write()
        with pytest.raises(refusal) as refused:
            write()
        assert type(refused.value) is refusal
        return None

    def known(self, session: uuid.UUID, by_head: bool) -> selectors.SessionHead | uuid.UUID:
        """The session by its id, or as somebody read it once, however long ago."""
        return self.heads.get(session, session) if by_head else session

    # What happens around the sessions

    def has_a_story(self) -> bool:
        """Whether there is a session with something to tell, so that it may be over soon."""
        return any(model.version > 4 for model in self.models.values())

    @rule(seconds=st.sampled_from([0.000001, 1, 600]))
    def time_passes(self, seconds: float) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @precondition(has_a_story)
    @rule()
    def deadlines_pass(self) -> None:
        self.clock.shift(TIME_TO_LIVE)

    @rule()
    def another_process_goes_on(self) -> None:
        _cache.local, self.other_process = self.other_process, _cache.local

    @rule()
    def the_expiry_job_runs(self) -> None:
        overdue = [m for m in self.models.values() if not m.end_reason and self.now >= m.expires_at]
        assert services.expire_sessions().ended == len(overdue)
        for model in overdue:
            model.end(self.now, EndReason.EXPIRED, model.expires_at)

    @precondition(has_a_story)
    @rule()
    def every_session_is_revoked(self) -> None:
        # A session past its deadline is dead already; it stays the expiry job's.
        live = [m for m in self.models.values() if not m.end_reason and self.now < m.expires_at]
        assert services.revoke_all_sessions(reason="A key was lost.") == len(live)
        for model in live:
            model.end(self.now, EndReason.REVOKED, self.now)

    @rule()
    def the_signing_key_is_rotated(self) -> None:
        services.rotate_signing_key()

    # What happens to one

    @initialize(target=sessions, state=STATES)
    def open_the_first(self, state: State) -> uuid.UUID:
        return self.open(state, "A birthday present")

    @precondition(lambda self: len(self.models) < SESSIONS)
    @rule(target=sessions, state=STATES)
    def open_another(self, state: State) -> uuid.UUID:
        return self.open(state, "")

    def open(self, state: State, purpose: str) -> uuid.UUID:
        opened = services.open_session(agent=Agent("Shopper", "1.0"), state=state, purpose=purpose)
        self.models[opened.session_id] = Model(opened.token, opened.expires_at, [self.now], [state])
        return opened.session_id

    @rule(session=sessions, to=st.lists(STATES, min_size=1, max_size=4), by_head=st.booleans())
    def change(self, session: uuid.UUID, to: list[State], by_head: bool) -> None:
        for state in to:
            self.change_to(session, state, by_head)

    def change_to(self, session: uuid.UUID, state: State, by_head: bool) -> None:
        model = self.models[session]
        patch = diff(model.state, state)
        made = self.write(
            session,
            lambda: services.change_session(self.known(session, by_head), expected_version=model.version, patch=patch),
        )
        if made is not None:
            model.change(self.now, merged(model.state, patch))
            assert (made.version, made.seq) == (model.version, model.events)

    @rule(session=sessions, off=st.integers(-4, 1).filter(bool), by_head=st.booleans())
    def change_on_a_wrong_version(self, session: uuid.UUID, off: int, by_head: bool) -> None:
        model = self.models[session]
        expected = max(0, model.version + off)

        def refused() -> None:
            with pytest.raises(VersionConflict) as conflict:
                services.change_session(self.known(session, by_head), expected_version=expected, patch={})
            since = describe(model.states[expected - 1], model.state) if 0 < expected < model.version else ()
            assert (conflict.value.expected, conflict.value.current) == (expected, model.version)
            assert conflict.value.changes == since

        self.write(session, refused)

    @rule(session=sessions, state=STATES)
    def change_to_what_no_session_can_hold(self, session: uuid.UUID, state: State) -> None:
        patch = {**diff(self.models[session].state, state), "conversation": {"window_start": -1}}

        def refused() -> None:
            with pytest.raises(InvalidValue):
                services.change_session(session, expected_version=self.models[session].version, patch=patch)

        self.write(session, refused)

    @rule(session=sessions, role=st.sampled_from(["user", "agent"]), content=json_values(3), by_head=st.booleans())
    def add_a_message(self, session: uuid.UUID, role: str, content: JSONValue, by_head: bool) -> None:
        model = self.models[session]
        added = self.write(
            session, lambda: services.add_message(self.known(session, by_head), role=role, content=content)
        )
        if added is not None:
            model.turns.append((role, content))
            model.events += 1
            assert (added.number, added.seq) == (len(model.turns), model.events)

    @rule(session=sessions, note=st.sampled_from(["", "Looked at it twice"]), by_head=st.booleans())
    def record_an_event(self, session: uuid.UUID, note: str, by_head: bool) -> None:
        model = self.models[session]
        made = self.write(
            session, lambda: services.record_event(self.known(session, by_head), kind="item.viewed", note=note)
        )
        if made is not None:
            model.events += 1
            assert (made.version, made.seq) == (model.version, model.events)

    @precondition(has_a_story)
    @rule(session=sessions, reason=st.sampled_from([EndReason.COMPLETED, EndReason.DELETED]), by_head=st.booleans())
    def end(self, session: uuid.UUID, reason: EndReason, by_head: bool) -> None:
        model = self.models[session]
        ended = self.write(session, lambda: services.end_session(self.known(session, by_head), reason=reason))
        if ended is not None:
            model.end(self.now, reason, self.now)

    @rule(
        session=sessions,
        state=STATES,
        writes=st.lists(
            st.sampled_from(["change", "message", "event", "end", "open", "revoke"]), min_size=1, max_size=4
        ),
    )
    def a_host_rolls_back(self, session: uuid.UUID, state: State, writes: list[str]) -> None:
        """Nothing of it is in the model: it has never happened."""

        def write(what: str) -> None:
            now = selectors.current_state(session)
            if what == "change":
                services.change_session(session, expected_version=now.version, patch=diff(now.state, state))
            elif what == "message":
                services.add_message(session, role="user", content="Never said")
            elif what == "event":
                services.record_event(session, kind="item.viewed")
            elif what == "end":
                services.end_session(session)
            elif what == "open":
                services.open_session(agent=Agent("Shopper"), state=state)
            else:
                services.revoke_all_sessions(reason="Never mind")

        with host_rolls_back():
            for what in writes:
                with suppress(SessionEnded):
                    write(what)

    # What is read

    @rule(session=sessions)
    def authenticate(self, session: uuid.UUID) -> None:
        model = self.models[session]
        if model.refusal(self.now):
            with pytest.raises(InvalidToken):
                selectors.authenticate(model.token)
        else:
            self.heads[session] = head = selectors.authenticate(model.token)
            assert (head.session_id, head.version, head.head_seq) == (session, model.version, model.events)

    @rule(session=sessions)
    def read(self, session: uuid.UUID) -> None:
        view = selectors.current_state(session)
        assert (view.version, text(view.state)) == (self.models[session].version, text(self.models[session].state))

    @rule(session=sessions, which=st.integers(0, 100))
    def read_at_a_version(self, session: uuid.UUID, which: int) -> None:
        model = self.models[session]
        version = which % (model.version + 2)
        if 0 < version <= model.version:
            assert text(selectors.state_at_version(session, version).state) == text(model.states[version - 1])
        else:
            with pytest.raises(VersionNotFound):
                selectors.state_at_version(session, version)

    @rule(session=sessions, which=st.integers(0, 100), microseconds=st.integers(-1, 1))
    def read_at_a_time(self, session: uuid.UUID, which: int, microseconds: int) -> None:
        model = self.models[session]
        moment = model.made_at[which % model.version] + timedelta(microseconds=microseconds)
        made = [number for number, made_at in enumerate(model.made_at, start=1) if made_at <= moment]
        if made:
            view = selectors.state_at_time(session, moment)
            assert (view.version, text(view.state)) == (made[-1], text(model.states[made[-1] - 1]))
        else:
            with pytest.raises(VersionNotFound):
                selectors.state_at_time(session, moment)

    @rule(session=sessions, one=st.integers(0, 100), other=st.integers(0, 100))
    def compare(self, session: uuid.UUID, one: int, other: int) -> None:
        model = self.models[session]
        before, after = one % model.version, other % model.version
        differences = selectors.compare(session, before + 1, after + 1)
        assert differences == describe(model.states[before], model.states[after])
        assert (not differences) == (text(model.states[before]) == text(model.states[after]))

    @rule(session=sessions, disclose=st.sampled_from(selectors.DISCLOSURES))
    def verify_the_artifact(self, session: uuid.UUID, disclose: str) -> None:
        model = self.models[session]
        if not model.end_reason and self.now < model.expires_at:
            with pytest.raises(ArtifactNotReady):
                services.get_artifact(session)
            return
        artifact = services.get_artifact(session, disclose=disclose)
        if not model.end_reason:  # whoever asks need not wait for the job
            model.end(self.now, EndReason.EXPIRED, model.expires_at)
        found = verify_artifact(artifact, [read_public_key(key.public_key) for key in services.signing_keys()])
        assert found.problems == []
        assert (found.ok, found.trusted, found.event_count) == (True, True, model.events)
        if disclose == "all":
            openings = json.loads(artifact)["openings"]
            state: State = {}
            for opening in openings:
                if opening["path"] in ("patch", "personal"):
                    state = merged(state, opening["value"])
            assert (found.withheld, text(state)) == (0, text(model.state))

    # What holds after every step

    @invariant()
    def everything_stored_agrees_with_everything(self) -> None:
        for session, model in self.models.items():
            report = selectors.verify_session(session)
            assert report.problems == []
            assert (report.versions, report.events) == (model.version, model.events)

    @invariant()
    def every_session_is_what_the_model_says(self) -> None:
        process, _cache.local = _cache.local, _cache.LocalStates()  # seen by somebody who remembers nothing
        try:
            for session, model in self.models.items():
                head = selectors.read_head(session)
                assert (head.end_reason, head.ended_at) == (model.end_reason, model.ended_at)
                assert [made.created_at for made in selectors.versions(session)] == model.made_at
                assert text(selectors.current_state(head).state) == text(model.state)
                assert text([[turn.role, turn.content] for turn in selectors.messages(head)]) == text(model.turns)
        finally:
            _cache.local = process


@pytest.mark.timeout(600)  # when it fails, it first makes the story short
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("storage", ["hybrid", "history"])
def test_the_history_of_sessions_is_what_the_model_says(storage: str, settings: Any) -> None:
    settings.AGENT_SESSIONS = {**settings.AGENT_SESSIONS, "STORAGE": storage, "SNAPSHOT_EVERY": 3}
    process = _cache.local
    try:
        run_state_machine_as_test(
            Story,
            settings=hypothesis.settings(
                max_examples=30,
                stateful_step_count=25,
                deadline=None,
                report_multiple_bugs=False,
                derandomize=bool(os.environ.get("CI")),
                suppress_health_check=list(hypothesis.HealthCheck),
            ),
        )
    finally:
        _cache.local = process
