"""Bundles of evidence: for an auditor, or for the person they are about, checked by whoever gets them (A2, A3, A9)."""

from __future__ import annotations

import io
import json
import random
import stat
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.bundle import sign_manifest, verify_bundle
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.notes import Policy
from agent_sessions.audit.verify import main
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.crypto.canonical import canonical_bytes
from agent_sessions.crypto.signing import new_signing_key, read_public_key
from agent_sessions.domain.identity import SYSTEM, Actor, Agent
from agent_sessions.exceptions import AgentSessionsError, InvalidValue
from agent_sessions.models import AuditEvent, SiteEvent
from agent_sessions.selectors import Selection
from agent_sessions.services import Bundle, OpenedSession
from agent_sessions.services import evidence as evidence_module
from agent_sessions.services.erasing import Grounds, erase
from tests.buying import CUSTOMER, PURPOSE, Bought, asked_for, buy
from tests.buying import bought as bought
from tests.buying import selling as selling
from tests.buying import tick as tick
from tests.conftest import MORNING
from tests.services.asking import ask
from tests.store import shop as stock
from tests.store.calling import call
from tests.tampering import Tamper

pytestmark = pytest.mark.django_db

STAFF = Actor("staff", "17")
MINUTE = timedelta(minutes=1)
FIRST_MOMENT, LAST_MOMENT = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
Files = dict[str, bytes]


def made(selection: Selection, **facts: Any) -> tuple[Bundle, bytes]:
    file = io.BytesIO()
    bundle = services.write_bundle(selection, file, **{"reason": "Audit 2026", "actor": STAFF, **facts})
    return bundle, file.getvalue()


def files_of(written: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def keys() -> list[bytes]:
    return [read_public_key(key.public_key) for key in services.signing_keys()]


def checked(written: bytes, trusted: list[bytes] | None = None) -> Any:
    return verify_bundle(io.BytesIO(written), keys() if trusted is None else trusted)


def sessions_in(written: bytes) -> list[str]:
    return [json.loads(line)["session"] for line in files_of(written)["index.jsonl"].splitlines()]


@pytest.fixture
def live(opened: Any, selling: stock.Shelf, tick: Callable[[], object]) -> OpenedSession:
    """A session that is live, of another agent, with a parent request."""
    one: OpenedSession
    one, _ = asked_for(opened, tick, agent=Agent("Other helper"), consumer="", parent_request="req-9")
    return one


def test_a_bundle_holds_evidence_and_proof_of_every_session(bought: Bought, live: OpenedSession) -> None:
    """A2: with a manifest of hashes that the site has signed, and what it was made for."""
    selection = services.select_evidence(sessions=[live.session_id, bought.session_id])
    bundle, written = made(selection)

    assert (bundle.sessions, bundle.sealed, bundle.live, bundle.unreadable, bundle.unproven) == (2, 1, 1, 0, 0)
    files = files_of(written)
    ids = [str(bought.session_id), str(live.session_id)]
    assert set(files) == {
        "README.txt", "index.jsonl", "manifest.json", "manifest.sig.json",
        f"sessions/{ids[0]}/evidence.json", f"sessions/{ids[0]}/artifact.json",
        f"sessions/{ids[1]}/evidence.json", f"sessions/{ids[1]}/chain.json",
    }  # fmt: skip
    manifest = json.loads(files["manifest.json"])
    assert canonical_bytes(manifest) == files["manifest.json"]
    assert {one["path"]: one["sha256"] for one in manifest["files"]} == {
        name: sha256(content).hexdigest() for name, content in files.items() if not name.startswith("manifest")
    }
    assert manifest["counts"] == {"sessions": 2, "sealed": 1, "live": 1, "unreadable": 0, "unproven": 0}
    assert (manifest["made_by"], manifest["reason"], manifest["personal"]) == ("staff:17", "Audit 2026", False)
    assert manifest["asked"] == {"sessions": [ids[1], ids[0]]}
    assert [key["public_key"] for key in manifest["keys"]] == [key.public_key for key in services.signing_keys()]
    assert files[f"sessions/{ids[0]}/artifact.json"] == services.get_artifact(bought.session_id, disclose="content")
    assert [json.loads(line)["standing"] for line in files["index.jsonl"].splitlines()] == ["sealed", "live"]
    assert json.loads(files["index.jsonl"].splitlines()[0])["orders"] == ["A-1"]

    result = checked(written)
    assert result.problems == []
    assert (result.ok, result.trusted, result.sealed, result.live, result.files) == (True, True, 1, 1, 6)


def test_making_one_is_told_in_the_sites_chain_with_its_hash(bought: Bought) -> None:
    """A9: which files were handed out, to whom and what for; not of whom."""
    selection = services.select_evidence(consumer=CUSTOMER)
    bundle, written = made(selection, personal=True)
    event = json.loads(bytes(SiteEvent.objects.get().canonical))
    assert (event["kind"], event["actor"]) == ("evidence.exported", "staff:17")
    assert event["params"] == {
        "asked_by": ["consumer", "merchant"],
        "bundle": str(bundle.bundle_id),
        "manifest_sha256": sha256(files_of(written)["manifest.json"]).hexdigest(),
        "personal": True,
        "reason": "Audit 2026",
        "sessions": 1,
    }


def test_a_consumer_gets_what_is_known_of_them(opened: Any, selling: stock.Shelf, tick: Any) -> None:
    """GDPR Art. 15: all their sessions, live ones too, with their words; and nobody else's."""
    mine = buy(opened, tick)
    other = buy(opened, tick, order="A-2", consumer=services.consumer_pseudonym("customer-18"), purpose="for Bob")
    now, _ = asked_for(opened, tick)
    services.add_message(now.session_id, role="user", content="My knee hurts")
    _, written = made(services.select_evidence(consumer=CUSTOMER), personal=True)

    assert sessions_in(written) == [str(mine.session_id), str(now.session_id)]
    files = files_of(written)
    assert PURPOSE.encode() in files[f"sessions/{mine.session_id}/artifact.json"]
    assert b"My knee hurts" in files[f"sessions/{now.session_id}/chain.json"]
    everything = b"".join(files.values())
    assert str(other.session_id).encode() not in everything
    assert CUSTOMER.encode() not in everything
    assert mine.opened.token.encode() not in everything
    assert checked(written).trusted


def test_sessions_from_before_it_was_known_for_whom_are_found_too(opened: Any, selling: Any, tick: Any) -> None:
    """GDPR Art. 15: a session that names nobody, and one that went on from it and does."""
    first = opened(purpose="tea")
    assert not selectors.read_head(first.session_id).consumer
    tick()
    later = services.accept_transfer(
        services.grant_transfer(first.session_id, actor=Actor("consumer")).code,
        agent=Agent("Tea expert"),
        consumer="",
    )
    Tamper(later.opened.session_id).session(consumer=services.consumer_pseudonym(CUSTOMER))
    _, written = made(services.select_evidence(consumer=CUSTOMER))
    assert sessions_in(written) == [str(first.session_id), str(later.opened.session_id)]


def test_what_is_personal_stays_out_unless_it_is_asked_for(bought: Bought) -> None:
    """A9"""
    for personal in (False, True):
        _, written = made(services.select_evidence(consumer=CUSTOMER, order="A-1"), personal=personal)
        everything = b"".join(files_of(written).values())
        assert (PURPOSE.encode() in everything) is personal
        assert (services.consumer_pseudonym(CUSTOMER).encode() in everything) is personal


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({"order": "A-1"}, "bought"),
        ({"agent": "Other helper"}, "live"),
        ({"agent": "ed25519:k1"}, "bought"),
        ({"parent_request": "req-9"}, "live"),
        ({"start": MORNING, "end": MORNING + 2 * MINUTE}, "bought"),
        ({"start": MORNING + 2 * MINUTE}, "live"),
        ({"end": MORNING + MINUTE, "agent": "Shopping helper"}, "bought"),
        ({"start": FIRST_MOMENT, "end": LAST_MOMENT, "order": "A-1"}, "bought"),
    ],
)
def test_sessions_are_selected_by(bought: Bought, live: OpenedSession, selection: Any, found: str) -> None:
    wanted = {"bought": bought.session_id, "live": live.session_id}[found]
    chosen = selectors.selected_sessions(services.select_evidence(**selection))
    assert [one.pk for one in chosen] == [wanted]


@pytest.mark.parametrize(
    ("selection", "problem"),
    [
        ({}, "Name sessions, a consumer, an order"),
        ({"merchant": "default"}, "Name sessions, a consumer, an order"),
        ({"start": MORNING, "end": MORNING}, "ends before it begins"),
        ({"start": datetime(2026, 1, 1)}, "offset from UTC"),  # noqa: DTZ001 - that is what is wrong with it
        ({"order": "B-9"}, "No session fits that"),
        ({"order": "A\0"}, "NUL character"),
        ({"agent": "A\0"}, "NUL character"),
        ({"consumer": "customer-99"}, "No session fits that"),
    ],
)
def test_a_selection_that_is_wrong_or_empty_is_refused(
    bought: Bought, tmp_path: Path, selection: Any, problem: str
) -> None:
    with pytest.raises(InvalidValue, match=problem):
        services.export_evidence(services.select_evidence(**selection), tmp_path / "a.zip", reason="Audit", actor=STAFF)
    assert list(tmp_path.iterdir()) == []
    assert not SiteEvent.objects.exists()


def test_more_sessions_than_the_limit_are_refused(bought: Bought, live: OpenedSession) -> None:
    both = services.select_evidence(start=MORNING, end=datetime(2027, 1, 1, tzinfo=UTC))
    assert made(both, limit=2)[0].sessions == 2
    with pytest.raises(InvalidValue, match="More than 1 sessions fit that"):
        made(both, limit=1)


def test_a_file_is_there_whole_or_not_at_all_and_for_its_owner_only(
    bought: Bought, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, selection = tmp_path / "bundle.zip", services.select_evidence(order="A-1")
    services.export_evidence(selection, path, reason="Audit", actor=STAFF)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("agent_sessions.services.bundles._Writing._manifest", fails)
    with pytest.raises(OSError, match="disk full"):
        services.export_evidence(selection, path, reason="Audit", actor=STAFF)
    assert [one.name for one in tmp_path.iterdir()] == ["bundle.zip"]
    assert path.read_bytes() == before
    assert SiteEvent.objects.count() == 1


def test_a_bundle_that_cannot_be_told_of_is_handed_to_nobody(
    bought: Bought, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1"""

    def fails(*_: object, **__: object) -> None:
        raise AgentSessionsError("the chain cannot be written")

    monkeypatch.setattr("agent_sessions.services.bundles.record", fails)
    with pytest.raises(AgentSessionsError, match="cannot be written"):
        services.export_evidence(
            services.select_evidence(order="A-1"), tmp_path / "bundle.zip", reason="Audit", actor=STAFF
        )
    assert list(tmp_path.iterdir()) == []


def test_the_same_at_the_same_moment_is_the_same_but_for_its_id(bought: Bought, live: OpenedSession) -> None:
    both = services.select_evidence(start=MORNING)
    (one, first), (two, second) = made(both), made(both)
    one_files, two_files = files_of(first), files_of(second)
    assert list(one_files) == list(two_files)
    manifest = two_files.pop("manifest.json").replace(str(two.bundle_id).encode(), str(one.bundle_id).encode())
    assert one_files.pop("manifest.json") == manifest
    one_files.pop("manifest.sig.json")
    two_files.pop("manifest.sig.json")
    assert one_files == two_files


def test_a_session_that_cannot_be_read_holds_up_no_other(bought: Bought, quarantined: OpenedSession) -> None:
    """R5: it is in the index with the reason, and the verifier says so."""
    bundle, written = made(services.select_evidence(sessions=[bought.session_id, quarantined.session_id]))
    assert (bundle.sealed, bundle.unreadable) == (1, 1)
    lines = [json.loads(line) for line in files_of(written)["index.jsonl"].splitlines()]
    assert {"session": str(quarantined.session_id), "standing": "unreadable", "problem": "session_quarantined"} in lines
    result = checked(written)
    assert (result.ok, result.unreadable) == (True, 1)


def test_an_erased_session_is_in_it_with_what_is_left(bought: Bought) -> None:
    """A7"""
    grounds = Grounds("personal", "GDPR Art. 5(1)(e)", "retention")
    erase(selectors.read_head(bought.session_id), frozenset({"content", "personal"}), grounds, actor=SYSTEM)
    _, written = made(services.select_evidence(order="A-1"), personal=True)
    assert PURPOSE.encode() not in b"".join(files_of(written).values())
    line = json.loads(files_of(written)["index.jsonl"])
    assert line["erased"] == ["erased under rule 'personal' on 2026-03-02"] * 2
    assert checked(written).trusted


def test_a_session_whose_chain_was_changed_is_told_as_such(bought: Bought) -> None:
    """A3: what the verifier finds when the bundle is made."""
    canonical = bytes(AuditEvent.objects.get(session=bought.session_id, seq=5).canonical)
    Tamper(bought.session_id).event(5, canonical=canonical.replace(b"large-orders", b"small-orders"))
    bundle, _ = made(services.select_evidence(order="A-1"))
    assert (bundle.sealed, bundle.unreadable) == (0, 1)


def test_the_log_comes_with_it(bought: Bought) -> None:
    """A4: a proof that the session is in the log, the newest head, and the key to check them with."""
    services.sequence_log()
    (key,) = selectors.log_keys()
    bundle, written = made(services.select_evidence(order="A-1"))
    assert (bundle.sealed, bundle.unproven) == (1, 0)
    files = files_of(written)
    assert files["log/head-1.txt"].decode() == selectors.tree_head()
    assert json.loads(files["manifest.json"])["log_keys"] == [{"active": True, "generation": 1, "key": key.vkey}]
    evidence = json.loads(files[f"sessions/{bought.session_id}/evidence.json"])
    assert evidence["proof"]["verification"]["logged"]["signed"] is True
    trust = LogTrust(Policy((read_vkey(key.vkey),)), required=True)
    result = verify_bundle(io.BytesIO(written), keys(), log=trust)
    assert (result.problems, result.logged) == ([], 1)


@pytest.mark.parametrize("forge", [lambda note: note.replace("\n3\n", "\n4\n"), lambda _note: "no note"])
def test_a_tree_head_that_the_log_has_not_signed_is_found_whoever_signs_the_bundle(
    bought: Bought, forge: Callable[[str], str]
) -> None:
    """A3, A4"""
    services.sequence_log()
    files = files_of(made(services.select_evidence(order="A-1"))[1])
    assert "\n3\n" in files["log/head-1.txt"].decode()
    private, public = new_signing_key()
    forged = signed_again(
        {**files, "log/head-1.txt": forge(files["log/head-1.txt"].decode()).encode()}, private, public
    )
    trust = LogTrust(Policy(tuple(read_vkey(key.vkey) for key in selectors.log_keys())))
    problems = verify_bundle(io.BytesIO(forged), [*keys(), public], log=trust).problems
    assert [(one.code, one.where) for one in problems] == [("bad_checkpoint", "log/head-1.txt")]


# What is handed out, and changed afterwards


@pytest.fixture
def given(bought: Bought, live: OpenedSession) -> Files:
    return files_of(made(services.select_evidence(sessions=[bought.session_id, live.session_id]), personal=True)[1])


def signed_again(files: Files, private: bytes, public: bytes) -> bytes:
    """What a forger makes who has changed files: a manifest that fits them, signed with a key of theirs."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = [
        {"bytes": len(content), "path": name, "sha256": sha256(content).hexdigest()}
        for name, content in files.items()
        if not name.startswith("manifest")
    ]
    written = canonical_bytes(manifest)
    sig = sign_manifest(sha256(written).hexdigest(), private_key=private, public_key=public)
    return zipped({**files, "manifest.json": written, "manifest.sig.json": sig})


def test_any_file_that_is_changed_added_or_left_out_is_found(given: Files) -> None:
    """A3"""
    assert checked(zipped(given)).trusted
    for name, content in given.items():
        changed = content.replace(b"10:", b"11:", 1) if b"10:" in content else content[:-1] + b"?"
        assert not checked(zipped({**given, name: changed})).ok, name
        assert not checked(zipped({other: one for other, one in given.items() if other != name})).ok, name
    for name in ("extra.json", "../outside", "log/x/y", f"sessions/{uuid.uuid4()}/notes.json"):
        assert checked(zipped({**given, name: b"{}"})).problems[0].code == "wrong_file"


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (b'"unit_price":1250,"variant"', b'"unit_price":1150,"variant"', "seen.lines"),
        (b'"total":2500,"valid_until"', b'"total":2400,"valid_until"', "seen.quote"),
        (b'"available":10', b'"available":11', "seen.stock"),
        (b'"result":"deny"', b'"result":"allow"', "policies[0]"),
        (b'"rule":"large-orders","status":403', b'"rule":"small-orders","status":403', "policies[0]"),
        (b'"last4":"4242"', b'"last4":"4243"', "payments[0]"),
        (b'"name":"Shopping helper"', b'"name":"Another helper"', "session.agent"),
        (b'"key":"ed25519:k1"', b'"key":"ed25519:k2"', "session.agent"),
        (b'"end_reason":"completed"', b'"end_reason":"expired"', "session.end_reason"),
        (b'"merchant":"default"', b'"merchant":"another"', "session.merchant"),
        (b'"spend_cap":20000', b'"spend_cap":90000', "limits.spend_cap"),
        (b'"capabilities":[],"currency":"EUR"', b'"capabilities":["pay"],"currency":"EUR"', "limits.capabilities"),
        (b'"decided_by":"consumer"', b'"decided_by":"staff:17"', "approvals[0]"),
        (b'"status":"used"', b'"status":"rejected"', "approvals[0]"),
        (b'"rule":"large-orders","status":"used"', b'"rule":"small-orders","status":"used"', "approvals[0]"),
        (b'"counted_from":"opened","had_ms":1560000', b'"counted_from":"opened","had_ms":9960000', "approvals[0]"),
        (b'"order_ref":"A-1"', b'"order_ref":"A-2"', "orders[0]"),
        (b'"tax_included":true,"total":2500', b'"tax_included":true,"total":2400', "disclosed[0]"),
    ],
)
def test_evidence_that_does_not_say_what_its_proof_says_is_found_whoever_signs_it(
    given: Files, bought: Bought, old: bytes, new: bytes, place: str
) -> None:
    """A2, A3: even if the site itself had signed it."""
    name = f"sessions/{bought.session_id}/evidence.json"
    assert old in given[name]
    forged = {**given, name: given[name].replace(old, new, 1)}
    private, public = new_signing_key()
    assert [problem.code for problem in checked(signed_again(forged, private, public)).problems] == ["wrong_key"]
    problems = checked(signed_again(forged, private, public), [*keys(), public]).problems
    assert [(problem.code, problem.where) for problem in problems] == [("contradiction", f"{name} {place}")]


def test_damage_of_any_kind_is_told_and_never_raised(bought: Bought) -> None:
    """A3: bits that are lost on the way too, in what is packed and in what says how."""
    _, written = made(services.select_evidence(order="A-1"))
    chance = random.Random(7)
    for _ in range(200):
        damaged = bytearray(written)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        result = checked(bytes(damaged))
        # Nothing rests on dates, rights and the like that a zip keeps beside its files.
        assert result.problems or result.trusted


def packed(content: bytes, how: int, given: Files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, one in given.items():
            archive.writestr(name, one)
        archive.writestr(f"sessions/{uuid.uuid4()}/evidence.json", content, compress_type=how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "how", "code"),
    [
        (b"[" * 20_000_000, zipfile.ZIP_DEFLATED, "too_large"),
        (b"[]", zipfile.ZIP_BZIP2, "wrong_file"),
        (b"[]", zipfile.ZIP_LZMA, "wrong_file"),
    ],
)
def test_what_is_made_to_fill_a_readers_memory_is_refused_before_it_is_unpacked(
    given: Files, content: bytes, how: int, code: str
) -> None:
    """A3: also where no key is given, so that anyone may have signed."""
    assert [problem.code for problem in checked(packed(content, how, given), []).problems] == [code]


def test_of_a_stranger_nothing_but_the_signature_is_read(given: Files) -> None:
    private, public = new_signing_key()
    manifest = b"[" * 1000
    forged = {**given, "manifest.json": manifest, "manifest.sig.json": sign_manifest(
        sha256(manifest).hexdigest(), private_key=private, public_key=public
    )}  # fmt: skip
    assert [problem.code for problem in checked(zipped(forged)).problems] == ["wrong_key"]
    long = {**given, "manifest.sig.json": b" " * 20_000}
    assert [problem.code for problem in checked(zipped(long)).problems] == ["too_large"]


def test_evidence_says_what_its_proof_says_though_a_human_answers_meanwhile(
    opened: Any, selling: stock.Shelf, tick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A2"""
    one = opened()
    call("cart.add", one, item_id="mug", quantity=2)
    asked = ask(one)
    read, answered = evidence_module.evidence, []

    def answering(*args: Any, **kwargs: Any) -> Any:
        if not answered:
            answered.append(services.grant_approval(asked.approval_id))
        return read(*args, **kwargs)

    monkeypatch.setattr(evidence_module, "evidence", answering)
    _, written = made(services.select_evidence(sessions=[one.session_id]))
    assert checked(written).problems == []
    found = json.loads(files_of(written)[f"sessions/{one.session_id}/evidence.json"])
    assert [(each["status"], each["decided_by"]) for each in found["approvals"]] == [("granted", "consumer")]


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_said_to_be_none(raw: bytes) -> None:
    result = verify_bundle(io.BytesIO(raw))
    assert not result.ok
    assert result.problems[0].code in ("not_zip", "missing_file")


def test_the_verifier_takes_a_bundle(bought: Bought, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A3: one command for the auditor, with the zip and the site's public key."""
    path, key = tmp_path / "bundle.zip", services.signing_keys()[0]
    services.export_evidence(services.select_evidence(order="A-1"), path, reason="Audit", actor=STAFF)
    assert main([str(path), "--key", key.public_key]) == 0
    printed = capsys.readouterr().out
    assert "1 sessions with a signed artifact, 0 that had not ended" in printed
    assert f"Signed with key {key.key_id}, which you gave" in printed
    assert main([str(path)]) == 3
    assert "WHO SIGNED IT IS NOT CHECKED" in capsys.readouterr().out
    assert main([str(path), "--json", "--key", key.public_key]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] is True
    path.write_bytes(path.read_bytes()[:-200])
    assert main([str(path), "--key", key.public_key]) == 1
    assert "NOT GOOD" in capsys.readouterr().out
