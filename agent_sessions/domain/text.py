"""Text that agents and consumers choose, made safe to show to people."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, what turns the direction of text (bidi), what cannot be
# seen (zero-width, tags) and lone surrogates. Joiners stay: Indic scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def has_unsafe_characters(text: str) -> bool:
    """Tell whether ``text`` holds characters that are invisible, control a terminal or turn its direction."""
    return _UNSAFE.search(text) is not None


def clipped(text: str, length: int = 80) -> str:
    """Return ``text`` on one line, at most ``length`` characters, unsafe ones shown by their code point."""
    shown = _UNSAFE.sub(_visible, text[: length + 1])
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def _visible(match: re.Match[str]) -> str:
    character = match.group()
    return "⏎" if character == "\n" else f"⟨U+{ord(character):04X}⟩"
