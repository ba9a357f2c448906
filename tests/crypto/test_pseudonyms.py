from __future__ import annotations

import re

from hypothesis import given, settings

from agent_sessions.crypto.pseudonyms import pseudonym
from tests.crypto.test_canonical import TEXT

KEY = bytes(range(32))


def test_is_pinned_for_rows_in_the_field_hold_it() -> None:
    assert pseudonym(KEY, "north", "anna@shop.example") == "jsFfw8sahrbSvNCCuWPKTA"


def test_depends_on_key_merchant_and_person() -> None:
    names = {
        pseudonym(KEY, "north", "anna"),
        pseudonym(KEY, "south", "anna"),
        pseudonym(KEY, "north", "bert"),
        pseudonym(bytes(32), "north", "anna"),
    }
    assert len(names) == 4


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, TEXT)
def test_no_two_people_are_written_alike(merchant: str, person: str, other_merchant: str, other: str) -> None:
    name = pseudonym(KEY, merchant, person)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", name)
    assert (name == pseudonym(KEY, other_merchant, other)) is ((merchant, person) == (other_merchant, other))
