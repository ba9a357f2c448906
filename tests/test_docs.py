"""The docs say what is so: examples run as printed, and the reference pages list everything there is."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from agent_sessions import checks, exceptions, selectors, services
from agent_sessions.conf import DEFAULTS

ROOT = Path(__file__).resolve().parent.parent
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.django_db(transaction=True)
def test_the_readmes_example_prints_what_it_says() -> None:
    readme = read("README.md")
    example = next(block for block in blocks(readme, "python") if "open_session" in block)
    printed = blocks(readme, "text")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 16, "it is to be about a dozen lines"

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - it is our own page

    assert masked(output.getvalue()) == masked(printed)


def masked(text: str) -> str:
    """The text without what is different every time: ids, and with them nothing else, for their length is fixed."""
    return UUID.sub("ID", text)


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_setting_is_documented(name: str) -> None:
    assert f"| `{name}` |" in read("docs/settings.md")


def test_every_check_is_documented() -> None:
    written = "".join(file.read_text() for file in Path(checks.__file__).parent.glob("*.py"))
    ids = set(re.findall(r"agent_sessions\.[EW]\d{3}", written))
    assert ids == set(re.findall(r"agent_sessions\.[EW]\d{3}", read("docs/settings.md")))


def test_every_error_is_documented_with_its_code_and_status() -> None:
    for error in vars(exceptions).values():
        if isinstance(error, type) and issubclass(error, exceptions.AgentSessionsError) and error.code != "error":
            assert f"| `{error.__name__}` | `{error.code}` | {error.status} |" in read("docs/errors.md")


@pytest.mark.parametrize("surface", [services, selectors], ids=["services", "selectors"])
def test_every_public_function_is_in_the_python_reference(surface: object) -> None:
    reference = read("docs/python.md")
    for name in surface.__all__:
        assert name in reference, f"{name} is public and not documented"


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(f"docs/{page}")):
        if not target.startswith("http"):
            assert (ROOT / "docs" / target).exists(), f"docs/{page} links to {target}"
