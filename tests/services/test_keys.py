"""Keys are replaced without downtime; what old ones made stays good as long as they are there (A3, A8)."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from agent_sessions import selectors, services
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.crypto.keys import LocalKeyProvider
from agent_sessions.crypto.signing import read_public_key, sign, verify
from agent_sessions.exceptions import InvalidToken, KeyProblem
from agent_sessions.models import SessionKey, SiteKey
from agent_sessions.selectors import _cache
from agent_sessions.services.keys import active_site_key, revoke_token_key, rotate_site_key, site_key_secret
from tests.conftest import MORNING
from tests.shopping import variables
from tests.stored import everything_stored, is_stored

pytestmark = pytest.mark.django_db

OLD = base64.b64encode(bytes(range(32))).decode()
"""The key of the test settings."""
NEW = base64.b64encode(bytes(range(100, 132))).decode()


def artifact_of(opened: Any) -> bytes:
    one = opened()
    services.end_session(one.session_id)
    return services.get_artifact(one.session_id)


# Signing keys


def test_the_first_signing_key_is_made_when_it_is_needed(opened: Any) -> None:
    artifact = json.loads(artifact_of(opened))

    (key,) = services.signing_keys()
    assert (key.active, key.public_key, key.key_id) == (
        True,
        artifact["public_key"],
        artifact["envelope"]["key_id"],
    )
    assert services.signing_keys() == [key]


def test_after_a_rotation_new_artifacts_are_signed_with_the_new_key(opened: Any) -> None:
    """A3: and old ones verify with the old, which stays listed."""
    before = artifact_of(opened)

    made = services.rotate_signing_key()
    after = artifact_of(opened)

    new, old = services.signing_keys()
    assert new == made
    assert (new.active, old.active) == (True, False)
    for artifact, right, wrong in ((before, old, new), (after, new, old)):
        assert verify_artifact(artifact, [read_public_key(right.public_key)]).trusted
        problems = verify_artifact(artifact, [read_public_key(wrong.public_key)]).problems
        assert [problem.code for problem in problems] == ["wrong_key"]


def test_an_artifact_that_was_sealed_before_keeps_its_signature(opened: Any) -> None:
    """A3"""
    one = opened()
    services.end_session(one.session_id)
    before = services.get_artifact(one.session_id)

    services.rotate_signing_key()

    assert services.get_artifact(one.session_id) == before
    assert selectors.verify_session(one.session_id).ok


def test_a_rotation_does_not_touch_the_keys_that_were_retired_before(clock: Any) -> None:
    for minutes in range(3):
        clock.move_to(MORNING + timedelta(minutes=minutes))
        services.rotate_signing_key()

    retired = SiteKey.objects.order_by("pk").values_list("retired_at", flat=True)
    assert list(retired) == [MORNING + timedelta(minutes=1), MORNING + timedelta(minutes=2), None]


@pytest.mark.parametrize("purpose", ["artifact", "log"])
def test_what_signs_has_a_key_pair_in_each_generation(purpose: str) -> None:
    """A3, A4: the secret half is the one that the public half verifies."""
    for key in (active_site_key(purpose), rotate_site_key(purpose)):
        assert verify(bytes(key.public), b"message", sign(site_key_secret(key), b"message"))


def test_what_signs_nothing_has_no_public_half() -> None:
    key = active_site_key("consumer")
    assert (bytes(key.public), len(site_key_secret(key))) == (b"", 32)


def test_tokens_are_revoked_while_the_key_service_is_out_of_reach(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """T3: their key is derived, so there is nothing to wrap."""
    token = opened().token

    def away(*args: object, **kwargs: object) -> None:
        raise KeyProblem("The service does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(LocalKeyProvider, "wrap", away)
        revoke_token_key(reason="a laptop was stolen")
        with pytest.raises(KeyProblem):
            services.rotate_signing_key()

    with pytest.raises(InvalidToken):
        selectors.authenticate(token)
    assert selectors.authenticate(opened().token).is_live()


def test_the_secret_half_is_stored_wrapped(opened: Any) -> None:
    """A8"""
    artifact_of(opened)
    secret = site_key_secret(active_site_key("artifact"))

    assert len(secret) == 32
    assert not is_stored(secret)


# Master keys


def test_a_new_master_key_wraps_what_is_new(opened: Any, configure: Any) -> None:
    """A8: put first, the old one behind it."""
    old = opened(state=variables(a="old"))
    configure(MASTER_KEYS={"test-2": NEW, "test-1": OLD})

    new = opened(state=variables(a="new"))

    wrapped_with = dict(SessionKey.objects.values_list("session_id", "master_key_id"))
    assert wrapped_with == {old.session_id: "test-1", new.session_id: "test-2"}


def test_old_sessions_go_on_under_the_old_master_key(opened: Any, configure: Any) -> None:
    """A8: without downtime, tokens included."""
    one = opened(state=variables(a="old"))
    configure(MASTER_KEYS={"test-2": NEW, "test-1": OLD})
    _cache.local.clear()

    head = selectors.authenticate(one.token)
    services.change_session(head, expected_version=1, patch=variables(b="new"))
    services.end_session(one.session_id)

    assert selectors.current_state(one.session_id).state == variables(a="old", b="new")
    assert verify_artifact(services.get_artifact(one.session_id)).ok
    assert selectors.verify_session(one.session_id).ok


def test_the_site_keys_of_the_old_master_key_stay_in_use(opened: Any, configure: Any) -> None:
    """A8: pseudonyms and signatures do not change because the master key did."""
    artifact_of(opened)
    pseudonym, keys = services.consumer_pseudonym("customer-4711"), services.signing_keys()

    configure(MASTER_KEYS={"test-2": NEW, "test-1": OLD})

    assert services.consumer_pseudonym("customer-4711") == pseudonym
    assert services.signing_keys() == keys
    assert verify_artifact(artifact_of(opened), [read_public_key(keys[0].public_key)]).trusted
    services.rotate_signing_key()
    assert SiteKey.objects.get(purpose="artifact", retired_at__isnull=True).master_key_id == "test-2"


def test_without_its_master_key_a_session_cannot_be_read_or_written(opened: Any, configure: Any) -> None:
    """A8: the message tells which key is missing and what to do; nothing is written."""
    one = opened(state=variables(a=1))
    services.change_session(one.session_id, expected_version=1, patch=variables(a=2))
    services.add_message(one.session_id, role="user", content="hello")
    configure(MASTER_KEYS={"test-2": NEW})
    _cache.local.clear()
    before = everything_stored()

    for attempt in (
        lambda: selectors.current_state(one.session_id),
        lambda: selectors.state_at_version(one.session_id, 1),
        lambda: selectors.messages(one.session_id),
        lambda: services.change_session(one.session_id, expected_version=2, patch=variables(a=3)),
        lambda: services.record_event(one.session_id, kind="cart.viewed"),
        lambda: services.add_message(one.session_id, role="user", content="hello"),
        lambda: services.end_session(one.session_id),
        lambda: selectors.verify_session(one.session_id),
    ):
        with pytest.raises(KeyProblem, match=r"no master key 'test-1'.*put it back") as refusal:
            attempt()
        assert (refusal.value.status, refusal.value.code) == (503, "key_problem")

    assert everything_stored() == before
    with pytest.raises(InvalidToken):
        selectors.authenticate(one.token)


def test_when_the_master_key_is_put_back_all_is_well(opened: Any, configure: Any) -> None:
    """A8: a missing key says nothing against the session."""
    one = opened(state=variables(a=1))
    configure(MASTER_KEYS={"test-2": NEW})
    with pytest.raises(KeyProblem):
        services.record_event(one.session_id, kind="cart.viewed")

    configure(MASTER_KEYS={"test-1": OLD})

    assert selectors.authenticate(one.token).is_live()
    assert selectors.current_state(one.session_id).state == variables(a=1)
    services.record_event(one.session_id, kind="cart.viewed")


def test_another_key_under_the_same_id_does_not_open_the_session(opened: Any, configure: Any) -> None:
    one = opened(state=variables(a=1))
    configure(MASTER_KEYS={"test-1": NEW})
    _cache.local.clear()

    with pytest.raises(KeyProblem, match="does not unwrap with master key 'test-1'"):
        selectors.current_state(one.session_id)


def test_no_key_is_in_any_message(opened: Any, configure: Any) -> None:
    one = opened()
    configure(MASTER_KEYS={"test-1": "not base64 at all, a passphrase"})

    with pytest.raises(KeyProblem) as refusal:
        services.record_event(one.session_id, kind="cart.viewed")

    assert "passphrase" not in f"{refusal.value!r} {refusal.value.details}"
