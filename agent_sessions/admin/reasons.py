"""What it means that something was refused or failed, and what people can do next, by its code.

Only codes that the package knows are here: those of its own errors, of payments as its documentation and the demo shop
have them, and a few kinds of events that say by themselves what went wrong. Any other code is a store's own and is
shown as it is, because nobody here knows what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from agent_sessions.types import JSONValue


@dataclass(frozen=True, slots=True)
class Reason:
    """``what`` happened, and the ``advice`` for whoever helps the shopper; a sentence or two each."""

    what: str | Promise
    advice: str | Promise


RULES: Final[Mapping[str, Reason]] = {
    "permission": Reason(
        _("A member of the staff lacked the permission for it."), _("Somebody who has it can do it instead.")
    ),
    "scope": Reason(
        _("It goes beyond what the shopper allowed this agent: which calls, or how much to spend."),
        _("The shopper can do it themselves, or let the agent open a session that allows more."),
    ),
}
"""Rules that every site has. A shop’s own rules are known to the shop only."""

PAYMENTS: Final[Mapping[str, Reason]] = {
    "cancelled": Reason(
        _("The payment was cancelled before it was carried out."), _("The shopper can pay again if they still want to.")
    ),
    "card_declined": Reason(
        _("The bank declined the card and did not say why."),
        _("The shopper can use another card or way of paying, or ask the bank."),
    ),
    "card_expired": Reason(_("The card has expired."), _("The shopper can use another card or way of paying.")),
    "insufficient_funds": Reason(
        _("There was not enough money on the card or account."),
        _("The shopper can use another card or way of paying, or try again later."),
    ),
    "timeout": Reason(
        _("No answer came in time, so it is not known whether it was carried out."),
        _("Ask the provider what became of it before it is tried again: it may have been paid."),
    ),
}
"""What payment providers answer; other codes of theirs are shown as they are."""

CODES: Final[Mapping[str, Reason]] = {
    "approval_closed": Reason(
        _("The approval had been answered, used or replaced already."),
        _("If the cart still needs one, the agent can ask again."),
    ),
    "approval_expired": Reason(
        _("The time to answer was over."), _("The agent can ask again; the shopper gets a new link.")
    ),
    "approval_waiting": Reason(
        _("A person has been asked about this cart and has not answered yet."),
        _("Wait for the answer, or let the agent change the cart."),
    ),
    "cart_problem": Reason(
        _("The shop could not sell that: something is out of stock, a voucher is not valid, or the cart was empty."),
        _("Another quantity, item or voucher may do; the agent was told which."),
    ),
    "checkout_elsewhere": Reason(
        _("The same shopper has a checkout open in another session, or has ordered from another branch already."),
        _("They can finish or give up that checkout first."),
    ),
    "devices_unconfirmed": Reason(
        _("Other agents shop for the same person, who has not confirmed this checkout."),
        _("The shopper can confirm it on the page of the checkout. Nothing was paid."),
    ),
    "error": Reason(
        _("The site failed at this call."),
        _("Nothing was changed. Whoever runs the site finds the error in its log at this time."),
    ),
    "fact_unavailable": Reason(
        _("Something that the agent needed to know could not be looked up."),
        _("It can ask the shopper, or try again later."),
    ),
    "hold_not_found": Reason(
        _("The session holds no such pieces, or holds them no longer."), _("The agent can look up what is still free.")
    ),
    "hold_refused": Reason(
        _("Not so many pieces were free to be held."), _("The agent can hold fewer, or another item.")
    ),
    "invalid_parameter": Reason(
        _("The agent sent something that this call does not take."),
        _("It was told what, and can call again. If that happens often, tell the agent’s operator."),
    ),
    "invalid_value": Reason(
        _("The agent sent something that a session cannot keep."),
        _("It was told what, and can call again. If that happens often, tell the agent’s operator."),
    ),
    "item_not_found": Reason(
        _("The shop has no such item, or the cart no such line."),
        _("It may no longer be on sale; look it up in the shop."),
    ),
    "limit_exceeded": Reason(
        _("What the agent sent is too large for a session."),
        _("It was told the limit. If that happens often, tell the agent’s operator."),
    ),
    "merge_conflict": Reason(
        _("Somebody else changed the same thing at the same time."), _("The agent can read the session and call again.")
    ),
    "no_store": Reason(
        _("The shop is not set up, or could not be started."),
        _("Tell whoever runs the site: its checks say what is missing."),
    ),
    "payment_data_refused": Reason(
        _("Card data was sent as it stands on the card. It was refused and not kept."),
        _("The agent has to send what the payment provider gives for it; tell the agent’s operator."),
    ),
    "policy_denied": Reason(
        _("A rule of the shop does not allow it."),
        _("Where the rule asks for a person, the agent can ask for an approval; otherwise the cart has to change."),
    ),
    "session_busy": Reason(_("Too many changes came at the same time."), _("The agent can call again in a moment.")),
    "session_held": Reason(_("A person had taken over the session."), _("The agent waits until it is given back.")),
    "session_paused": Reason(_("The session was paused."), _("Whoever paused it can let it go on.")),
    "stale_cart": Reason(
        _("The shop has changed something that the cart depends on, such as a price."),
        _("The agent has to check the cart, tell the shopper what is different, and check out again."),
    ),
    "version_conflict": Reason(
        _("Somebody else changed the session at the same time."), _("The agent can read the session and call again.")
    ),
}
"""Codes of the package's errors (docs/errors.md) that the history of a session can name."""

KINDS: Final[Mapping[str, Reason]] = {
    "approval.attempt_failed": Reason(
        _("The answer did not count: it came from somebody else, or named another total."),
        _("Whoever was asked can answer by the link, with the total that it shows."),
    ),
    "approval.rejected": Reason(
        _("The person who was asked said no, or five answers did not fit."),
        _("The agent can change the cart and ask again about that one."),
    ),
    "confirmation.declined": Reason(
        _("The shopper was asked here about a checkout in another session of theirs, and did not confirm it."),
        _("Nothing was paid there. They can go on in either session."),
    ),
    "step.outcome_unknown": Reason(
        _("It was begun, and nobody knows whether it was carried out."),
        _("Ask the provider what became of it before it is tried again: it may have been paid."),
    ),
}
"""Kinds of events that name no code, because they are about one thing only."""


def reason_of(code: str, *, kind: str = "", rule: str = "") -> Reason | None:
    """Return what a refusal or failure means, by the ``rule`` that refused, the code, or the event's kind."""
    return RULES.get(rule) or CODES.get(code) or PAYMENTS.get(code) or KINDS.get(kind)


def code_of(params: Mapping[str, JSONValue], *, denied: bool) -> str:
    """Return the code that an event's parameters name; where a rule ``denied`` it and they name none, that of this."""
    code = params.get("code")
    return code if isinstance(code, str) else "policy_denied" if denied else ""
