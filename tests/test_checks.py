"""System checks explain a wrong or unsafe installation, each with an id and a hint (O3)."""

from __future__ import annotations

import base64
from io import StringIO
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Agent
from agent_sessions.exceptions import KeyProblem
from agent_sessions.models import SessionKey
from tests.stored import everything_stored


def findings() -> list[CheckMessage]:
    """What ``manage.py check`` says about this package, that of the database included."""
    messages = run_checks() + run_checks(tags=[Tags.database], databases=["default"])
    return [message for message in messages if str(message.id).startswith("agent_sessions.")]


def test_with_the_settings_of_the_tests_there_is_nothing_to_say() -> None:
    assert findings() == []


def key(raw: bytes) -> dict[str, str]:
    return {"k1": base64.b64encode(raw).decode()}


SINK = "agent_sessions.sinks.DirectorySink"
SITUATIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown setting": ({"TTLS": {}}, "E001", "'TTLS'"),
    "list as steps": ({"STEPS": []}, "E002", "'STEPS'"),
    "steps that are nowhere": ({"STEPS": "tests.services.working.nowhere"}, "E015", "cannot be read: ImportError"),
    "steps that are none": ({"STEPS": "tests.services.working.PATH"}, "E015", "a sequence of StepRule"),
    "two steps of one name": ({"STEPS": "tests.services.working.TWICE"}, "E015", "each with a name of its own"),
    "list of rules": ({"RETENTION": []}, "E002", "'RETENTION'"),
    "a rule kept for less than its least": (
        {"RETENTION": {"order_evidence": {"maximum_days": 30}}},
        "E020",
        "/RETENTION/order_evidence/minimum_days",
    ),
    "a rule of no class": ({"RETENTION": {"personal": {"class": "secret"}}}, "E020", "/RETENTION/personal/class"),
    "nothing personal is erased": ({"RETENTION": {"personal": None}}, "W005", "'personal'"),
    "no rule for orders": ({"RETENTION": {"order_evidence": None}}, "W005", "quote with an order"),
    "a rule for one merchant": ({"RETENTION": {"personal": {"merchants": ["a"]}}}, "W005", "'personal'"),
    "a rule for one kind": ({"RETENTION": {"decision_log": {"kinds": ["quote"]}}}, "W005", "standard without an order"),
    "a rule for no kind": (
        {
            "RETENTION": {
                "more": {"class": "content", "starts": "end", "maximum_days": 9, "basis": "x", "kinds": ["qote"]}
            }
        },
        "W006",
        "'qote'",
    ),
    "no day until a review": ({"LEGAL_HOLD_REVIEW_DAYS": 0}, "E002", "'LEGAL_HOLD_REVIEW_DAYS'"),
    "setting in lower case": ({"site": "https://shop.example"}, "E001", "'site'"),
    "number as site": ({"SITE": 7}, "E002", "'SITE'"),
    "empty merchant": ({"MERCHANT": ""}, "E002", "'MERCHANT'"),
    "long merchant": ({"MERCHANT": "m" * 201}, "E002", "'MERCHANT'"),
    "list of keys": ({"MASTER_KEYS": ["a"]}, "E002", "'MASTER_KEYS'"),
    "bytes as key": ({"MASTER_KEYS": {"a": b"bytes"}}, "E002", "'MASTER_KEYS'"),
    "class as provider": ({"KEY_PROVIDER": object}, "E002", "'KEY_PROVIDER'"),
    "number as times to live": ({"TTL": 1800}, "E002", "'TTL'"),
    "text as time to live": ({"TTL": {"standard": "1800"}}, "E002", "'TTL'"),
    "true as time to live": ({"TTL": {"standard": True}}, "E002", "'TTL'"),
    "other storage": ({"STORAGE": "memory"}, "E002", "'STORAGE'"),
    "none as cache": ({"STATE_CACHE": None}, "E002", "'STATE_CACHE'"),
    "no snapshots": ({"SNAPSHOT_EVERY": 0}, "E002", "'SNAPSHOT_EVERY'"),
    "true as count": ({"SNAPSHOT_EVERY": True}, "E002", "'SNAPSHOT_EVERY'"),
    "no cache bytes": ({"STATE_CACHE_BYTES": 0}, "E002", "'STATE_CACHE_BYTES'"),
    "negative slice": ({"MAX_SLICE_BYTES": -1}, "E002", "'MAX_SLICE_BYTES'"),
    "fraction of a state": ({"MAX_STATE_BYTES": 1.5}, "E002", "'MAX_STATE_BYTES'"),
    "text as message size": ({"MAX_MESSAGE_BYTES": "64k"}, "E002", "'MAX_MESSAGE_BYTES'"),
    "short time to live": ({"TTL": {"quote": 59}}, "E003", "'quote'"),
    "negative time to live": ({"TTL": {"standard": -1}}, "E003", "'standard'"),
    "hasty quote": ({"TTL": {"quote": 299}}, "E013", "'quote'"),
    "long quote": ({"TTL": {"quote": 901}}, "E013", "'quote'"),
    "grant for no time": ({"TRANSFER_GRANT_TTL": 0}, "E002", "'TRANSFER_GRANT_TTL'"),
    "unknown cache": ({"STATE_CACHE": "nowhere"}, "E004", "'nowhere'"),
    "no key": ({"MASTER_KEYS": {}}, "E005", "MASTER_KEYS"),
    "key that is no base64": ({"MASTER_KEYS": {"k1": "a passphrase!"}}, "E005", "not base64"),
    "short key": ({"MASTER_KEYS": key(bytes(range(16)))}, "E005", "has 16 bytes"),
    "one byte repeated": ({"MASTER_KEYS": key(b"k" * 32)}, "E005", "one byte repeated"),
    "passphrase for a key": ({"MASTER_KEYS": key(b"passwordpasswordpasswordpassword")}, "E005", "different bytes"),
    "key id with a space": ({"MASTER_KEYS": {"my key": key(bytes(range(32)))["k1"]}}, "E005", "my key"),
    "provider that is not there": ({"KEY_PROVIDER": "shop.keys.provider"}, "E005", "KEY_PROVIDER"),
    "provider that is no path": ({"KEY_PROVIDER": "provider"}, "E005", "KEY_PROVIDER"),
    "text as exempt places": ({"PAYMENT_DATA_EXEMPT": "/item"}, "E002", "'PAYMENT_DATA_EXEMPT'"),
    "exempt place that is no pointer": ({"PAYMENT_DATA_EXEMPT": ["item"]}, "E002", "'PAYMENT_DATA_EXEMPT'"),
    "text as sinks": ({"LOG_SINKS": "disk"}, "E002", "'LOG_SINKS'"),
    "sink without a class": ({"LOG_SINKS": [{"name": "disk"}]}, "E002", "'LOG_SINKS'"),
    "no sinks needed": ({"LOG_SINKS_NEEDED": 0}, "E002", "'LOG_SINKS_NEEDED'"),
    "number as origin": ({"LOG_ORIGIN": 1}, "E002", "'LOG_ORIGIN'"),
    "sink without a name": ({"LOG_SINKS": [{"class": SINK, "directory": "/heads"}]}, "E021", "/LOG_SINKS/0/name"),
    "sink that is nowhere": ({"LOG_SINKS": [{"name": "a", "class": "nowhere.Sink"}]}, "E021", "/LOG_SINKS/0/class"),
    "sink that is none": ({"LOG_SINKS": [{"name": "a", "class": "builtins.dict"}]}, "E021", "/LOG_SINKS/0/class"),
    "sink with an unknown option": (
        {"LOG_SINKS": [{"name": "a", "class": SINK, "directory": "/heads", "mode": 7}]},
        "E021",
        "'mode'",
    ),
    "sink with a wrong option": (
        {"LOG_SINKS": [{"name": "a", "class": SINK, "directory": "heads"}]},
        "E021",
        "/LOG_SINKS/0/directory",
    ),
    "two sinks of one name": (
        {"LOG_SINKS": [{"name": "a", "class": SINK, "directory": "/heads"}] * 2},
        "E021",
        "have one name",
    ),
    "more sinks needed than there are": ({"LOG_SINKS_NEEDED": 1}, "E021", "'LOG_SINKS_NEEDED'"),
    "origin with a space": ({"LOG_ORIGIN": "shop.example log"}, "E022", "'LOG_ORIGIN'"),
    "slice larger than the state": ({"MAX_SLICE_BYTES": 11, "MAX_STATE_BYTES": 10}, "E007", "MAX_SLICE_BYTES"),
    "no site": ({"SITE": ""}, "W002", "'SITE'"),
}


@pytest.mark.parametrize(("changes", "check", "says"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_each_situation_has_its_check(configure: Any, changes: dict[str, Any], check: str, says: str) -> None:
    configure(**changes)

    (finding,) = findings()

    assert finding.id == f"agent_sessions.{check}"
    assert says in finding.msg
    assert finding.is_serious() is check.startswith("E")


def test_every_finding_tells_what_to_do(configure: Any, settings: Any) -> None:
    standard = settings.AGENT_SESSIONS
    without_hint = []
    for situation, (changes, _, _) in SITUATIONS.items():
        settings.AGENT_SESSIONS = standard
        configure(**changes)
        without_hint += [situation for finding in findings() if not finding.hint]

    assert without_hint == []


@pytest.mark.parametrize(
    "changes",
    [
        {"TTL": {"standard": 60}},
        {"TTL": {"quote": 300}},
        {"TTL": {"quote": 900}},
        {"MAX_SLICE_BYTES": 10, "MAX_STATE_BYTES": 10},
    ],
)
def test_at_its_limit_a_setting_is_good(configure: Any, changes: dict[str, Any]) -> None:
    configure(**changes)

    assert findings() == []


@pytest.mark.parametrize(
    ("sinks", "ids"),
    [
        ([], ["W011"]),
        ([{"name": "a", "class": "agent_sessions.sinks.HttpSink", "url": "https://auditor.example"}], ["W012"]),
        ([{"name": "a", "class": SINK, "directory": "/heads"}], []),
    ],
)
def test_a_deployment_is_told_what_its_log_is_worth(configure: Any, sinks: list[Any], ids: list[str]) -> None:
    """A4, O3"""
    configure(LOG_SINKS=sinks)

    found = run_checks(include_deployment_checks=True)

    ours = [one for one in found if str(one.id) in ("agent_sessions.W011", "agent_sessions.W012")]
    assert [one.id for one in ours] == [f"agent_sessions.{check}" for check in ids]
    assert all(one.hint for one in ours)


def test_settings_that_are_no_map_are_an_error(settings: Any) -> None:
    settings.AGENT_SESSIONS = [("SITE", "https://shop.example")]

    assert [finding.id for finding in findings()] == ["agent_sessions.E002"]


def test_a_kind_that_no_column_holds_is_an_error(configure: Any) -> None:
    """L1: on PostgreSQL such a session could not be opened."""
    configure(TTL={"k" * 33: 600})

    (finding,) = findings()

    assert finding.is_serious()


def test_a_provider_that_fails_is_explained(configure: Any) -> None:
    """O3: whatever it fails with, the check tells, and does not fail itself."""
    configure(KEY_PROVIDER="agent_sessions.conf.DEFAULTS")

    (finding,) = findings()

    assert finding.id == "agent_sessions.E005"


def test_several_things_can_be_wrong_at_once(configure: Any) -> None:
    configure(TTLS={}, SNAPSHOT_EVERY=0, STORAGE="memory")

    assert sorted(str(finding.id) for finding in findings()) == [
        "agent_sessions.E001",
        "agent_sessions.E002",
        "agent_sessions.E002",
    ]


def test_no_message_shows_a_key(configure: Any) -> None:
    secret = "correct horse battery staple"
    configure(MASTER_KEYS={"k1": secret})

    (finding,) = findings()

    assert secret not in f"{finding.msg} {finding.hint}"


def test_an_error_stops_manage_py(configure: Any) -> None:
    configure(MASTER_KEYS={})

    with pytest.raises(SystemCheckError, match=r"agent_sessions\.E005"):
        call_command("check", stdout=StringIO(), stderr=StringIO())


@pytest.mark.parametrize(("vendor", "ids"), [("mysql", ["E006"]), ("oracle", ["E006"]), ("sqlite", [])])
def test_another_database_is_an_error(monkeypatch: pytest.MonkeyPatch, vendor: str, ids: list[str]) -> None:
    """I5"""
    monkeypatch.setattr(connection, "vendor", vendor)

    found = run_checks(tags=[Tags.database], databases=["default"])

    ours = [message for message in found if str(message.id).startswith("agent_sessions.")]
    assert [message.id for message in ours] == [f"agent_sessions.{check}" for check in ids]
    assert all(vendor in message.msg and message.hint for message in ours)


@pytest.mark.django_db
def test_with_debug_a_development_key_does(configure: Any, settings: Any) -> None:
    """O3: trying things out needs no set-up, and says that it is not safe."""
    settings.DEBUG = True
    configure(MASTER_KEYS={})

    (finding,) = findings()
    one = services.open_session(agent=Agent("tryout"), state={"agent": {"a": 1}})

    assert (finding.id, finding.is_serious()) == ("agent_sessions.W001", False)
    assert "development key" in finding.msg
    assert selectors.authenticate(one.token).session_id == one.session_id
    assert selectors.current_state(one.session_id).state == {"agent": {"a": 1}}
    assert SessionKey.objects.get().master_key_id == "development"


@pytest.mark.django_db
def test_without_debug_nothing_works_without_a_key(configure: Any) -> None:
    """O3: safe by default."""
    configure(MASTER_KEYS={})
    before = everything_stored()

    with pytest.raises(KeyProblem, match="MASTER_KEYS"):
        services.open_session(agent=Agent("tryout"))

    assert everything_stored() == before


@pytest.mark.django_db
def test_what_the_development_key_made_is_closed_without_debug(configure: Any, settings: Any) -> None:
    settings.DEBUG = True
    configure(MASTER_KEYS={})
    one = services.open_session(agent=Agent("tryout"), state={"agent": {"a": 1}})
    settings.DEBUG = False
    configure(MASTER_KEYS=key(bytes(range(32))))

    with pytest.raises(KeyProblem, match="no master key 'development'"):
        selectors.current_state(one.session_id)
