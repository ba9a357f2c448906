"""A session's history as lines on a page: events with what they changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agent_sessions.admin import wording
from agent_sessions.admin.content import Told, told
from agent_sessions.admin.reasons import Reason, code_of, reason_of
from agent_sessions.admin.revealing import reveal_words
from agent_sessions.audit.events import parse_time
from agent_sessions.domain.money import format_money
from agent_sessions.domain.text import clipped
from agent_sessions.exceptions import InvalidValue
from agent_sessions.selectors.admin_lists import Step
from agent_sessions.selectors.reveals import REVEALED


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the chain. ``changes`` is None where it is not known what the event changed."""

    seq: int
    time: SafeString
    what: str
    kind: str
    who: str
    capability: str
    method: str
    params: SafeString | str
    policy: SafeString
    rule: str
    status: SafeString
    refused: bool
    reason: Reason | None
    version: int | None
    took: str
    changes: Sequence[Told] | None = None

    @property
    def told(self) -> bool:
        """Whether there is something to say of changes: what they are, or that they cannot be shown."""
        return self.version is not None and (self.changes is None or bool(self.changes))


def lines(documents: Sequence[Any], changes: Mapping[int, Sequence[Told]]) -> list[Line]:
    """Make lines of events, in their order; ``changes`` is by version."""
    return [_line(document if isinstance(document, dict) else {}, changes) for document in documents]


def changes_by_version(steps: Sequence[Step], groups: Set[str]) -> dict[int, list[Told]]:
    return {step.number: told(step.before, step.after, groups) for step in steps}


def _line(event: Mapping[str, Any], changes: Mapping[int, Sequence[Told]]) -> Line:
    version, status = _number(event, "version"), _number(event, "response_status") or 0
    denied = event.get("policy_result") != "allow"
    took, params, rule = _number(event, "duration_ms"), event.get("params"), str(event.get("policy_rule", ""))
    kind = str(event.get("kind", ""))
    return Line(
        seq=_number(event, "seq") or 0,
        time=_time(event.get("timestamp")),
        what=wording.kind_words(kind) or _("Unreadable event"),
        kind=clipped(kind),
        who=wording.actor_words(str(event.get("actor", ""))),
        capability=clipped(str(event.get("capability", ""))),
        method=clipped(str(event.get("method", ""))),
        params=params_words(params, kind),
        policy=wording.mark(wording.BAD, _("refused")) if denied else wording.mark(wording.GOOD, _("allowed")),
        rule=clipped(rule),
        status=wording.mark(wording.BAD if status >= 500 else wording.WARNING, str(status))
        if status >= 400
        else format_html("{}", status),
        refused=denied or status >= 400,
        reason=reason_of(code_of(params if isinstance(params, dict) else {}, denied=denied), rule=rule)
        if denied or status >= 400
        else None,
        version=version,
        took="" if took is None else f"{took} ms",
        changes=None if version is None else changes.get(version),
    )


def _number(event: Mapping[str, Any], name: str) -> int | None:
    value = event.get(name)
    return value if type(value) is int else None


def _time(text: object) -> SafeString:
    try:
        return wording.moment(parse_time(str(text)))
    except InvalidValue:
        return format_html("{}", _("unreadable time"))


def params_words(params: object, kind: str = "") -> SafeString | str:
    """Write the parameters that the chain shows to everybody; private ones read ``****`` there."""
    if not isinstance(params, dict):
        return ""
    if kind == REVEALED:
        return reveal_words(params)
    amount, currency = params.get("amount"), params.get("currency")
    if kind.startswith("approval.") and type(amount) is int and isinstance(currency, str):
        params = {name: value for name, value in params.items() if name != "currency"}
        params["amount"] = format_money(amount, currency)
    told = [
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted(params.items())
        if name != "ended_at"  # the event says when it was
    ]
    return clipped(", ".join(told), 160)


def spoken(content: object) -> str:
    """Write one turn of a conversation: its text, or its parts as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    return "\n".join(clipped(line, 4000) for line in text.split("\n"))
