"""The shape of an evidence document (A2): what a decision, a payment or an order of a session rested on.

Everything is text, whole numbers and lists, so that the document has one canonical spelling. Times are UTC text as in
events, amounts are minor units. ``event`` is the number of the event in the session's chain that says so, ``version``
the version that it made: with these a reader finds each statement again in the proof.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from agent_sessions.types import JSONValue

EVIDENCE_TYPE: Final = "agent-session-evidence/v1"

SubjectKind = Literal["session", "order", "payment", "decision"]
Document = dict[str, JSONValue]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an evidence document."""


class Missing(Part, frozen=True):
    """What stands where something is not shown: that it was erased, by which rule and when, or was not asked for."""

    missing: str


class SessionFacts(Part, frozen=True):
    """Whose session it is. ``consumer`` is the store's pseudonym, ``purpose`` what the agent said it is for."""

    id: str
    site: str
    merchant: str
    agent: Document
    consumer: str | Missing
    purpose: str | Missing
    kind: str
    status: str
    created_at: str
    expires_at: str
    ended_at: str | None
    end_reason: str
    parent_request: str
    family: str
    origin: str
    versions: int
    events: int


class SubjectFacts(Part, frozen=True):
    """What the document is about. ``private`` is what its event keeps sealed: a note, private parameters."""

    kind: SubjectKind
    ref: str
    what: str
    at: str
    event: int | None
    version: int
    private: Document | Missing | None = None


class PolicyDecision(Part, frozen=True):
    """What a rule decided about a call; ``code`` is the error that was answered, ``of_subject`` marks the subject's."""

    event: int
    at: str
    what: str
    actor: str
    capability: str
    result: str
    rule: str
    status: int
    code: str
    version: int | None
    of_subject: bool


class RuleNow(Part, frozen=True):
    """A rule that decided, as it is set when the document is made; the history keeps its name alone."""

    rule: str
    kind: str
    set_to: Document


class Limits(Part, frozen=True):
    """How far the consumer let the agent go, and until when. ``by_default`` counts calls that no rule decided."""

    capabilities: list[str]
    spend_cap: int | None
    currency: str
    authority_ends: str | None
    session_ends: str
    by_default: int
    rules_now: list[RuleNow]


class PriceSeen(Part, frozen=True):
    """A line of the cart and the price that the store gave for it, with the time of that answer."""

    line: str
    item: str
    title: str
    variant: str
    quantity: int
    unit_price: int
    currency: str
    at: str
    event: int
    version: int


class DiscountSeen(Part, frozen=True):
    code: str
    label: str
    amount: int
    currency: str
    at: str
    event: int
    version: int


class QuoteSeen(Part, frozen=True):
    """What the store asked for it all; ``valid_until`` is how long it holds, null if the store did not say."""

    total: int
    currency: str
    subtotal: int | None
    shipping: int | None
    tax: int | None
    valid_until: str | None
    at: str
    event: int
    version: int


class StockSeen(Part, frozen=True):
    """How many were free when the store was asked (``at``)."""

    item: str
    available: int
    at: str
    event: int
    version: int


class HoldSeen(Part, frozen=True):
    item: str
    quantity: int
    held_at: str
    until: str | None
    released_at: str | None


class StaleSeen(Part, frozen=True):
    ref: str
    what: str
    since: str


class Choice(Part, frozen=True):
    """Something that the agent recommended, or tried when its first way failed; ``confidence`` in percent."""

    kind: Literal["recommendation", "fallback"]
    what: str
    why: str | Missing
    code: str
    confidence: int | None
    at: str | None


class Seen(Part, frozen=True):
    """What the agent had before it at one version: prices, stock, holds, and what it had recommended."""

    version: int
    at: str
    event: int
    lines: list[PriceSeen]
    discounts: list[DiscountSeen]
    quote: QuoteSeen | None
    delivery: Document | Missing | None
    stock: list[StockSeen]
    holds: list[HoldSeen]
    stale: list[StaleSeen]
    choices: list[Choice]


class Review(Part, frozen=True):
    """How long a person had to look at something, and how long they took, in milliseconds.

    Taking begins when they first opened it (``counted_from`` is ``opened``), or when they were asked.
    """

    had_ms: int
    took_ms: int | None
    counted_from: Literal["opened", "asked"]


class ApprovalEvidence(Part, frozen=True):
    """What a person was asked, what they said, how long they had. ``decided_by`` is ``consumer`` or ``staff:17``."""

    id: str
    status: str
    capability: str
    rule: str
    version: int
    amount: int
    currency: str
    requested_at: str
    expires_at: str
    opened_at: str | None
    decided_at: str | None
    decided_by: str
    used_at: str | None
    review: Review
    reason: str | Missing
    question: str | Missing
    answer: str | Missing
    events: list[int]


class Disclosure(Part, frozen=True):
    """What the consumer was shown: the cart of ``version``, on the page of an approval or of a checkout.

    ``opened_at`` is null if nobody opened it. ``cart`` is what ``shown_cart`` says; ``delivery`` is apart from it
    because it is personal.
    """

    page: Literal["approval", "checkout"]
    of: str
    version: int
    made_at: str
    opened_at: str | None
    expires_at: str
    agent: str
    cart: Document | Missing
    delivery: Document | Missing | None


class PaymentEvidence(Part, frozen=True):
    """An attempt to pay. Of a card there is the provider's token, the brand and the last four digits, nothing else."""

    id: str
    method: str
    outcome: str
    code: str
    amount: int | None
    currency: str
    provider_ref: str
    brand: str
    last4: str
    attempted_at: str | None
    ended_at: str | None
    first_event: int
    first_version: int
    last_event: int
    last_version: int


class StepEvidence(Part, frozen=True):
    step: str
    method: str
    attempt: int
    outcome: str
    code: str
    started_at: str
    ended_at: str | None
    version: int
    ended_version: int | None


class DeviceEvidence(Part, frozen=True):
    """Another device of the consumer that was asked to confirm; ``answer`` is empty if it said nothing."""

    session: str
    asked_at: str
    answer: str
    answered_at: str | None


class OrderEvidence(Part, frozen=True):
    """A checkout: the link to pay for the cart of ``version``, and the order that came of it.

    ``as_approved`` says whether that cart is, in all that is shown of it, the one that the approval was given for;
    null if there was none or it cannot be told any more.
    """

    order_ref: str
    handoff: str
    version: int
    made_at: str
    expires_at: str
    opened_at: str | None
    confirmed_at: str | None
    replaced_at: str | None
    given_up_at: str | None
    ordered_at: str | None
    event: int | None
    review: Review
    approval: str
    as_approved: bool | None
    devices: list[DeviceEvidence]


class ErasedPart(Part, frozen=True):
    """A class of content that is gone, and why: ``erased under rule 'personal' on 2026-12-21``."""

    data_class: str
    rule: str
    basis: str
    at: str | None
    unrecoverable_after: str
    text: str


class Proof(Part, frozen=True):
    """What the statements can be checked with.

    Of an ended session that is its signed artifact; of a live one the events so far, which nobody has signed yet.
    ``sha256`` is that of the document's bytes; ``document`` is null where they lie in a file beside. ``verification``
    is what the verifier said when this was made.
    """

    sealed: bool
    note: str
    sha256: str
    opened: str
    ok: bool
    verification: Document
    document: Document | None


class Evidence(Part, frozen=True):
    """The whole document. ``personal`` says whether it was made with what is personal."""

    made_at: str
    package: str
    personal: bool
    subject: SubjectFacts
    session: SessionFacts
    limits: Limits
    policies: list[PolicyDecision]
    seen: Seen | Missing
    approvals: list[ApprovalEvidence]
    disclosed: list[Disclosure]
    payments: list[PaymentEvidence] | Missing
    steps: list[StepEvidence]
    orders: list[OrderEvidence]
    erased: list[ErasedPart]
    proof: Proof | None = None
    type: Literal["agent-session-evidence/v1"] = EVIDENCE_TYPE

    def to_json(self) -> dict[str, JSONValue]:
        """Return the document as JSON has it, to be written with ``canonical_bytes``."""
        document: dict[str, JSONValue] = msgspec.to_builtins(self)
        return document
