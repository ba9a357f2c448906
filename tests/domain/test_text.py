from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sessions.domain.text import clipped, has_unsafe_characters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Blue mug", "Blue mug"),
        ("two\nlines", "two⏎lines"),
        ("\x1b[31mred", "⟨U+001B⟩[31mred"),
        ("\u202egpj.exe", "⟨U+202E⟩gpj.exe"),
        ("\u2066a\u2069", "⟨U+2066⟩a⟨U+2069⟩"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("क्\u200dष 👩\u200d🍳 größe", "क्\u200dष 👩\u200d🍳 größe"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
    ],
)
def test_clipped(text, shown):
    assert clipped(text) == shown


@given(st.text(st.characters()))
def test_clipped_text_is_short_safe_and_encodable(text):
    shown = clipped(text)
    assert len(shown) <= 80
    assert not has_unsafe_characters(shown)
    shown.encode()
