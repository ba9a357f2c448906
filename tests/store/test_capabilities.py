"""A registration that no manifest can say is refused where it is made."""

from __future__ import annotations

from typing import Any

import pytest

from agent_sessions.exceptions import InvalidValue, NoStore
from agent_sessions.store import Capability, CapabilityCall, Outcome, Param, capability, registry
from agent_sessions.store.capabilities import Registry
from agent_sessions.store.offer import offer


def handler(call: CapabilityCall) -> Outcome:
    """Wrap it as a gift.

    More about it.
    """
    return Outcome({})


def made(**facts: Any) -> Capability:
    return Capability(
        **{"name": "gift.wrap", "method": "POST", "path": "/gift", "handler": handler, "kind": "gift.wrapped", **facts}
    )


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "Gift"}, {"name": ""}, {"name": "1x"}, {"name": "a" * 65}, {"name": "gift wrap"},
        {"method": "get"}, {"method": "HEAD"}, {"also": ("OPTIONS",)}, {"also": ("POST",)}, {"also": ("PUT", "PUT")},
        {"path": "gift"}, {"path": "/gift/"}, {"path": "/gift//x"}, {"path": "/"}, {"path": ""}, {"path": "/gift?x"},
        {"path": "/session"}, {"path": "/session/x"}, {"path": "/audit"}, {"path": "/gift/:id"},
        {"path": "/gift/:id/:id", "params": {"id": Param("string")}},
        {"params": {"a b": Param("string")}}, {"params": {"": Param("string")}},
        {"params": {"a": Param("string", aliases=("b",)), "b": Param("string")}},
        {"params": {"a": Param("string", aliases=("x",)), "b": Param("string", aliases=("x",))}},
        {"human_handoff": True},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_manifest_can_say_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        made(**facts)


@pytest.mark.parametrize("kind", ["wrapped", "", "Gift.wrapped", "gift wrapped.x"])
def test_its_event_is_dotted_and_lower_case(kind: str) -> None:
    with pytest.raises(InvalidValue):
        made(kind=kind)


@pytest.mark.parametrize(
    "facts",
    [
        {"type": "text"}, {"type": "array", "items": "int"}, {"type": "string", "required": True, "default": ""},
        {"type": "string", "aliases": "id"}, {"type": "string", "enum": "abc"},
    ],
    ids=str,
)  # fmt: skip
def test_a_parameter_that_makes_no_sense_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Param(**facts)


def test_a_name_is_registered_once_and_can_be_taken_back() -> None:
    ours = Registry()
    ours.add(made())
    with pytest.raises(ValueError, match=r"two capabilities named gift\.wrap"):
        ours.add(made(path="/other"))
    before = ours.generation
    ours.remove("gift.wrap")
    assert ours.all() == ()
    assert ours.generation > before


def test_the_decorator_takes_path_and_description_from_the_name_and_the_docstring() -> None:
    try:
        assert capability("gift.wrap", kind="gift.wrapped", params={"paper": Param("string")})(handler) is handler
        found = next(one for one in registry.all() if one.name == "gift.wrap")
        assert (found.path, found.method, found.description) == ("/gift/wrap", "POST", "Wrap it as a gift.")
    finally:
        registry.remove("gift.wrap")


def test_a_call_without_a_store_says_that_there_is_none(configure: Any) -> None:
    configure(STORE="", POLICIES="")
    assert offer().store is None
    from django.utils import timezone

    from agent_sessions.store import StoreContext

    call = CapabilityCall(made(), {}, None, StoreContext(), None, {}, timezone.now())
    with pytest.raises(NoStore):
        _ = call.store
