"""Splitting states and patches by class (A5, A7)."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given

from agent_sessions.domain.patch import apply_patch
from agent_sessions.domain.privacy import PERSONAL, split
from agent_sessions.types import Patch, State
from tests.domain.strategies import states


@pytest.mark.parametrize("pointer", PERSONAL)
def test_what_is_personal_is_in_the_personal_part_and_nowhere_else(pointer: str) -> None:
    patch: Patch = {"marker": "Ann"}
    for name in reversed(pointer.split("/")[1:]):
        patch = {name: patch}
    patch = cast("Patch", apply_patch(cast("State", patch), {"shopping": {"lines": {"1": {"item": "MUG"}}}}))

    content, personal = split(patch)

    assert "Ann" not in json.dumps(content)
    assert "Ann" in json.dumps(personal)
    assert (json.dumps(content).count("MUG"), json.dumps(personal).count("MUG")) == (1, 0)


def test_a_deleted_slice_is_content_and_takes_what_is_personal_in_it_along() -> None:
    state: State = {"shopping": {"instructions": "ring twice", "lines": {}}}

    content, personal = split({"shopping": None})

    assert (content, personal) == ({"shopping": None}, {})
    assert apply_patch(state, content) == {}


def test_deleting_something_personal_is_personal() -> None:
    assert split({"customer": None, "shopping": {"instructions": None}}) == (
        {},
        {"customer": None, "shopping": {"instructions": None}},
    )


@given(states(), states())
def test_both_parts_one_after_the_other_do_what_the_whole_does(state: State, patch: State) -> None:
    content, personal = split(cast("Patch", patch))

    assert apply_patch(apply_patch(state, content), personal) == apply_patch(state, cast("Patch", patch))


def test_words_in_an_entry_are_personal_whatever_its_key() -> None:
    """What became of a question stays when the words that it was asked with are erased."""
    patch: Patch = {"decisions": {"approvals": {"a1": {"status": "pending", "reason": "for Ann"}, "a2": None}}}
    content, personal = split(patch)
    assert content == {"decisions": {"approvals": {"a1": {"status": "pending"}, "a2": None}}}
    assert personal == {"decisions": {"approvals": {"a1": {"reason": "for Ann"}}}}
