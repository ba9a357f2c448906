"""Who may call what: rules that are asked before a call is carried out, and again when its change is known.

The first rule that decides, decides, and stands in the history beside the call. What no rule decides is allowed by
the rule ``default``. What a session's scope says is always asked first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from agent_sessions.domain.approvals import ApprovalStatus, refusal_of
from agent_sessions.domain.money import format_money
from agent_sessions.domain.shown_cart import shown_cart
from agent_sessions.store.capabilities import CapabilityCall
from agent_sessions.store.cart import cart_lines, cart_vouchers
from agent_sessions.types import State

MAX_NAME = 200
NOT_ASKED = "none"
"""What came of an approval that nobody has asked for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule decided. ``message`` is told to the agent; ``needs_human`` if a person could do what it may not.

    ``approval`` is set where the yes of a person to the cart would do: what came of the one that was asked for
    (``pending``, ``rejected`` …), or ``none``.
    """

    allowed: bool
    rule: str
    message: str = ""
    needs_human: bool = False
    approval: str = ""


class Policy(Protocol):
    """A rule. ``name`` stands in the history, so keep it; None decides nothing."""

    @property
    def name(self) -> str: ...

    def before(self, call: CapabilityCall) -> Verdict | None:
        """Decide on the call before it is carried out."""
        ...

    def after(self, call: CapabilityCall, state: State) -> Verdict | None:
        """Decide on the state that the call would lead to."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What all rules share: which calls they are about. Patterns are as in shells: ``cart.*``."""

    name: str
    capabilities: Sequence[str] = ("*",)
    agents: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        # A text would be taken for its letters, and "cart.*" has a star among them.
        if isinstance(self.capabilities, str) or isinstance(self.agents, str):
            raise TypeError(f"{self.name}: give capabilities and agents as tuples of patterns.")
        if not 0 < len(self.name) <= MAX_NAME:
            raise ValueError(f"A rule needs a name of 1 to {MAX_NAME} characters; it stands in the history.")

    def _concerns(self, call: CapabilityCall) -> bool:
        agent = "" if call.session is None else call.session.agent.name
        return _matches(call.capability.name, self.capabilities) and _matches(agent, self.agents)

    def before(self, call: CapabilityCall) -> Verdict | None:  # noqa: ARG002
        return None

    def after(self, call: CapabilityCall, state: State) -> Verdict | None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny(_Rule):
    """Refuse these calls. ``agents`` compares the name that the agent gave itself."""

    message: str = "This shop does not allow that."

    def before(self, call: CapabilityCall) -> Verdict | None:
        return Verdict(False, self.name, self.message) if self._concerns(call) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowOnly(_Rule):
    """Let these agents call nothing but these capabilities. Put it after what denies; it never overrules a denial."""

    message: str = "This shop does not offer that to this agent."

    def before(self, call: CapabilityCall) -> Verdict | None:
        agent = "" if call.session is None else call.session.agent.name
        if not _matches(agent, self.agents) or _matches(call.capability.name, self.capabilities):
            return None
        return Verdict(False, self.name, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrain(_Rule):
    """Bound a parameter: a number from ``minimum`` to ``maximum``, or one of ``allowed``."""

    param: str
    minimum: int | None = None
    maximum: int | None = None
    allowed: Sequence[object] = ()

    def before(self, call: CapabilityCall) -> Verdict | None:
        if not self._concerns(call) or self.param not in call.params:
            return None
        value = call.params[self.param]
        if self.allowed and value not in self.allowed:
            return Verdict(False, self.name, f"{self.param} has to be one of {', '.join(map(str, self.allowed))}.")
        if self.minimum is not None and value < self.minimum:
            return Verdict(False, self.name, f"{self.param} has to be at least {self.minimum}.")
        if self.maximum is not None and value > self.maximum:
            return Verdict(False, self.name, f"{self.param} has to be at most {self.maximum}.")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendCap(_Rule):
    """Bound what a cart may cost: ``amount`` in minor units of ``currency``. Another currency is refused too."""

    amount: int
    currency: str

    def after(self, call: CapabilityCall, state: State) -> Verdict | None:
        return _over(self.name, self.amount, self.currency, call, state) if self._concerns(call) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsHuman(_Rule):
    """Keep these calls for a person. ``over`` (minor units) only from that total of the cart on.

    What hands a cart to a human, such as checkout, is allowed once a person has granted an approval of this very cart
    (L5). Other calls are not: there is no telling beforehand what they would make of it.
    """

    over: int | None = None
    message: str = "A person has to agree to this first. Ask for an approval, or ask the consumer."

    def before(self, call: CapabilityCall) -> Verdict | None:
        return self.after(call, call.state)

    def after(self, call: CapabilityCall, state: State) -> Verdict | None:
        # Asked again when the call has brought the prices up to date.
        if not self._concerns(call):
            return None
        total = _total(state)
        if self.over is not None and (total is None or total[0] <= self.over):
            return None
        if not call.capability.human_handoff:
            return Verdict(False, self.name, self.message, needs_human=True)
        found = call.approval
        if found is None or found.capability != call.capability.name:
            return Verdict(False, self.name, self.message, needs_human=True, approval=NOT_ASKED)
        if found.status is ApprovalStatus.GRANTED and shown_cart(state) == shown_cart(call.state):
            return None
        told = refusal_of(found)
        return Verdict(False, self.name, told.message, needs_human=True, approval=found.status.value)


@dataclass(frozen=True, slots=True)
class WithinScope:
    """What the consumer allowed the agent when the session began (S3): always in force."""

    name: str = field(default="scope", init=False)

    def before(self, call: CapabilityCall) -> Verdict | None:
        if call.session is None:
            return None
        allowed = call.session.scope.capabilities
        if not call.capability.requires_session or not allowed or call.capability.name in allowed:
            return None
        return Verdict(False, self.name, "The consumer has not allowed this agent to do that.", needs_human=True)

    def after(self, call: CapabilityCall, state: State) -> Verdict | None:
        scope = None if call.session is None else call.session.scope
        if scope is None or scope.spend_cap is None:
            return None
        return _over(self.name, scope.spend_cap, scope.currency, call, state)


DEFAULT = "default"


def decide_before(policies: Iterable[Policy], call: CapabilityCall) -> Verdict:
    """Ask the rules about a call. Raises what a rule raises: a rule that fails has not allowed anything."""
    return next(
        (verdict for policy in policies if (verdict := policy.before(call)) is not None), Verdict(True, DEFAULT)
    )


def decide_after(policies: Iterable[Policy], call: CapabilityCall, state: State) -> Verdict | None:
    """Ask the rules about the state that a call would lead to; None if none objects."""
    return next((verdict for policy in policies if (verdict := policy.after(call, state)) is not None), None)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _total(state: State) -> tuple[int, str] | None:
    shopping = state.get("shopping")
    quote = shopping.get("quote") if isinstance(shopping, dict) else None
    if not isinstance(quote, dict):
        return None
    total, currency = quote.get("total"), quote.get("currency")
    return (total, currency) if isinstance(total, int) and isinstance(currency, str) else None


def _over(rule: str, amount: int, currency: str, call: CapabilityCall, after: State) -> Verdict | None:
    """Refuse a change that makes a cart cost more than the limit, and to hand over one that does.

    What makes it cheaper is never refused, nor what only takes out: prices may have risen since, and this is the way
    back.
    """
    was, total = _total(call.state), _total(after)
    if total is None:
        return None
    if not call.capability.human_handoff:
        if _only_takes_out(call.state, after):
            return None
        if was is not None and was[1] == total[1] and total[0] <= was[0]:
            return None
    if total[1] != currency:
        return Verdict(False, rule, f"The limit is in {currency}; the cart is in {total[1]}.", needs_human=True)
    if total[0] <= amount:
        return None
    told = f"The cart would cost {format_money(*total)}; the limit is {format_money(amount, currency)}."
    return Verdict(False, rule, told, needs_human=True)


def _only_takes_out(before: State, after: State) -> bool:
    had, has = cart_lines(before), cart_lines(after)
    kept = cart_vouchers(before) == cart_vouchers(after)
    return kept and has != had and all(key in had and line[1] <= had[key][1] for key, line in has.items())
