"""docs/identity.md says what is so."""

from __future__ import annotations

import contextlib
import io

from agent_sessions.identity import Outcome, Problem
from tests.test_docs import blocks, read


def test_every_outcome_and_problem_is_documented() -> None:
    page = read("docs/identity.md")

    assert [code for code in [*Outcome, *Problem] if f"| `{code}` |" not in page] == []


def test_the_examples_run_and_print_what_they_say() -> None:
    page = read("docs/identity.md")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        agent, site = (block for block in blocks(page, "python"))
        names: dict[str, object] = {}
        exec(compile(agent, "identity.md", "exec"), names)  # noqa: S102 - it is our own page
        exec(compile(site, "identity.md", "exec"), names)  # noqa: S102

    assert set(names["added"]) == {"Signature-Agent", "Signature-Input", "Signature", "Content-Digest"}  # type: ignore[call-overload]
    assert output.getvalue() == blocks(page, "text")[0]
