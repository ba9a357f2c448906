"""The leak hunt: markers in every input that can be personal, and none of them left after an erasure (A5, A7)."""

from __future__ import annotations

import inspect
import json
import logging
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import caches
from django.test import Client

from agent_sessions import selectors, services
from agent_sessions.domain.identity import SYSTEM, Actor
from agent_sessions.models import Session
from agent_sessions.selectors import _cache
from agent_sessions.services.erasing import Grounds, erase
from tests.admin.conftest import reader, reveal, url
from tests.leaks import traces, unlisted_columns
from tests.planting import ADDRESS, CONTENT, PERSONAL, WHO, end, imported, marker, told_everything
from tests.store.calling import call, shop

__all__ = ["reader", "shop"]
pytestmark = pytest.mark.django_db

PAGES = ("change", "versions", "events", "conversation", "approvals")


@pytest.fixture
def planted(shop: Any, configure: Any, caplog: pytest.LogCaptureFixture) -> tuple[uuid.UUID, uuid.UUID]:
    """Two sessions of one consumer, full of markers, the first with snapshots and a state in the shared cache."""
    caplog.set_level(logging.DEBUG)
    configure(SNAPSHOT_EVERY=4, STATE_CACHE="default")
    caches["default"].clear()
    consumer = services.consumer_pseudonym(WHO)
    first, second = told_everything(consumer), imported(consumer)
    _cache.local.clear()
    for session_id in (first, second):
        assert selectors.current_state(session_id).state
    return first, second


def shown(client: Client, session_ids: tuple[uuid.UUID, ...]) -> str:
    """All admin pages of the sessions, their artifacts with all that opens, the list, and the searches in it."""
    addresses = [url("changelist"), url("changelist") + f"?consumer={services.consumer_pseudonym('nobody')}"]
    for session_id in session_ids:
        addresses += [url(page, session_id) for page in PAGES] + [url("artifact", session_id)]
        head = selectors.read_head(session_id)
        addresses += [url("version_at", session_id, number) for number in range(1, head.version + 1)]
        addresses += [url("approval", session_id, one.id) for one in selectors.approvals_of(head)]
    answers = [client.get(address) for address in addresses]
    assert {answer.status_code for answer in answers} <= {200}
    return "\n".join(answer.content.decode() for answer in answers)


def test_the_search_knows_every_column_of_bytes() -> None:
    """A new sealed column has to be added to it, or the hunt would pass it by."""
    assert unlisted_columns() == set()


def test_the_search_finds_every_marker_before(planted: tuple[uuid.UUID, uuid.UUID], reader: Client) -> None:
    """Otherwise finding nothing afterwards would say nothing. As they stand in the columns none is readable."""
    cached = {word for word, places in traces(PERSONAL | CONTENT).items() if "cache, unsealed" in places}
    assert {marker("customer"), marker("instructions"), marker("imported")} <= cached
    end(*planted)
    found = traces(PERSONAL | CONTENT)
    assert {word for word, places in found.items() if not places} == set()
    assert {place for places in found.values() for place in places if not place.endswith("unsealed")} == set()
    for session_id in planted:
        reveal(reader, session_id)
    pages = shown(reader, planted)
    unseen = {word for word in PERSONAL | CONTENT if word not in pages}
    assert unseen <= {
        marker(name) for name in ("note", "private", "handover", "returned", "answer", "farewell", "local")
    }


def test_after_the_personal_class_nothing_of_people_is_left(
    planted: tuple[uuid.UUID, uuid.UUID], reader: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A5: by retention; goods and prices stay for as long as their own rule says."""
    end(*planted)
    for session_id in planted:
        grounds = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
        erase(selectors.read_head(session_id), frozenset({"personal"}), grounds, actor=SYSTEM)
    _require_gone(PERSONAL)
    assert {word for word, places in traces(CONTENT).items() if places} == CONTENT
    _require_shown(reader, planted, caplog, gone=PERSONAL)
    for session_id in planted:
        assert selectors.verify_session(session_id).problems == []


def test_after_an_erasure_by_consumer_nothing_at_all_is_left(
    planted: tuple[uuid.UUID, uuid.UUID], reader: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A7: live sessions included; nor does the reference, the pseudonym, or who called."""
    consumer, caller = services.consumer_pseudonym(WHO), services.caller_pseudonym(ADDRESS)
    services.place_legal_hold(  # on something else: it must not keep these
        scope="consumer", consumer="somebody else", matter="Case 12", actor=Actor("staff", "7")
    )
    receipt = services.erase_consumer(WHO, actor=Actor("staff", "7"))
    everything = PERSONAL | CONTENT | {WHO, ADDRESS, consumer, caller}
    _require_gone(everything)
    _require_shown(reader, planted, caplog, gone=everything)
    assert receipt.left == 0
    assert not any(word in json.dumps(receipt.document) for word in everything)
    assert Session.objects.filter(pk__in=planted, content_erased_at__isnull=False).count() == 2
    for session_id in planted:
        assert selectors.verify_session(session_id).problems == []


def _require_gone(words: set[str]) -> None:
    """Look with every key that is left, in what is stored, in the shared cache and in what this process remembers."""
    assert {word: places for word, places in traces(words).items() if places} == {}
    remembered = repr([known.state for _, known in _cache.local._kept.values()])
    assert not any(word in remembered for word in words)


def _require_shown(
    client: Client, session_ids: tuple[uuid.UUID, ...], caplog: pytest.LogCaptureFixture, *, gone: set[str]
) -> None:
    """Look at pages and artifacts, at Django's log of what staff did, and at everything that was logged."""
    pages = shown(client, session_ids)
    assert {word for word in gone if word in pages} == set()
    assert not LogEntry.objects.exists()
    ours = "\n".join(record.getMessage() for record in caplog.records)
    assert {word for word in gone if word in ours} == set()


def test_jobs_carry_nothing_but_numbers() -> None:
    """A7: what stands in a broker or a result backend outlives the database."""
    tasks = pytest.importorskip("agent_sessions.tasks")
    ours = [one for one in vars(tasks).values() if hasattr(one, "apply_async")]
    assert len(ours) >= 6
    for task in ours:
        for parameter in inspect.signature(task.run).parameters.values():
            assert type(parameter.default) in (int, float, bool), f"{task.name} takes {parameter.name}"


def test_a_link_to_what_was_erased_leads_nowhere(planted: tuple[uuid.UUID, uuid.UUID]) -> None:
    """A7: what a human was handed shows no cart any more, not to whoever else has the link either."""
    call("cart.add", planted[0], item_id="plate", quantity=1)
    link = urlsplit(str(call("checkout", planted[0]).data["handoff_url"])).path  # type: ignore[index, call-overload]
    assert Client().get(link).status_code == 200
    services.erase_consumer(WHO, actor=SYSTEM)
    answer = Client().get(link)
    assert (answer.status_code, "has been erased" in answer.content.decode()) == (410, True)
    assert not any(word in answer.content.decode() for word in PERSONAL | CONTENT)
