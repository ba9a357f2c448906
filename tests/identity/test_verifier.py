"""Who signed a request, and every way in which nobody did (T5)."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine as clocks
from django.core.cache.backends.locmem import LocMemCache
from http_message_signatures import ContentDigest, algorithms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_sessions.identity import AgentIdentity, Outcome, Problem
from agent_sessions.identity.outcome import SENTENCES
from agent_sessions.identity.signing import key_directory
from agent_sessions.identity.verifier import SignatureVerifier
from tests.identity.agents import AGENT, KEYID, OTHER_KEY, OTHER_KEYID, SIGNING_KEY, FakeDirectories, Request

COVERED = ("@authority", '"signature-agent";key="sig1"')
DIRECTORY_MEMBER = f'sig1="{AGENT}"'


@pytest.fixture(autouse=True)
def stopped(clock: clocks.Traveller) -> clocks.Traveller:
    return clock


def test_a_request_without_a_signature_proves_nothing(
    verifier: SignatureVerifier, directories: FakeDirectories
) -> None:
    request = Request(headers={"Accept": "*/*", "Signature-Agent": DIRECTORY_MEMBER})

    assert request.identified(verifier) == AgentIdentity(Outcome.ABSENT)
    assert directories.asked == []


def test_a_signed_request_names_the_agent_its_key_and_the_end_of_the_signature(verifier: SignatureVerifier) -> None:
    answer = Request().signed(expires_in=120).identified(verifier)

    assert answer.outcome is Outcome.VERIFIED
    assert answer.agent == AGENT
    assert answer.key == f"{AGENT}#{KEYID}"
    assert answer.expires_at == datetime(2026, 3, 2, 10, 2, tzinfo=UTC)
    assert (answer.problem, answer.explanation) == ("", "")


def test_header_names_have_no_case(verifier: SignatureVerifier) -> None:
    signed = Request().signed()
    shouted = replace(signed, headers={name.upper(): value for name, value in signed.headers.items()})

    assert shouted.identified(verifier).outcome is Outcome.VERIFIED


def test_a_request_without_a_body_needs_no_digest(verifier: SignatureVerifier) -> None:
    signed = Request(method="GET", body=b"").signed()

    assert "Content-Digest" not in signed.headers
    assert signed.identified(verifier).outcome is Outcome.VERIFIED


def test_the_two_keys_of_an_agent_are_one_agent(verifier: SignatureVerifier) -> None:
    first, second = (Request().signed(private_key=key).identified(verifier) for key in (SIGNING_KEY, OTHER_KEY))

    assert first.agent == second.agent
    assert first.key != second.key


def test_the_same_key_in_two_directories_is_two_agents(cache: LocMemCache) -> None:
    """Identity is the pair of URL and keyid: a key learned from one site says nothing about another."""
    other = "https://other.example"
    page = key_directory(SIGNING_KEY.public_key())
    network = FakeDirectories({AGENT: page, other: page})
    verifier = SignatureVerifier(directories=[AGENT, other], cache=cache, fetch=network)

    keys = {Request().signed(agent=origin).identified(verifier).key for origin in (AGENT, other)}
    assert len(keys) == 2

    network.pages[other] = key_directory(OTHER_KEY.public_key())
    fresh = SignatureVerifier(directories=[AGENT, other], cache=LocMemCache("one-pair", {}), fetch=network)
    assert Request().signed(agent=AGENT).identified(fresh).outcome is Outcome.VERIFIED
    assert Request().signed(agent=other).problem(fresh) == Problem.KEY_UNKNOWN


ALTERED: dict[str, tuple[Callable[[Request], Request], str]] = {
    "method": (lambda r: replace(r, method="PUT"), "wrong_signature"),
    "path": (lambda r: replace(r, url=r.url.replace("/17/", "/18/")), "wrong_signature"),
    "query": (lambda r: replace(r, url=r.url.replace("full=1", "full=0")), "wrong_signature"),
    "authority": (lambda r: replace(r, url=r.url.replace("shop.", "evil.")), "wrong_signature"),
    "port": (lambda r: replace(r, url=r.url.replace("example/", "example:8443/")), "wrong_signature"),
    "agent": (lambda r: r.with_header("Signature-Agent", 'sig1="https://twin.example"'), "wrong_signature"),
    "agent removed": (lambda r: r.with_header("Signature-Agent", None), "agent_missing"),
    "agent renamed": (lambda r: r.with_header("Signature-Agent", f'sig2="{AGENT}"'), "agent_malformed"),
    "created": (lambda r: r.with_input("created=1772445600", "created=1772445601"), "wrong_signature"),
    "expires": (lambda r: r.with_input("expires=1772445900", "expires=1772445901"), "wrong_signature"),
    "keyid of the other key": (lambda r: r.with_input(KEYID, OTHER_KEYID), "wrong_signature"),
    "keyid of no key": (lambda r: r.with_input(KEYID, "A" * 43), "key_unknown"),
    "nonce": (lambda r: r.with_input('nonce="n-1"', 'nonce="n-2"'), "wrong_signature"),
    "nonce removed": (lambda r: r.with_input(';nonce="n-1"', ""), "wrong_signature"),
    "tag": (lambda r: r.with_input("web-bot-auth", "web-bot-auto"), "wrong_tag"),
    "tag removed": (lambda r: r.with_input(';tag="web-bot-auth"', ""), "wrong_tag"),
    "alg removed": (lambda r: r.with_input(';alg="ed25519"', ""), "wrong_signature"),
    "alg of another kind": (lambda r: r.with_input("ed25519", "rsa-pss-sha512"), "algorithm"),
    "method not covered": (lambda r: r.with_input('"@method" ', ""), "wrong_signature"),
    "order of the components": (
        lambda r: r.with_input('"@method" "@authority"', '"@authority" "@method"'),
        "wrong_signature",
    ),
    "a component twice": (lambda r: r.with_input('"@method"', '"@method" "@method"'), "wrong_signature"),
    "label": (lambda r: r.with_input("sig1=(", "sig2=("), "malformed"),
    "body": (lambda r: replace(r, body=r.body + b" "), "wrong_digest"),
    "digest": (
        lambda r: r.with_header("Content-Digest", r.headers["Content-Digest"].replace("sha-256=:", "sha-256=:A")),
        "wrong_signature",
    ),
    "digest removed": (lambda r: r.with_header("Content-Digest", None), "wrong_signature"),
    "Signature removed": (lambda r: r.with_header("Signature", None), "malformed"),
    "Signature-Input removed": (lambda r: r.with_header("Signature-Input", None), "malformed"),
    "Signature emptied": (lambda r: r.with_header("Signature", ""), "malformed"),
    "Signature of another type": (lambda r: r.with_header("Signature", 'sig1="text"'), "wrong_signature"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_whatever_is_altered_is_found(cache: LocMemCache, directories: FakeDirectories, what: str) -> None:
    directories.pages["https://twin.example"] = directories.pages[AGENT]
    verifier = SignatureVerifier(directories=[AGENT, "https://twin.example"], cache=cache, fetch=directories)
    signed = Request().signed(nonce="n-1")
    alter, problem = ALTERED[what]

    assert alter(signed).problem(verifier) == problem
    # What was refused used nothing up: the nonce is still good.
    assert signed.identified(verifier).outcome is Outcome.VERIFIED


fuzzing = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


@fuzzing
@given(bit=st.integers(0, 511))
def test_one_bit_of_the_signature_makes_it_another(verifier: SignatureVerifier, bit: int) -> None:
    signed = Request().signed()
    raw = bytearray(base64.b64decode(signed.headers["Signature"].removeprefix("sig1=:").removesuffix(":")))
    raw[bit // 8] ^= 1 << bit % 8

    forged = signed.with_header("Signature", f"sig1=:{base64.b64encode(raw).decode()}:")
    assert forged.problem(verifier) == Problem.WRONG_SIGNATURE


@fuzzing
@given(place=st.integers(0, 10_000), character=st.characters(min_codepoint=0, max_codepoint=300))
def test_no_character_of_signature_input_can_be_replaced(
    verifier: SignatureVerifier, place: int, character: str
) -> None:
    signed = Request().signed()
    before = signed.headers["Signature-Input"]
    place %= len(before)
    after = before[:place] + character + before[place + 1 :]

    if after != before:
        signed.with_header("Signature-Input", after).problem(verifier)


fragments = st.lists(
    st.sampled_from([*'"();=,:?@* 1a\t\\', "sig1", "@authority", '"@method"', "signature-agent", "key", "tag", "bs"])
    | st.text(max_size=3),
    max_size=30,
).map("".join)


@fuzzing
@given(inputs=fragments, signature=fragments, agent=fragments, url=st.text(max_size=20), method=st.text(max_size=5))
def test_nothing_that_a_client_sends_makes_it_fail(
    verifier: SignatureVerifier, inputs: str, signature: str, agent: str, url: str, method: str
) -> None:
    good = Request().signed()
    for name, value in [("Signature-Input", inputs), ("Signature", signature), ("Signature-Agent", agent)]:
        good.with_header(name, value).problem(verifier)
    replace(good, url=url).problem(verifier)
    if method != "POST":
        replace(good, method=method).problem(verifier)


@fuzzing
@given(component=fragments)
def test_no_component_makes_it_fail(verifier: SignatureVerifier, component: str) -> None:
    if component.strip(" ") != '"@method"':
        Request().signed().with_input('"@method"', component).problem(verifier)


# Times


def test_a_signature_from_the_future_is_refused_past_a_small_difference_of_clocks(
    verifier: SignatureVerifier, clock: clocks.Traveller
) -> None:
    now = datetime.now(UTC)

    assert Request().signed(now=now + timedelta(seconds=6)).problem(verifier) == Problem.CREATED_IN_FUTURE
    assert Request().signed(now=now + timedelta(seconds=5)).identified(verifier).outcome is Outcome.VERIFIED


def test_a_signature_ends_at_the_second_it_names(verifier: SignatureVerifier, clock: clocks.Traveller) -> None:
    first, second = Request().signed(expires_in=60), Request().signed(expires_in=60)

    clock.shift(59.9)
    assert first.identified(verifier).outcome is Outcome.VERIFIED
    clock.shift(0.1)
    assert second.problem(verifier) == Problem.EXPIRED


def test_a_signature_is_good_for_a_day_at_most(cache: LocMemCache, directories: FakeDirectories) -> None:
    verifier = SignatureVerifier(directories=[AGENT], cache=cache, fetch=directories)
    shorter = SignatureVerifier(directories=[AGENT], cache=cache, fetch=directories, max_window=timedelta(minutes=5))

    assert Request().signed(expires_in=86_400).identified(verifier).outcome is Outcome.VERIFIED
    assert Request().signed(expires_in=86_401).problem(verifier) == Problem.WINDOW_TOO_LONG
    assert Request().signed(expires_in=301).problem(shorter) == Problem.WINDOW_TOO_LONG


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("expires=1772445900", "expires=1772445600"),
        (";expires=1772445900", ""),
        (";created=1772445600", ""),
        ("created=1772445600", "created=1772445600.0"),
        ("created=1772445600", 'created="1772445600"'),
        ("expires=1772445900", "expires=999999999999999"),
        ("created=1772445600", "created=?1"),
        (f'keyid="{KEYID}"', 'keyid="short"'),
        (f'keyid="{KEYID}"', "keyid=:AAAA:"),
        (f';keyid="{KEYID}"', ""),
        ('nonce="n-1"', "nonce=7"),
        ('alg="ed25519"', "alg=ed25519"),
        ("created=1772445600", "created=1772445600;created"),
    ],
)
def test_parameters_that_are_missing_or_of_another_type_are_malformed(
    verifier: SignatureVerifier, old: str, new: str
) -> None:
    assert Request().signed(nonce="n-1").with_input(old, new).problem(verifier) == Problem.MALFORMED


# What is covered, and by whom


@pytest.mark.parametrize("target", ["@authority", "@target-uri"])
def test_the_authority_or_the_whole_address_is_enough(verifier: SignatureVerifier, target: str) -> None:
    request = Request(headers={"Signature-Agent": DIRECTORY_MEMBER})

    signed = request.signed_freely([target, COVERED[1]])
    assert signed.identified(verifier).outcome is Outcome.VERIFIED
    assert replace(signed, url="https://evil.example/").problem(verifier) == Problem.WRONG_SIGNATURE


@pytest.mark.parametrize(
    ("member", "components"),
    [
        (DIRECTORY_MEMBER, ["@method", "@path", COVERED[1]]),
        (DIRECTORY_MEMBER, ["@authority"]),
        (DIRECTORY_MEMBER, ["@authority", "signature-agent"]),
        (DIRECTORY_MEMBER, ["@authority", '"signature-agent";key="sig1";sf']),
        (f'{DIRECTORY_MEMBER}, b="{AGENT}"', [*COVERED, '"signature-agent";key="b"']),
        (f'"{AGENT}"', ["@authority"]),
        (f'"{AGENT}"', ["@authority", '"signature-agent";bs']),
    ],
)
def test_a_signature_that_covers_too_little_is_refused(
    verifier: SignatureVerifier, member: str, components: list[str]
) -> None:
    signed = Request(headers={"Signature-Agent": member}).signed_freely(components)

    assert signed.problem(verifier) == Problem.NOT_COVERED


def test_the_earlier_bare_string_is_read_too(verifier: SignatureVerifier) -> None:
    signed = Request(headers={"Signature-Agent": f'"{AGENT}"'}).signed_freely(["@authority", "signature-agent"])

    assert signed.identified(verifier).agent == AGENT


def test_only_the_member_that_is_covered_counts(verifier: SignatureVerifier) -> None:
    members = f'other="https://victim.example", {DIRECTORY_MEMBER}'
    signed = Request(headers={"Signature-Agent": members}).signed_freely(COVERED)

    assert signed.identified(verifier).agent == AGENT


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (f'sig1="{AGENT}";type=directory', None),
        (f'sig1="{AGENT}/"', None),
        (f'sig1="{AGENT}:443"', None),
        ('sig1="HTTPS://Agent.Example"', None),
        (f'sig1="{AGENT}/.well-known/http-message-signatures-directory"', None),
        (f'sig1="{AGENT}/jwks.json";type=jwks_uri', "agent_unsupported"),
        (f'sig1="{AGENT}/card";type=cimd', "agent_unsupported"),
        (f'sig1="{AGENT}";other=1', "agent_unsupported"),
        ('sig1="http://agent.example"', "agent_malformed"),
        (f'sig1="{AGENT}/jwks.json"', "agent_malformed"),
        (f'sig1="{AGENT}?a=b"', "agent_malformed"),
        (f'sig1="{AGENT}#x"', "agent_malformed"),
        ('sig1="https://user@agent.example"', "agent_malformed"),
        ('sig1="https://agent.example:0"', "agent_malformed"),
        ('sig1="https://agent.example:99999"', "agent_malformed"),
        ('sig1="https://agent.example."', "agent_malformed"),
        ('sig1="https://[::1]"', "agent_malformed"),
        ("sig1=:aGk=:", "agent_malformed"),
        (f'sig1=("{AGENT}")', "agent_malformed"),
        (f'sig1="{AGENT}", sig1="{AGENT}"', "agent_malformed"),
        ('sig1="https://evil.example"', "unknown_directory"),
        (f'sig1="{AGENT}:8443"', "unknown_directory"),
        ('sig1="https://127.0.0.1"', "unknown_directory"),
        ('sig1="https://localhost"', "unknown_directory"),
        ('sig1="https://agent.example.evil.example"', "unknown_directory"),
    ],
)
def test_only_accepted_directories_are_ever_fetched(
    verifier: SignatureVerifier, directories: FakeDirectories, member: str, problem: str | None
) -> None:
    signed = Request(headers={"Signature-Agent": member}).signed_freely(COVERED)
    answer = signed.identified(verifier)

    assert answer.problem == (problem or "")
    assert answer.agent == ("" if problem else AGENT)
    assert directories.asked == ([] if problem else [AGENT])


def test_without_accepted_directories_every_signature_is_refused_and_nothing_is_fetched(
    cache: LocMemCache, directories: FakeDirectories
) -> None:
    verifier = SignatureVerifier(directories=[], cache=cache, fetch=directories)

    assert Request().signed().problem(verifier) == Problem.UNKNOWN_DIRECTORY
    assert directories.asked == []


def test_two_signatures_of_agents_are_one_too_many(verifier: SignatureVerifier) -> None:
    request = Request(headers={"Signature-Agent": f'{DIRECTORY_MEMBER}, b="{AGENT}"'}).signed_freely(COVERED)
    twice = request.signed_freely(
        ["@authority", '"signature-agent";key="b"'], label="b", append_if_signature_exists=True
    )

    assert twice.problem(verifier) == Problem.SEVERAL_SIGNATURES


def test_a_signature_for_another_purpose_does_not_matter(verifier: SignatureVerifier) -> None:
    request = Request(headers={"Signature-Agent": DIRECTORY_MEMBER}).signed_freely(COVERED)
    twice = request.signed_freely(["@method"], label="proxy", tag="proxy", append_if_signature_exists=True)

    assert twice.identified(verifier).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("algorithm", [algorithms.HMAC_SHA256, algorithms.RSA_V1_5_SHA256])
@pytest.mark.parametrize("named", [True, False])
def test_shared_secrets_and_old_algorithms_are_refused(
    verifier: SignatureVerifier, algorithm: Any, named: bool, rsa_key: Any
) -> None:
    """The public key as a secret of an HMAC is the classic confusion: the kind of the key decides, not the request."""
    hmac = algorithm is algorithms.HMAC_SHA256
    key = SIGNING_KEY.public_key().public_bytes_raw() if hmac else rsa_key
    signed = Request(headers={"Signature-Agent": DIRECTORY_MEMBER}).signed_freely(
        COVERED, algorithm=algorithm, key=key, include_alg=named
    )

    assert signed.problem(verifier) == (Problem.ALGORITHM if named else Problem.WRONG_SIGNATURE)


def test_a_digest_that_is_covered_in_a_way_that_cannot_be_checked_is_refused(verifier: SignatureVerifier) -> None:
    digest = ContentDigest.create(Request().body)
    request = Request(headers={"Signature-Agent": DIRECTORY_MEMBER, "Content-Digest": digest})
    wrapped = request.signed_freely([*COVERED, '"content-digest";bs'], use_existing_digest=True)

    assert wrapped.problem(verifier) == Problem.WRONG_DIGEST


@pytest.mark.parametrize("component", ["content-digest", '"content-digest";sf', '"content-digest";key="sha-256"'])
def test_the_body_is_compared_with_a_digest_that_is_covered(verifier: SignatureVerifier, component: str) -> None:
    digest = ContentDigest.create(Request().body)
    request = Request(headers={"Signature-Agent": DIRECTORY_MEMBER, "Content-Digest": digest})
    signed = request.signed_freely([*COVERED, component], use_existing_digest=True)

    assert signed.identified(verifier).outcome is Outcome.VERIFIED
    assert replace(signed, body=b"{}").problem(verifier) == Problem.WRONG_DIGEST


def test_overlong_fields_are_not_read(verifier: SignatureVerifier) -> None:
    signed = Request().signed(nonce="n" * 9000)

    assert signed.problem(verifier) == Problem.MALFORMED


# Replay


def test_a_nonce_is_good_once_and_for_its_signer_alone(verifier: SignatureVerifier, clock: clocks.Traveller) -> None:
    signed = Request().signed(nonce="n-1", expires_in=60)

    assert signed.identified(verifier).outcome is Outcome.VERIFIED
    assert signed.problem(verifier) == Problem.REPLAYED
    assert Request(method="PUT").signed(nonce="n-1").problem(verifier) == Problem.REPLAYED
    assert Request().signed(nonce="n-2").identified(verifier).outcome is Outcome.VERIFIED
    assert Request().signed(nonce="n-1", private_key=OTHER_KEY).identified(verifier).outcome is Outcome.VERIFIED
    clock.shift(59.9)
    assert signed.problem(verifier) == Problem.REPLAYED
    clock.shift(0.1)
    assert signed.problem(verifier) == Problem.EXPIRED


def test_of_many_requests_with_one_nonce_at_once_one_is_let_through(verifier: SignatureVerifier) -> None:
    signed = Request().signed()
    together = threading.Barrier(8)

    def identified(_: int) -> AgentIdentity:
        together.wait(timeout=10)
        return signed.identified(verifier)

    with ThreadPoolExecutor(8) as threads:
        answers = [answer.problem for answer in threads.map(identified, range(8))]

    assert sorted(answers) == ["", *["replayed"] * 7]


def test_a_signature_without_a_nonce_may_be_seen_again(verifier: SignatureVerifier) -> None:
    signed = Request().signed(nonce="")

    assert "nonce" not in signed.headers["Signature-Input"]
    assert [signed.identified(verifier).outcome for _ in range(2)] == [Outcome.VERIFIED] * 2


# Configuration and answers


@pytest.mark.parametrize(
    "url", ["http://agent.example", "agent.example", f"{AGENT}/keys", f"https://{'a' * 60}.{'b' * 60}.{'c' * 60}"]
)
def test_a_directory_that_cannot_be_an_identity_is_refused_at_once(cache: LocMemCache, url: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        SignatureVerifier(directories=[url], cache=cache)


def test_the_longest_key_fits_where_it_is_kept(cache: LocMemCache) -> None:
    origin = f"https://{'a' * 60}.{'b' * 60}.{'c' * 26}"
    network = FakeDirectories({origin: key_directory(SIGNING_KEY.public_key())})
    verifier = SignatureVerifier(directories=[origin], cache=cache, fetch=network)

    assert len(Request().signed(agent=origin).identified(verifier).key) == 200


def test_every_problem_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Problem)
