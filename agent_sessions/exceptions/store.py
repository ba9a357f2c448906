"""Errors that say what the store answers to a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_sessions.exceptions.base import AgentSessionsError


class ItemNotFound(AgentSessionsError):
    """The store has no such item, or the cart has no such line (contract item 40)."""

    code = "item_not_found"
    status = 404

    def __init__(self, what: str, where: str = "in this store") -> None:
        super().__init__(f"There is no {what} {where}.")


class CartProblem(AgentSessionsError):
    """The store will not sell that: out of stock, not for sale, a voucher that does not hold, an empty cart.

    ``problems`` are maps with ``code``, ``message`` and, where it helps, ``line``, ``voucher`` and ``available``.
    The status is 400 and not 409, because the protocol's clients read the answers to 400 only.
    """

    code = "cart_problem"
    status = 400

    def __init__(self, message: str, problems: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message, problems=[dict(problem) for problem in problems])
        self.problems = tuple(problems)


class PolicyDenied(AgentSessionsError):
    """A rule of the site, or the scope that the consumer set, does not allow the call.

    ``approval`` tells how a person is asked, where the yes of one would help, and what came of it so far.
    """

    code = "policy_denied"
    status = 403

    def __init__(
        self, message: str, *, rule: str, needs_human: bool, approval: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(
            message, rule=rule, needs_human=needs_human, **({} if approval is None else {"approval": dict(approval)})
        )
        self.rule = rule
        self.needs_human = needs_human


class HoldRefused(AgentSessionsError):
    """The shop does not keep these pieces for the session (X1). ``available``: how many it could, None if unknown."""

    code = "hold_refused"
    status = 409

    def __init__(self, message: str, available: int | None = None) -> None:
        super().__init__(message, **({} if available is None else {"available": available}))
        self.available = available


class HoldNotFound(AgentSessionsError):
    """The session has no such hold, or has it no more: it was released, ordered, or has expired."""

    code = "hold_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("This session holds nothing by that id. List its holds to see what it has.")


class StaleCart(AgentSessionsError):
    """Something the cart depends on has changed in the shop and was not validated again (X2).

    ``parts`` are maps with ``kind``, ``ref``, ``what`` (what has changed) and ``since``.
    """

    code = "stale_cart"
    status = 409

    def __init__(self, parts: Sequence[Mapping[str, object]]) -> None:
        super().__init__(
            f"The shop has changed what this cart depends on ({len(parts)} {'part' if len(parts) == 1 else 'parts'}). "
            "Revalidate the session, tell the consumer what is different, and check out again.",
            parts=[dict(part) for part in parts],
        )
        self.parts = tuple(parts)


class FactUnavailable(AgentSessionsError):
    """What the customer did not say could not be looked up; nothing is guessed in its place (X3)."""

    code = "fact_unavailable"
    status = 503

    def __init__(self, name: str) -> None:
        super().__init__(f"The fact {name} could not be looked up. Ask the customer, or try again later.", fact=name)
        self.name = name


class NoStore(AgentSessionsError):
    """The site has no store adapter, or it could not be made."""

    code = "no_store"
    status = 503


class DocumentRefused(AgentSessionsError):
    """A state document cannot be taken over (C3). ``reason`` is for programs, ``path`` a JSON pointer into it.

    The message can be passed on to the customer; nothing was stored.
    """

    code = "document_refused"
    status = 422

    def __init__(self, reason: str, problem: str, path: str, problems: Sequence[Mapping[str, object]] = ()) -> None:
        told = {"problems": [dict(one) for one in problems]} if problems else {}
        super().__init__(problem, reason=reason, path=path, **told)
        self.reason = reason
        self.path = path
