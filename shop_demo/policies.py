"""What this shop wants a person to agree to."""

from __future__ import annotations

from agent_sessions.store import NeedsHuman

RULES = (
    NeedsHuman(
        name="large orders",
        capabilities=("checkout",),
        over=30_000,
        message="Orders over 300.00 EUR need a person's approval. Ask for it and give them the link.",
    ),
)
