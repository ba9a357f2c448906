"""The records of processing (A5, GDPR Art. 30): complete by construction, of what is in force."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps

from agent_sessions import services
from agent_sessions.domain.identity import Actor, Agent
from agent_sessions.domain.privacy import PERSONAL
from agent_sessions.domain.processing import CATEGORIES, COLUMNS, columns_of
from agent_sessions.domain.state import SLICES
from agent_sessions.selectors.processing import AT_THE_END, TO_COMPLETE, processing_records
from tests.conftest import MORNING
from tests.leaks import SEALED
from tests.stored import everything_stored

DAY = timedelta(days=1)


def columns() -> set[str]:
    """Every column of every model."""
    return {
        f"{model.__name__}.{field.name}"
        for model in apps.get_app_config("agent_sessions").get_models()
        for field in model._meta.concrete_fields
    }


def category(records: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in records["categories"] if one["name"] == name)
    return dict(found)


def test_every_column_of_every_model_is_in_one_category() -> None:
    """A new column has to be given a category, and with it a purpose and a time limit."""
    listed = Counter(column for one in CATEGORIES for column in columns_of(one.name))
    assert set(listed) == columns()
    assert {column for column, times in listed.items() if times > 1} == set()
    assert {name for model in COLUMNS.values() for name in model} == {one.name for one in CATEGORIES}


def test_what_is_sealed_is_said_to_be() -> None:
    sealed = {f"{model}.{column}" for model, found in SEALED.items() for column in found}
    said = {column for one in CATEGORIES if one.protection.startswith("sealed") for column in columns_of(one.name)}
    assert said == sealed


def test_who_has_no_data_subjects_has_no_ground_and_the_others_have_both() -> None:
    assert [one.name for one in CATEGORIES if bool(one.subjects) != bool(one.basis)] == []
    assert all(one.purpose and one.kept and one.protection for one in CATEGORIES)


@pytest.mark.django_db
def test_the_records_name_all_parts_of_the_state_and_the_rules_that_limit_them(configure: Any) -> None:
    configure(
        RETENTION={
            "personal": {"maximum_days": 7},
            "regulated": {"class": "content", "starts": "end", "maximum_days": 1826, "basis": "FCA SYSC 9.1"},
        }
    )
    records = processing_records()
    assert category(records, "personal_content")["parts_of_the_state"] == list(PERSONAL)
    content = category(records, "content")["parts_of_the_state"]
    assert {pointer.split("/")[1] for pointer in (*PERSONAL, *content)} == set(SLICES)
    assert not {*PERSONAL} & {*content}
    assert category(records, "conversation")["kept"] == "by rule: personal"
    assert category(records, "content")["kept"] == "by rule: decision_log, order_evidence, regulated"
    limits = {rule["name"]: (rule["class"], rule["maximum_days"], rule["basis"]) for rule in records["retention"]}
    assert limits["personal"] == ("personal", 7, "GDPR Art. 5(1)(e)")
    assert {rule["at_the_end"] for rule in records["retention"]} == {AT_THE_END}
    assert limits["regulated"] == ("content", 1826, "FCA SYSC 9.1")
    assert records["to_complete"] == list(TO_COMPLETE)


@pytest.mark.django_db
def test_a_class_without_a_rule_is_said_to_be_kept_for_good(configure: Any) -> None:
    configure(RETENTION={"personal": None})
    found = category(processing_records(), "conversation")["kept"]
    assert found == "for good: no retention rule is about this class"


@pytest.mark.django_db
def test_the_records_count_sessions_by_rule_with_the_backlog(opened: Any, clock: Any) -> None:
    one, two, _live = (opened().session_id for _ in range(3))
    for session_id in (one, two):
        services.end_session(session_id)
    services.place_legal_hold(scope="session", session_id=one, matter="M", actor=Actor("staff", "1"))
    clock.move_to(MORNING + 30 * DAY)
    records = processing_records()
    numbers = {
        rule["name"]: (rule["sessions"], rule["due"], rule["held"], rule["next_due"]) for rule in records["retention"]
    }
    later = "2027-04-02T10:00:00.000000Z"
    assert numbers == {"personal": (3, 2, 1, None), "decision_log": (3, 0, 0, later), "order_evidence": (0, 0, 0, None)}
    assert records["legal_holds"] == {"in_force": 1, "review_due": 0}
    services.purge()
    (personal, *_) = processing_records()["retention"]
    assert (personal["sessions"], personal["due"], personal["held"]) == (2, 1, 1)


@pytest.mark.django_db
def test_the_records_name_recipients_places_and_measures(opened: Any, configure: Any) -> None:
    sink = {"name": "vault", "class": "agent_sessions.sinks.directory.DirectorySink", "path": "/srv/secret-place"}
    configure(STORE="shop.Store", LOG_SINKS=[sink], BIND_TO="address", ERASURE_HORIZON_DAYS=14)
    opened()
    opened(agent=Agent("Other"))
    records = processing_records()
    recipients = {one["who"]: one.get("sessions") for one in records["recipients"]}
    assert recipients == {
        "Shopping helper of Acme Assistants": 1,
        "Other": 1,
        "shop.Store": None,
        "log sink vault (agent_sessions.sinks.directory.DirectorySink)": None,
    }
    assert "tokens bound to the caller's address" in records["security"]
    assert records["erasure"]["horizon_days"] == 14
    assert records["stored_in"][0]["what"] == "all tables"
    assert {"what": "master keys", "where": "LocalKeyProvider, 1 of them"} in records["stored_in"]


@pytest.mark.django_db
def test_nobody_is_in_the_records_and_nothing_is_changed(opened: Any, configure: Any) -> None:
    """The records are handed out: no reference, no pseudonym, no content, no secret of the settings."""
    consumer = services.consumer_pseudonym("customer-1")
    one = opened(consumer=consumer, purpose="find a mug", state={"agent": {"wish": "blue"}})
    services.add_message(one.session_id, role="user", content="hello there")
    before = everything_stored()
    told = json.dumps(processing_records())
    assert [word for word in (consumer, "find a mug", "blue", "hello there", str(one.session_id)) if word in told] == []
    assert everything_stored() == before
