"""The overview says what stored things do not agree, since when, who found it, and how far anybody looked (O2, R4)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine as clocks
from django.core.management import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agent_sessions import selectors, services
from agent_sessions.admin import agreement as part
from agent_sessions.audit.events import ENDED
from agent_sessions.domain.identity import SYSTEM
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import AuditEvent, SiteEvent
from agent_sessions.selectors import divergence
from agent_sessions.selectors.divergence import CHECKED, LOG_CHECKED, CheckRun
from agent_sessions.services import OpenedSession
from agent_sessions.services.integrity import record_check
from agent_sessions.services.sequencing import sequence_log
from agent_sessions.services.site_events import record
from tests.admin.conftest import person, text, url
from tests.admin.test_pages import words
from tests.conftest import MORNING
from tests.management.running import run
from tests.shopping import variables
from tests.superuser import delete_event, run_sql
from tests.tampering import Tamper, flipped

pytestmark = pytest.mark.django_db
Opens = Callable[..., OpenedSession]
NOTHING_YET = "No check is on record. Run: manage.py {} --record"
WRONG_WEIGHT = {"patch_bytes": 10**6}
"""A counter in the session's row that history does not give: it can be made again."""


@pytest.fixture(autouse=True)
def in_utc(settings: Any) -> None:
    settings.TIME_ZONE = "UTC"


@pytest.fixture
def mender(db: None) -> Client:
    return person("mia", "view_session", "repair_session")


def shown(client: Client) -> str:
    return text(client, url("dashboard"))


def rows(page: str) -> list[list[str]]:
    """The cells of what does not agree, and of the last checks."""
    box = page.split('id="ags-agreement"')[1].split("</section>")[0]
    return [
        [_plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", box, re.DOTALL)
    ]


def diverging(page: str) -> list[list[str]]:
    found = rows(page)
    last = next(number for number, row in enumerate(found) if row[0] == "What is compared")
    return found[1:last] if last else []


def checks(page: str) -> list[list[str]]:
    return rows(page)[-2:]


def test_as_long_as_nobody_has_checked_it_says_so(staff: Client, opened: Opens) -> None:
    opened()
    page = shown(staff)
    assert diverging(page) == []
    verified, compared = checks(page)
    assert verified == ["Every session against its history verify_sessions", NOTHING_YET.format("verify_sessions")]
    assert compared[1:] == [NOTHING_YET.format("audit_fsck")]
    assert "Somebody has to look" not in page


def test_a_check_that_found_nothing_says_when_it_was_and_how_far_it_went(
    staff: Client, live: OpenedSession, opened: Opens
) -> None:
    opened()
    sequence_log()
    assert run("verify_sessions", "--record").status == 0
    assert run("audit_fsck", "--record").status == 0
    page = shown(staff)
    verified, compared = checks(page)
    assert verified[2:] == ["2 sessions, 8 events", "nothing"]
    assert re.match(r"\d+ \w+ 20\d\d, ", verified[1])
    assert compared[2:] == ["2 sessions, 8 events, 4 leaves", "nothing"]
    assert diverging(page) == []
    assert "Somebody has to look" not in page
    assert [event.kind for event in SiteEvent.objects.order_by("-seq")[:2]] == [LOG_CHECKED, CHECKED]
    assert run("audit_fsck").status == 0, "the site's own chain goes on"


def test_a_row_that_differs_is_told_with_the_way_to_repair_it(
    staff: Client, mender: Client, live: OpenedSession, opened: Opens, clock: clocks.Traveller
) -> None:
    opened()
    Tamper(live.session_id).session(**WRONG_WEIGHT)
    assert run("verify_sessions", "--record").status == 1
    page = shown(mender)
    [[about, parts, since, by, then]] = diverging(page)
    assert about == str(live.session_id)[:13]
    assert f'href="{url("change", live.session_id)}"' in page
    assert (parts, by, then) == ("row snapshot_pointer", "verify_sessions", "Check and repair")
    assert since == "2 Mar 2026, 10:00:00"
    assert f'href="{url("act", live.session_id, "repair")}"' in page
    assert checks(page)[0][2:] == ["2 sessions, 8 events", "1 finding"]
    assert '<a href="#ags-agreement"><b>1</b> found not to agree with what is stored beside them</a>' in page
    assert diverging(shown(staff))[0][-1] == "–", "who may not repair is not led there"


def test_what_was_repaired_since_is_told_no_more(staff: Client, live: OpenedSession, opened: Opens) -> None:
    other = opened()
    for one in (live, other):
        Tamper(one.session_id).session(**WRONG_WEIGHT)
    run("verify_sessions", "--record")
    assert len(diverging(shown(staff))) == 2
    assert services.repair_session(live.session_id).ok
    assert [row[0] for row in diverging(shown(staff))] == [str(other.session_id)[:13]]
    assert run("verify_sessions", "--repair", "--record").status == 0
    page = shown(staff)
    assert diverging(page) == []
    assert "Somebody has to look" not in page


def test_a_repair_before_the_check_is_not_one_since(staff: Client, live: OpenedSession) -> None:
    Tamper(live.session_id).session(**WRONG_WEIGHT)
    services.repair_session(live.session_id)
    Tamper(live.session_id).session(**WRONG_WEIGHT)
    run("verify_sessions", "--record")
    assert len(diverging(shown(staff))) == 1


def test_what_a_check_finds_again_keeps_its_time(staff: Client, live: OpenedSession, clock: clocks.Traveller) -> None:
    Tamper(live.session_id).session(**WRONG_WEIGHT)
    run("verify_sessions", "--record")
    clock.shift(timedelta(days=1))
    run("verify_sessions", "--record")
    page = shown(staff)
    assert diverging(page)[0][2] == "2 Mar 2026, 10:00:00"
    assert checks(page)[0][1] == "3 Mar 2026, 10:00:00"
    services.repair_session(live.session_id)
    Tamper(live.session_id).session(**WRONG_WEIGHT)
    clock.shift(timedelta(days=1))
    run("verify_sessions", "--record")
    assert diverging(shown(staff))[0][2] == "4 Mar 2026, 10:00:00", "it was sound meanwhile"


def test_a_state_in_the_cache_that_is_not_what_history_gives(staff: Client, live: OpenedSession) -> None:
    head = selectors.read_head(live.session_id)
    false = selectors._cache.measured(variables(a="false"))
    selectors._cache.local.put(head, false, limit=10**6)
    run("verify_sessions", "--record")
    assert diverging(shown(staff))[0][1] == "cached state cached_state"


def test_damaged_history_is_told_as_quarantined_until_it_is_released(mender: Client, live: OpenedSession) -> None:
    tamper = Tamper(live.session_id)
    sound = bytes(tamper.versions.get(number=2).patch or b"")
    tamper.version(2, patch=flipped(sound))
    run("verify_sessions", "--record")
    page = shown(mender)
    [[about, parts, _since, by, then]] = diverging(page)
    assert about == f"{str(live.session_id)[:13]} quarantined"
    assert (parts, by, then) == ("history patch_unreadable", "verify_sessions", "Check and repair")
    assert "1 quarantined: what is stored differs" in words(page)
    assert "found not to agree" not in page, "it is told once"
    tamper.version(2, patch=sound)
    assert services.release_session(live.session_id)
    page = shown(mender)
    assert diverging(page) == []
    assert "Somebody has to look" not in page


def test_what_a_writer_came_across_is_told_without_a_check(
    mender: Client, live: OpenedSession, clock: clocks.Traveller
) -> None:
    tamper = Tamper(live.session_id)
    tamper.version(4, patch=flipped(tamper.versions.get(number=4).patch))
    selectors._cache.local.clear()
    with pytest.raises(SessionDamaged):
        services.change_session(live.session_id, expected_version=4, patch=variables(e=5))
    assert diverging(shown(mender)) == [
        [
            f"{str(live.session_id)[:13]} quarantined",
            "not told: check it",
            "2 Mar 2026, 10:00:00",
            "whoever read or wrote it",
            "Check and repair",
        ]
    ]
    clock.shift(timedelta(days=1))
    tamper.session(merchant="elsewhere", parent_request="other")
    run("verify_sessions", "--record")
    [[_about, parts, since, by, _then]] = diverging(shown(mender))
    assert parts == "row, history patch_unreadable, wrong_column", "each is named once"
    assert (since, by) == ("2 Mar 2026, 10:00:00", "verify_sessions"), "it was known before the check"


def test_what_the_log_shows_leads_to_the_proof_and_stays_until_the_next_run(
    mender: Client, live: OpenedSession, opened: Opens
) -> None:
    gone = opened()
    sequence_log()
    delete_event(live.session_id, 7)
    run_sql(
        ("DELETE FROM agent_sessions_auditevent WHERE session_id = %s", [_stored(gone)]),
        ("DELETE FROM agent_sessions_sessionversion WHERE session_id = %s", [_stored(gone)]),
        ("DELETE FROM agent_sessions_sessionkey WHERE session_id = %s", [_stored(gone)]),
        ("DELETE FROM agent_sessions_session WHERE id = %s", [_stored(gone)]),
    )
    assert run("audit_fsck", "--record").status == 1
    page = shown(mender)
    found = {row[0]: row[1:] for row in diverging(page)}
    cut = found[str(live.session_id)[:13]]
    assert (cut[0], cut[2:]) == ("history truncated", ["audit_fsck", "Look at its proof"])
    assert f'href="{url("proof", live.session_id)}"' in page
    lost = found[str(gone.session_id)]
    assert (lost[0], lost[2:]) == ("row session_missing", ["audit_fsck", "–"])
    assert str(gone.session_id) not in re.sub(r">[^<]*<", "><", page), "there is nothing to lead to"
    assert "2 found not to agree" in words(page)


def test_what_both_checks_find_is_one_row(mender: Client, live: OpenedSession) -> None:
    sequence_log()
    delete_event(live.session_id, 7)
    run("verify_sessions", "--record")
    run("audit_fsck", "--record")
    [[_about, parts, _since, by, then]] = diverging(shown(mender))
    assert parts.startswith("row, history ")
    assert (by, then) == ("verify_sessions, audit_fsck", "Check and repair")


def test_heads_kept_outside_are_counted_and_logs_named(
    staff: Client, opened: Opens, configure: Callable[..., None], tmp_path: Path
) -> None:
    configure(LOG_SINKS=[{"name": "disk", "class": "agent_sessions.sinks.DirectorySink", "directory": str(tmp_path)}])
    opened()
    sequence_log()
    run_sql("UPDATE agent_sessions_loggeneration SET size = size + 1")
    run("audit_fsck", "--record")
    page = shown(staff)
    assert checks(page)[1][2].endswith("1 head from outside")
    assert any(row[1].startswith("log ") and row[3] == "audit_fsck" for row in diverging(page))


def test_a_session_that_could_not_be_opened_is_not_counted_as_checked(
    staff: Client, opened: Opens, configure: Callable[..., None], settings: Any
) -> None:
    opened()
    keys = settings.AGENT_SESSIONS["MASTER_KEYS"]
    configure(MASTER_KEYS={"other": next(iter(keys.values()))})
    run("verify_sessions", "--record")
    assert checks(shown(staff))[0][2:] == ["1 could not be opened", "nothing"]


def test_a_check_that_is_not_run_any_more_is_an_alarm(staff: Client, clock: clocks.Traveller) -> None:
    run("verify_sessions", "--record")
    clock.shift(part.OVERDUE - timedelta(seconds=1))
    assert "Somebody has to look" not in shown(staff)
    clock.shift(timedelta(seconds=1))
    assert "2 days since verify_sessions was last recorded" in words(shown(staff))
    assert "since audit_fsck was" not in shown(staff)


@pytest.mark.parametrize("other", [("--dry-run",), ("--session", "00000000000000000000000000000007")])
def test_only_a_whole_run_is_recorded(other: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="--record is for a whole run"):
        run("verify_sessions", "--record", *other)


def test_more_than_is_kept_is_counted(staff: Client, opened: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergence, "MOST_KEPT", 3)
    monkeypatch.setattr(part, "MOST_SHOWN", 2)
    for _ in range(4):
        Tamper(opened().session_id).session(**WRONG_WEIGHT)
    run("verify_sessions", "--record")
    page = shown(staff)
    assert len(diverging(page)) == 2
    assert "1 more is known." in words(page)
    assert "3+ found not to agree" in words(page)
    assert checks(page)[0][3] == "4 findings"


def test_it_costs_the_same_for_few_as_for_many(staff: Client, opened: Opens) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            shown(staff)
        return len(found)

    def damage() -> None:
        Tamper(opened().session_id).session(**WRONG_WEIGHT)
        Tamper(opened().session_id).session(merchant="elsewhere")
        run("verify_sessions", "--record")
        run("audit_fsck", "--record")

    damage()
    one = queries()
    for _ in range(4):
        damage()
    assert queries() == one <= 22


def test_a_record_that_was_altered_shows_nothing(staff: Client, opened: Opens) -> None:
    opened()
    run("verify_sessions", "--record")
    run_sql(("UPDATE agent_sessions_siteevent SET canonical = %s WHERE kind = %s", [b'{"params": []}', CHECKED]))
    assert checks(shown(staff))[0][1] == NOTHING_YET.format("verify_sessions")


def test_what_a_record_says_is_text(staff: Client) -> None:
    told = CheckRun(MORNING)
    for _ in range(2):
        told.add("<script>alert(1)</script>" + "x" * 200, "<b>\u202e")
    record_check(LOG_CHECKED, told)
    page = shown(staff)
    assert "<script>alert" not in page
    [[about, parts, *_rest]] = diverging(page)
    assert len(about) < 120
    assert parts.count("U+202E") == 1
    assert checks(page)[1][3] == "2 findings"


def test_the_newest_record_counts(staff: Client, live: OpenedSession) -> None:
    Tamper(live.session_id).session(**WRONG_WEIGHT)
    run("verify_sessions", "--record")
    record("keys.rotated", SYSTEM, {"master_key": "k2"})
    record_check(CHECKED, CheckRun(MORNING, sessions=7))
    page = shown(staff)
    assert diverging(page) == []
    assert checks(page)[0][2:] == ["7 sessions", "nothing"]
    assert json.loads(bytes(SiteEvent.objects.latest("seq").canonical))["params"]["sessions"] == 7
    assert not AuditEvent.objects.filter(kind=ENDED).exists()


def _plain(cell: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", cell)).split())


def _stored(session: OpenedSession) -> str:
    return str(session.session_id) if connection.vendor == "postgresql" else session.session_id.hex
