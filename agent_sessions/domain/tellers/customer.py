"""How differences of what is known of the consumer, and of the talk, are told."""

from __future__ import annotations

from agent_sessions.domain.slices.customer import Address
from agent_sessions.domain.tellers.making import Teller, entries, in_brackets, saying, text, texts, variables
from agent_sessions.domain.text import clipped


def _address(key: str, address: Address) -> tuple[str, str]:
    country = address.country if isinstance(address.country, str) else ""
    return "added", f"Address {clipped(address.label or key)}{in_brackets(country)}"


CUSTOMER: dict[str, Teller] = {
    "preferences": variables("Preference"),
    "loyalty": variables("Loyalty"),
    "addresses": entries(Address, saying("address", _address)),
}
CONVERSATION: dict[str, Teller] = {
    "summary": text("summary.changed", "Summary of the conversation"),
    "products": texts("Product", added="discussed", changed="changed", removed="dropped"),
    "questions": texts("Question", added="opened", changed="changed", removed="answered"),
    "files": texts("File", added="added", changed="changed", removed="removed"),
}
