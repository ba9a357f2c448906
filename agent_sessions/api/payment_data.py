"""The gate at the edge: a request that holds payment data is refused before anything of it is read further (S8).

Before its Idempotency-Key is claimed above all, of which a digest would be kept. What is searched is what may be kept:
the body, the query, the parts of the path, and that key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent_sessions.api.errors import MalformedRequest
from agent_sessions.api.idempotency import HEADER, WRITES
from agent_sessions.domain.payment_data import find_payment_data
from agent_sessions.services._payment_data import require_no_payment_data

if TYPE_CHECKING:
    from agent_sessions.api.base import ApiView


@dataclass(frozen=True, slots=True)
class Declared:
    """What the endpoint says of a request: the parts of its path by name, and which parameters may look like cards."""

    path: Mapping[str, Any] = field(default_factory=dict)
    identifiers: frozenset[str] = frozenset()


def refuse_payment_data(view: ApiView) -> None:
    """Refuse a request that holds a card's number, track data, a security code or a PIN.

    Raises PaymentDataRefused, BodyTooLarge.
    """
    request = view.http
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None:
        _search(view, "header", {HEADER: key})
    for part in view.kwargs.values():
        if isinstance(part, str):
            _search(view, "path", part.split("/"))
    if request.META.get("QUERY_STRING"):
        _search(view, "query", {name: sent if len(sent) > 1 else sent[0] for name, sent in request.GET.lists()})
    if request.method in WRITES:
        _search(view, "body", _sent(view))


def in_address(view: ApiView) -> bool:
    """Tell whether payment data stands in the request's path or query, whatever else it is refused for."""
    path = [part for part in view.kwargs.values() if isinstance(part, str)]
    return find_payment_data([path, dict(view.request._request.GET.lists())]) is not None


def _sent(view: ApiView) -> Any:
    try:
        return view.read_object()
    except MalformedRequest:  # which is for the endpoint to say, if there is nothing worse about the body
        return view.body.decode(errors="replace")


def _search(view: ApiView, where: str, value: Any) -> None:
    if find_payment_data(value) is None:
        return
    declared = view.declared()
    if where == "path" and declared.path:
        value = dict(declared.path)
    exempt = {f"/{name}{item}" for name in declared.identifiers for item in ("", "/*")}
    require_no_payment_data(value, exempt=exempt, where=where)
