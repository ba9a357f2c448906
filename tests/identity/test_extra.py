"""The identity extra is optional: without it everything else works, and the outcomes still have their names."""

from __future__ import annotations

from tests.test_package import HOST, run_without

MISSING = {"http_message_signatures", "http_sf"}


def test_a_host_without_the_extra_works() -> None:
    assert run_without(MISSING, HOST).splitlines()[-1] == "True True"


def test_the_outcomes_have_names_without_the_extra() -> None:
    program = "from agent_sessions.identity import Outcome, Problem; print(*Outcome, Problem.REPLAYED)"

    assert run_without(MISSING, program).split() == ["verified", "invalid", "absent", "replayed"]


def test_directories_are_fetched_and_kept_without_the_extra() -> None:
    program = "import agent_sessions.identity.directories as d; print(d.KeyDirectories.__name__)"

    assert run_without(MISSING, program).strip() == "KeyDirectories"
