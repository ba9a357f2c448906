"""The store's side: what a shop provides, what agents can call, and the rules about it. See docs/store.md."""

from agent_sessions.domain.steps import StepRule
from agent_sessions.store.adapter import (
    CartLine,
    CustomerStore,
    Emit,
    Item,
    Page,
    PricedDiscount,
    PricedLine,
    Problem,
    Quote,
    ReportingStore,
    SearchableCustomers,
    SteppingStore,
    StoreAdapter,
    StoreContext,
)
from agent_sessions.store.capabilities import Capability, CapabilityCall, Outcome, Param, capability, registry
from agent_sessions.store.cart import cart_answer, cart_lines, cart_vouchers, repriced
from agent_sessions.store.handoffs import Handoff, HandoffStatus
from agent_sessions.store.policies import AllowOnly, Constrain, Deny, NeedsHuman, Policy, SpendCap, Verdict
from agent_sessions.store.stock import held_problems

__all__ = [
    "AllowOnly",
    "Capability",
    "CapabilityCall",
    "CartLine",
    "Constrain",
    "CustomerStore",
    "Deny",
    "Emit",
    "Handoff",
    "HandoffStatus",
    "Item",
    "NeedsHuman",
    "Outcome",
    "Page",
    "Param",
    "Policy",
    "PricedDiscount",
    "PricedLine",
    "Problem",
    "Quote",
    "ReportingStore",
    "SearchableCustomers",
    "SpendCap",
    "StepRule",
    "SteppingStore",
    "StoreAdapter",
    "StoreContext",
    "Verdict",
    "capability",
    "cart_answer",
    "cart_lines",
    "cart_vouchers",
    "held_problems",
    "registry",
    "repriced",
]
