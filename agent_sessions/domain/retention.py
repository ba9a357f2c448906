"""How long what a session says is kept: rules as data, the package's own and the site's (A5).

A rule is about one class of what is stored. Its clock starts when the session ends or when its family leads to an
order. Before ``minimum`` nobody erases that class, whoever asks; after ``maximum`` the purge does. Where several rules
are about the same class of a session, the longest decides, and content is kept no shorter than what is personal in it.
Chains, artifacts and the log are kept for good: without the keys they say nothing of anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from agent_sessions.exceptions import InvalidValue

DataClass = Literal["content", "personal"]
Clock = Literal["end", "order"]
Applies = Literal["every", "without_order", "with_order"]
_CLASSES: Final[tuple[DataClass, ...]] = get_args(DataClass)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED: Final = "request"
_MOST_DAYS: Final = 36_500
_MEMBERS: Final = frozenset(
    {"class", "starts", "minimum_days", "maximum_days", "basis", "jurisdiction", "applies", "merchants", "kinds"}
)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """One rule. ``merchants`` and ``kinds`` (of sessions) narrow it down; empty means all of them.

    ``starts`` is when its clock starts: at the session's ``end``, or at the ``order`` of its family. ``basis`` is what
    it rests on and stands in the history of whatever is erased by it.
    """

    name: str
    data_class: DataClass
    starts: Clock
    minimum: timedelta
    maximum: timedelta
    basis: str
    jurisdiction: str
    applies: Applies
    merchants: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def covers(self, merchant: str, kind: str, ordered: bool) -> bool:
        """Tell whether the rule is about a session."""
        return (
            (self.applies == "every" or (self.applies == "with_order") is ordered)
            and (not self.merchants or merchant in self.merchants)
            and (not self.kinds or kind in self.kinds)
        )

    def clock(self, *, ended_at: datetime, ordered_at: datetime | None) -> datetime:
        """Return when its clock started for a session that it covers."""
        return ordered_at if self.starts == "order" and ordered_at is not None else ended_at


DEFAULT_RULES: Final = (
    RetentionRule(
        "personal",
        "personal",
        "end",
        minimum=timedelta(0),
        maximum=timedelta(days=30),
        basis="GDPR Art. 5(1)(e)",
        jurisdiction="EU",
        applies="every",
    ),
    RetentionRule(
        "decision_log",
        "content",
        "end",
        minimum=timedelta(0),
        maximum=timedelta(days=396),
        basis="PCI DSS 4.0.1 10.5.1",
        jurisdiction="any",
        applies="without_order",
    ),
    RetentionRule(
        "order_evidence",
        "content",
        "order",
        minimum=timedelta(days=380),
        maximum=timedelta(days=400),
        basis="Directive 2011/83/EU Art. 9, 10",
        jurisdiction="EU",
        applies="with_order",
    ),
)
"""13 months are 396 days at most; 380 days are the 14 of a withdrawal, with the 12 months more that a consumer has who
was not told of it."""


def parse_rules(configured: object) -> tuple[RetentionRule, ...]:
    """Return the rules in force: the defaults, changed and added to by the setting RETENTION.

    The setting maps a rule's name to what is different (days are whole numbers), or to None for no such rule.
    Raises InvalidValue with a pointer to what is wrong.
    """
    if not isinstance(configured, Mapping):
        raise InvalidValue("/RETENTION", "Set it to a map from the names of rules to what they say.")
    rules = {rule.name: rule for rule in DEFAULT_RULES}
    for name, said in configured.items():
        path = f"/RETENTION/{name}"
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == _RESERVED:
            raise InvalidValue(path, "A rule's name is up to 40 lower-case letters, digits and _, and not 'request'.")
        if said is None:
            rules.pop(name, None)
            continue
        rules[name] = _parse(path, name, said, rules.get(name))
    return tuple(rules.values())


def kept_for_good(rules: Sequence[RetentionRule], kinds: Iterable[str]) -> dict[DataClass, list[str]]:
    """Return for each class that some sessions have no rule for which they are: ``quote without an order``.

    ``kinds`` are the kinds of sessions that there are. A rule for certain merchants leaves out those of others.
    """
    general = [rule for rule in rules if not rule.merchants]
    return {
        data_class: left
        for data_class in _CLASSES
        if (
            left := [
                f"{kind} {'with' if ordered else 'without'} an order"
                for kind in kinds
                for ordered in (False, True)
                if not any(one.data_class == data_class and one.covers("", kind, ordered) for one in general)
            ]
        )
    }


def _parse(path: str, name: str, said: object, before: RetentionRule | None) -> RetentionRule:
    if not isinstance(said, Mapping):
        raise InvalidValue(path, "Say what is different as a map, or None for no such rule.")
    unknown = sorted(str(member) for member in said.keys() - _MEMBERS)
    if unknown:
        raise InvalidValue(f"{path}/{unknown[0]}", f"A rule has {', '.join(sorted(_MEMBERS))} and nothing else.")
    if before is None:
        missing = sorted({"class", "starts", "maximum_days", "basis"} - said.keys())
        if missing:
            raise InvalidValue(f"{path}/{missing[0]}", "A rule of your own needs class, starts, maximum_days, basis.")
        applies: Applies = "with_order" if said["starts"] == "order" else "every"
        before = RetentionRule(name, "content", "end", timedelta(0), timedelta(0), "", "", applies)
    rule = replace(before, **_changes(path, said))
    if rule.minimum > rule.maximum:
        raise InvalidValue(f"{path}/minimum_days", "is more than maximum_days: it could never be erased in time.")
    if rule.starts == "order" and rule.applies != "with_order":
        raise InvalidValue(f"{path}/applies", "A clock that starts with the order needs applies 'with_order'.")
    return rule


def _changes(path: str, said: Mapping[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for member, value in said.items():
        where = f"{path}/{member}"
        if member in ("minimum_days", "maximum_days"):
            if type(value) is not int or not 0 <= value <= _MOST_DAYS:
                raise InvalidValue(where, f"Set a whole number of days from 0 to {_MOST_DAYS}.")
            read[member.removesuffix("_days")] = timedelta(days=value)
        elif member in _CHOICES:
            if value not in _CHOICES[member]:
                raise InvalidValue(where, f"There is no such choice; use one of {', '.join(_CHOICES[member])}.")
            read["data_class" if member == "class" else member] = value
        elif member in ("merchants", "kinds"):
            if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
                raise InvalidValue(where, "Set a list of texts; empty for all.")
            read[member] = tuple(value)
        elif not isinstance(value, str) or not value or len(value) > 200:
            raise InvalidValue(where, "Set a text of 1 to 200 characters.")
        else:
            read[member] = value
    return read


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "class": _CLASSES,
    "starts": get_args(Clock),
    "applies": get_args(Applies),
}


def as_json(rule: RetentionRule) -> dict[str, object]:
    """Return a rule as a JSON map, its times in days."""
    document = asdict(rule)
    for name in ("minimum", "maximum"):
        document[f"{name}_days"] = document.pop(name).days
    document["class"] = document.pop("data_class")
    return {**document, "merchants": list(rule.merchants), "kinds": list(rule.kinds)}
