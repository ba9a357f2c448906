"""The wire contract has 85 items and 38 rows of disagreements; each has a test that carries its number.

Items 1 to 22 (sessions), 23 to 29 (tokens), 30 to 49 (calls), 50 to 70 (manifests) and 71 to 85 (audit) are in the
modules of those names; the rows of section 2 in ``test_contract_dialects``. Item 49 and parts of 14, 23 and 61 bind
agents, not sites: their tests hold what the site has to make possible.
"""

from __future__ import annotations

import re
from pathlib import Path


def numbers(kind: str) -> set[int]:
    here = Path(__file__).parent
    source = "\n".join(path.read_text() for path in here.glob("test_contract_*.py"))
    return {int(number) for number in re.findall(rf"def test_{kind}_(\d\d)_", source)}


def test_every_item_has_a_test() -> None:
    assert numbers("item") == set(range(1, 86))


def test_every_row_has_a_test() -> None:
    assert numbers("row") == set(range(1, 39))
