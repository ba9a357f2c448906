"""What agents can do in this shop beyond the package's own capabilities."""

from __future__ import annotations

from collections.abc import Collection

from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import ItemNotFound
from agent_sessions.store import CapabilityCall, Outcome, Param, capability
from agent_sessions.store.cart import cart_answer, cart_vouchers, repriced

_CODE = {"code": Param("string", "The voucher's code.", required=True, shown=True, minimum=1, maximum=40)}


@capability("voucher.apply", kind="cart.voucher_applied", params=_CODE, requires_session=True)
def apply_voucher(call: CapabilityCall) -> Outcome:
    """Put a voucher on the cart."""
    code = call.params["code"].upper()
    return _with(call, {*cart_vouchers(call.state), code}, about={code})


@capability("voucher.remove", kind="cart.voucher_removed", params=_CODE, requires_session=True)
def remove_voucher(call: CapabilityCall) -> Outcome:
    """Take a voucher off the cart."""
    code, codes = call.params["code"].upper(), set(cart_vouchers(call.state))
    if code not in codes:
        raise ItemNotFound("such voucher", "on the cart")
    return _with(call, codes - {code})


def _with(call: CapabilityCall, codes: set[str], about: Collection[str] = ()) -> Outcome:
    patch = repriced(call, vouchers=sorted(codes), about=about)
    return Outcome(cart_answer(apply_patch(call.state, patch)), patch=patch)
