"""What a shop provides: the protocol that connects a store to agents, and the values that cross it.

The session's own state is the truth of a cart. An adapter keeps none: it is given lines and says what they cost now.
Amounts are whole minor units of ``currency`` (ISO 4217): 1250 EUR is 12.50 euros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from agent_sessions.domain.slices.recovery import StepOutcome
from agent_sessions.types import JSONValue

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from agent_sessions.store.handoffs import Handoff


@dataclass(frozen=True, slots=True)
class StoreContext:
    """Who asks. ``request`` is None in jobs and commands; ``consumer`` is a pseudonym, empty if nobody is known."""

    request: HttpRequest | None = None
    consumer: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """Something in the catalogue.

    ``price`` None: it cannot be bought itself, one of its ``variants`` can. ``available`` None: stock is not counted.
    ``options`` are what tells a variant from its siblings, such as ``{"size": "M"}``. ``url`` and ``image`` are
    absolute, or paths on the site.
    """

    id: str
    title: str
    price: int | None
    currency: str
    description: str = ""
    category: str = ""
    available: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    variants: Sequence[Item] = ()
    url: str = ""
    image: str = ""
    extra: Mapping[str, JSONValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; ``number`` starts at 1."""

    items: Sequence[Item]
    number: int


@dataclass(frozen=True, slots=True)
class CartLine:
    """What is to be priced: an id of the line, the item that can be bought, and how many."""

    id: str
    item: str
    quantity: int


@dataclass(frozen=True, slots=True)
class PricedLine:
    """What a line costs now, all pieces of it; ``total`` before discounts. One for each line that was asked for."""

    id: str
    item: str
    title: str
    quantity: int
    unit_price: int
    total: int
    variant: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PricedDiscount:
    """What comes off, as a negative amount; ``line`` if it belongs to one, ``code`` if a voucher gave it."""

    id: str
    amount: int
    label: str
    code: str = ""
    line: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the cart cannot be bought as it is, in words for a person.

    ``code`` is one of ``unknown_item``, ``not_for_sale``, ``out_of_stock``, ``invalid_voucher``, or the store's own.
    ``line`` or ``voucher`` says what it is about; ``available`` how many there are, if that is the problem.
    """

    code: str
    message: str
    line: str = ""
    voucher: str = ""
    available: int | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a cart costs now. Lines that cannot be priced are left out and named in ``problems``.

    ``total`` is what is paid: lines, discounts, and ``shipping`` and ``tax`` where the store knows them (None: not
    yet). ``tax_included`` tells whether prices hold the tax already.
    """

    currency: str
    lines: Sequence[PricedLine]
    total: int
    discounts: Sequence[PricedDiscount] = ()
    shipping: int | None = None
    tax: int | None = None
    tax_included: bool = True
    problems: Sequence[Problem] = ()
    valid_until: datetime | None = None

    @property
    def subtotal(self) -> int:
        """All lines before discounts."""
        return sum(line.total for line in self.lines)

    @property
    def fingerprint(self) -> str:
        """Tell two quotes apart by what the human pays for what: equal exactly if all amounts and lines are."""
        seen = (
            self.currency,
            [(line.id, line.item, line.quantity, line.unit_price, line.total) for line in self.lines],
            [(discount.id, discount.amount, discount.code) for discount in self.discounts],
            self.shipping,
            self.tax,
            self.total,
        )
        return hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:32]


@runtime_checkable
class StoreAdapter(Protocol):
    """A store that agents can shop in. Name its class in ``AGENT_SESSIONS["STORE"]``; it is made once per process.

    Every method may be called from several threads at once, and with ``ctx.request`` None. None may write anything
    but what ``open_handoff`` needs, and ``step_outcome``. What a store cannot do it leaves out of ``features``:
    ``"browse"``, ``"contact"``, ``"stock"``, ``"customers"`` (see ``CustomerStore``), ``"find_customer"`` (see
    ``SearchableCustomers``), ``"steps"`` (see ``SteppingStore``). A store whose prices come from outside must bring a
    time-out of its own.

    A store that can tell what changes also has ``connect``, see ``ReportingStore``.
    """

    features: frozenset[str]

    def search(self, query: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        """Return the items that match the words of a person."""
        ...

    def browse(self, category: str, sort: str, *, ctx: StoreContext, page: int, limit: int) -> Page:
        """Return the items of a category ("" is all of them). Needed for the feature ``"browse"``."""
        ...

    def detail(self, item_id: str, *, ctx: StoreContext) -> Item | None:
        """Return one item with its variants, or None."""
        ...

    def price(self, lines: Sequence[CartLine], vouchers: Sequence[str], *, ctx: StoreContext) -> Quote:
        """Say what these lines cost now, and what keeps them from being bought."""
        ...

    def open_handoff(self, request: HttpRequest, handoff: Handoff) -> HttpResponse:
        """Take over the human who came by a handoff link: show or redirect to the store's own checkout.

        The request's Django session, if there is one, remembers the handoff: see ``selectors.handoff_of_request``.
        """
        ...

    def contact(self, message: str, reply_to: str, *, ctx: StoreContext) -> str:
        """Pass a message to the shop's people; return a reference. Needed for the feature ``"contact"``."""
        ...

    def stock(self, item_ids: Collection[str], *, ctx: StoreContext) -> Mapping[str, int | None]:
        """Say how many of each there are, None for what is not counted; leave out what there is not in the shop.

        Pieces that are held for agents are not the store's business. Needed for the feature ``"stock"``.
        """
        ...


class CustomerStore(Protocol):
    """A store that knows its customers: one with the feature ``"customers"``."""

    def consumer_reference(self, request: HttpRequest) -> str:
        """Return the store's own id of the customer who is signed in with this request, "" if nobody is.

        The one that ``consumer_pseudonym`` is given for the sessions of this customer.
        """
        ...


class SearchableCustomers(Protocol):
    """A store that finds a customer by what its staff know of them: one with the feature ``"find_customer"``."""

    def find_customer(self, term: str) -> str:
        """Return the store's own id of the customer whom a term names, such as their e-mail address; "" for nobody.

        The one that ``consumer_pseudonym`` is given for their sessions. Asked for staff who look for a customer's
        sessions; the term is kept nowhere, so do not log it either.
        """
        ...


class SteppingStore(Protocol):
    """A store that can say what became of a step: one with the feature ``"steps"``."""

    def step_outcome(self, step: str, key: str, *, ctx: StoreContext) -> tuple[StepOutcome, str] | None:
        """Say what became of an attempt at a step, such as a payment: its outcome and, if it failed, the code.

        ``key`` is the attempt's ``RunningStep.key``, which whoever carried it out was given. ``("done", "")``: it was
        carried out; ``("failed", code)``: it was not, and never will be; None: that cannot be said, and a person is
        called. What never arrived is ``("failed", "not_carried_out")``, once it is sure that it will not arrive any
        more. It may take its time and finish the shop's own record; it is called outside of any transaction, and again
        after whatever it raises.
        """
        ...


Emit = Callable[..., None]
"""``emit(kind, ids, what, merchant="")``: ``services.report_change``."""


class ReportingStore(Protocol):
    """A store that says by itself what has changed: prices, stock, vouchers, what it knows of a customer (X2)."""

    def connect(self, emit: Emit) -> None:
        """Arrange that ``emit`` is called with every change, in the transaction that makes it.

        Called once per process when Django starts, so it asks no database: connect signals, subscribe.
        """
        ...
