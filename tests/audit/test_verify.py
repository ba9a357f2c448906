"""Tampering: every way that we know must be found, and named where it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sessions.audit.checks import DEPTH
from agent_sessions.audit.verify import MAX_SIZE, verify_artifact
from agent_sessions.crypto.canonical import MAX_DEPTH, canonical_bytes
from agent_sessions.crypto.encoding import to_base64, to_base64url
from agent_sessions.crypto.signing import new_signing_key, public_key_der
from agent_sessions.exceptions import InvalidValue
from tests.audit.conftest import Change, chained_again, changed, signed_again
from tests.golden.make import HERE, SITE_PUBLIC, Story

KEYS = [SITE_PUBLIC]


def first_problem(raw: bytes, keys: list[bytes] = KEYS) -> tuple[str, str]:
    found = verify_artifact(raw, keys)
    assert not found.ok
    assert not found.trusted
    assert found.problems[0].message
    return found.problems[0].code, found.problems[0].where


@pytest.mark.parametrize("name", ["empty-answer.json", "withheld.json"])
def test_every_changed_byte_is_found(name: str) -> None:
    raw = (HERE / name).read_bytes()
    for at, byte in enumerate(raw):
        for flip in (0x01, 0x20):
            other = raw[:at] + bytes([byte ^ flip]) + raw[at + 1 :]
            assert not verify_artifact(other, KEYS).ok, (at, raw[at - 20 : at + 20])


@pytest.mark.parametrize("name", ["empty-answer.json", "shopping.json"])
def test_every_cut_is_found(name: str) -> None:
    raw = (HERE / name).read_bytes()
    for at in range(len(raw)):
        assert not verify_artifact(raw[:at], KEYS).ok, at


def test_every_removed_byte_is_found() -> None:
    raw = (HERE / "empty.json").read_bytes()
    for at in range(len(raw)):
        assert not verify_artifact(raw[:at] + raw[at + 1 :], KEYS).ok, at


@pytest.mark.parametrize("extra", [b"\n", b" ", b"\0", b"{}"])
def test_every_added_byte_is_found(extra: bytes) -> None:
    raw = (HERE / "empty.json").read_bytes()
    assert not verify_artifact(raw + extra, KEYS).ok
    assert not verify_artifact(extra + raw, KEYS).ok


def members(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every member and item in a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, inner in pairs for found in ((*path, name), *members(inner, (*path, name)))]


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for name in path:
        document = document[name]
    return document


@pytest.mark.parametrize("value", [None, 0, 1, -1, True, "", "x", [], {}, 2**53 - 1, "0" * 64])
def test_every_member_with_another_value_is_found(artifact: dict[str, Any], value: Any) -> None:
    for path in members(artifact):
        if canonical_bytes(at(artifact, path)) != canonical_bytes(value):
            raw = changed(artifact, lambda doc, path=path: at(doc, path[:-1]).__setitem__(path[-1], value))
            assert not verify_artifact(raw, KEYS).ok, (path, value)


def test_every_missing_and_every_added_member_is_found(artifact: dict[str, Any]) -> None:
    for path in members(artifact):
        if path[0] != "openings" or len(path) > 2:  # to withhold an opening is anyone's right
            raw = changed(artifact, lambda doc, path=path: at(doc, path[:-1]).__delitem__(path[-1]))
            assert not verify_artifact(raw, KEYS).ok, path
        if isinstance(at(artifact, path), dict):
            raw = changed(artifact, lambda doc, path=path: at(doc, path).update(zz="added"))
            assert not verify_artifact(raw, KEYS).ok, path


def test_openings_can_be_withheld_without_a_new_signature(artifact: dict[str, Any]) -> None:
    found = verify_artifact(changed(artifact, lambda doc: doc["openings"].pop()), KEYS)
    assert found.trusted
    assert (found.opened, found.withheld) == (2, 1)


def _swap(items: list[Any], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]


TIME = "2026-11-21T09:30:00.000000Z"
LINK_1 = "broken_chain", "events[1].prev_hash"
PURPOSE = "contradiction", "envelope.purpose_commitment"
RUNTIME = "bad_signature", "runtime_signature"
NAMED: list[tuple[str, Change, tuple[str, str]]] = [
    ("event edited", lambda d: d["events"][1].update(method="GET"), ("broken_chain", "events[2].prev_hash")),
    ("last event edited", lambda d: d["events"][4].update(actor="eve"), ("wrong_root", "root_hash")),
    ("events swapped", lambda d: _swap(d["events"], 1, 2), ("wrong_seq", "events[1].seq")),
    ("event dropped", lambda d: d["events"].pop(2), ("wrong_seq", "events[2].seq")),
    ("event doubled", lambda d: d["events"].insert(2, d["events"][1]), ("wrong_seq", "events[2].seq")),
    ("first dropped", lambda d: d["events"].pop(0), ("wrong_seq", "events[0].seq")),
    ("end dropped", lambda d: d["events"].pop(), ("wrong_place", "events[3].kind")),
    ("all dropped", lambda d: d["events"].clear(), ("wrong_count", "envelope.event_count")),
    ("header changed", lambda d: d["events"][0]["header"].update(site="x"), LINK_1),
    ("envelope changed", lambda d: d["envelope"].update(scope=1), ("contradiction", "envelope.scope")),
    ("count changed", lambda d: d["envelope"].update(event_count=4), ("wrong_count", "envelope.event_count")),
    ("root changed", lambda d: d.update(root_hash="0" * 64), ("wrong_root", "root_hash")),
    ("site changed", lambda d: d.update(site="https://evil.example"), ("contradiction", "site")),
    ("start changed", lambda d: d.update(created_at=TIME), ("contradiction", "created_at")),
    ("end changed", lambda d: d.update(ended_at=d["created_at"]), ("contradiction", "ended_at")),
    ("agent changed", lambda d: d["agent"].update(name="Other"), ("contradiction", "agent.name")),
    ("token changed", lambda d: d.update(session_id="0" * 64), ("contradiction", "session_id")),
    ("purpose changed", lambda d: d["agent"].update(purpose="Buy two"), ("contradiction", "agent.purpose")),
    ("run changed", lambda d: d.update(run_id="x"), ("wrong_run", "events[0].run_id")),
    ("note changed", lambda d: d["openings"][1].update(value="for Ada"), ("bad_opening", "openings[1]")),
    ("opening moved", lambda d: d["openings"][1].update(seq=4), ("bad_opening", "openings[1]")),
    ("openings swapped", lambda d: _swap(d["openings"], 1, 2), ("wrong_order", "openings[2]")),
    ("member added", lambda d: d["events"][2].update(extra=1), ("unknown_member", "events[2].extra")),
    ("member missing", lambda d: d["events"][2].pop("method"), ("missing_member", "events[2].method")),
    ("wrong type", lambda d: d["events"][2].update(seq=True), ("wrong_value", "events[2].seq")),
    ("wrong time", lambda d: d["events"][2].update(timestamp="now"), ("wrong_value", "events[2].timestamp")),
    ("no object", lambda d: d["events"].insert(0, 1), ("wrong_value", "events[0]")),
    ("odd member", lambda d: d.update({"\x1b[31m": 1}), ("unknown_member", '["\\u001b[31m"]')),
    ("bad signature", lambda d: d.update(signature=d["runtime_signature"]), ("bad_signature", "signature")),
    ("other signature", lambda d: d.update(runtime_signature=d["signature"]), RUNTIME),
]  # fmt: skip


@pytest.mark.parametrize(("change", "named"), [case[1:] for case in NAMED], ids=[case[0] for case in NAMED])
def test_the_first_thing_wrong_is_named(artifact: dict[str, Any], change: Change, named: tuple[str, str]) -> None:
    assert first_problem(changed(artifact, change)) == named


def test_an_opening_stands_once_and_in_its_place(artifact: dict[str, Any]) -> None:
    for place in (1, 3):
        raw = changed(artifact, lambda doc, place=place: doc["openings"].insert(place, doc["openings"][0]))
        assert first_problem(raw) == ("wrong_order", f"openings[{place}]")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["events"][2].update(policy_result="allow"),
        lambda d: d["events"].pop(2),
        lambda d: d["events"].insert(2, d["events"][1]),
        lambda d: _swap(d["events"], 1, 2),
        lambda d: [place.update(site="x") for place in (d, d["envelope"], d["events"][0]["header"])],
    ],
    ids=["edited", "dropped", "doubled", "swapped", "header"],
)  # fmt: skip
def test_a_chain_that_was_made_anew_does_not_fit_the_signature(artifact: dict[str, Any], change: Change) -> None:
    def forge(document: dict[str, Any]) -> None:
        change(document)
        document["events"] = json.loads(json.dumps(document["events"]))  # no event twice in memory
        chained_again(document)

    assert first_problem(changed(artifact, forge)) == ("bad_signature", "signature")


def test_another_key_is_never_trusted(artifact: dict[str, Any]) -> None:
    """Contract section 3: whoever forges an artifact puts his own key into it."""
    private, public = new_signing_key()
    raw = changed(artifact, lambda doc: signed_again(doc, private, public))
    assert first_problem(raw) == ("wrong_key", "public_key")
    assert verify_artifact(raw, [SITE_PUBLIC, public]).trusted
    alone = verify_artifact(raw)
    assert alone.ok
    assert not alone.trusted


def test_the_key_in_the_artifact_cannot_just_be_replaced(artifact: dict[str, Any]) -> None:
    der = to_base64(public_key_der(new_signing_key()[1]))
    assert first_problem(changed(artifact, lambda doc: doc.update(public_key=der))) == (
        "contradiction",
        "envelope.key_id",
    )


def test_degenerate_keys_in_an_artifact_are_refused(artifact: dict[str, Any]) -> None:
    identity = (1).to_bytes(32, "little")

    def forge(document: dict[str, Any]) -> None:
        signed_again(document)
        document["public_key"] = to_base64(public_key_der(identity))
        document["signature"] = document["runtime_signature"] = to_base64(identity + bytes(32))

    assert first_problem(changed(artifact, forge), []) == ("unfit_key", "public_key")


SIGNED: list[tuple[str, Change, tuple[str, str]]] = [
    ("site", lambda d: d["envelope"].update(site="x"), ("contradiction", "envelope.site")),
    ("scope", lambda d: d["envelope"].update(scope={}), ("contradiction", "envelope.scope")),
    ("run", lambda d: d["envelope"].update(run_id="x"), ("contradiction", "envelope.run_id")),
    ("end", lambda d: d["envelope"].update(end_reason="expired"), ("contradiction", "envelope.end_reason")),
    ("end time", lambda d: d["envelope"].update(ended_at=TIME), ("contradiction", "envelope.ended_at")),
    ("head", lambda d: d["envelope"].update(head_hash="0" * 64), ("wrong_root", "envelope.head_hash")),
    ("root", lambda d: d["envelope"].update(root_hash="0" * 64), ("wrong_root", "envelope.root_hash")),
    ("purpose", lambda d: d["envelope"].pop("purpose_commitment"), PURPOSE),
]  # fmt: skip


@pytest.mark.parametrize(("change", "named"), [case[1:] for case in SIGNED], ids=[case[0] for case in SIGNED])
def test_even_the_site_cannot_sign_a_contradiction(
    artifact: dict[str, Any], change: Change, named: tuple[str, str]
) -> None:
    def forge(document: dict[str, Any]) -> None:
        change(document)
        signed_again(document)

    assert first_problem(changed(artifact, forge)) == named


PLACES: list[tuple[str, Change, str]] = [
    ("second beginning", lambda d: d["events"][2].update(kind="session.created"), "events[2].kind"),
    ("no beginning", lambda d: d["events"][0].update(kind="cart.viewed"), "events[0].kind"),
    ("early end", lambda d: d["events"][2].update(kind="session.ended"), "events[2].kind"),
    ("second header", lambda d: d["events"][2].update(header=d["events"][0]["header"]), "events[2].header"),
    ("no header", lambda d: d["events"][0].pop("header"), "events[0].header"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "where"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES])
def test_even_the_site_cannot_sign_another_order(artifact: dict[str, Any], change: Change, where: str) -> None:
    def forge(document: dict[str, Any]) -> None:
        change(document)
        chained_again(document)
        signed_again(document)

    assert first_problem(changed(artifact, forge)) == ("wrong_place", where)


def test_salts_have_one_length() -> None:
    """HMAC pads short keys with zeros, so 31 bytes could pass for 32."""
    story = Story("0193a6f0-0000-7000-8000-000000000009", purpose="p")
    story.end()
    document: dict[str, Any] = json.loads(story.artifact((1, "purpose")))
    document["openings"][0]["salt"] = to_base64url(story.salt(1, "purpose") + b"\0")
    assert first_problem(canonical_bytes(document)) == ("wrong_value", "openings[0].salt")


def test_other_spellings_of_the_same_document_are_refused(artifact: dict[str, Any]) -> None:
    """Else bytes could be changed without anyone noticing."""
    raw = canonical_bytes(artifact)
    for other in (
        json.dumps(artifact).encode(),
        json.dumps(artifact, separators=(",", ":"), sort_keys=True).encode(),
        json.dumps(artifact, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(),
        raw.replace("😀".encode(), b"\\ud83d\\ude00"),
        raw.replace(b'"quantity":1', b'"quantity":01'),
        raw.replace(b'"seq":1', b'"seq":1.0'),
        raw.replace(b'"run_id"', b'"run_id":"x","run_id"', 1),
    ):
        assert json.dumps(artifact)  # the document itself is good
        assert first_problem(other)[0] in ("not_canonical", "not_json")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"), (b"null", "wrong_value"), (b"[]", "wrong_value"), (b"{}", "missing_member"),
        (b"[" * 100_000, "not_json"),
        (b'{"data":null,"ok":true}', "wrong_value"), (b'{"data":{},"ok":false}', "unknown_member"),
        (b"\xff\xfe", "not_json"),
    ],
)  # fmt: skip
def test_what_is_no_artifact_is_said_to_be_none(raw: bytes, code: str) -> None:
    assert first_problem(raw)[0] == code


def test_size_is_bounded() -> None:
    assert first_problem(bytes(MAX_SIZE + 1)) == ("too_large", "document")


def test_an_event_as_deep_as_events_can_be_verifies() -> None:
    params: dict[str, Any] = {}
    for _ in range(MAX_DEPTH - 2):
        params = {"a": params}
    story = Story("0193a6f0-0000-7000-8000-000000000009")
    story.add("cart.viewed", params=params)
    with pytest.raises(InvalidValue, match="too deeply"):
        story.add("cart.viewed", params={"a": params})
    story.end()
    assert verify_artifact(story.artifact(), KEYS).trusted
    assert verify_artifact(b'{"data":%b,"ok":true}' % story.artifact(), KEYS).trusted


@pytest.mark.parametrize("levels", [DEPTH - 4, DEPTH - 3, 1000, 100_000])
def test_deeper_documents_are_refused_however_well_they_are_made(artifact: dict[str, Any], levels: int) -> None:
    raw = canonical_bytes(artifact)
    raw = raw.replace(b'"params":{}', b'"params":' + b'{"a":' * levels + b"{}" + b"}" * levels, 1)
    code = "not_json" if levels > DEPTH - 4 else "broken_chain"
    assert first_problem(raw)[0] == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 700) | st.sampled_from(["", "allow", "0" * 64, "A" * 43, "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "purpose"]), inner, max_size=2),
)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_nothing_makes_it_fail_in_another_way(data: st.DataObject) -> None:
    """Whatever stands in a member, the answer is a verdict, also where everything else was made to fit."""
    document: dict[str, Any] = json.loads((HERE / "shopping.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(members(document)))
        at(document, path[:-1])[path[-1]] = data.draw(JSON)
    try:
        chained_again(document)
        signed_again(document)
    except (TypeError, LookupError, AttributeError, ValueError):
        pass
    found = verify_artifact(canonical_bytes(document))
    assert found.ok is not bool(found.problems)
