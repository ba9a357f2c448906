"""What evidence reads of a session's history: its events once, its versions once, however many there are.

Each is one query. Of the events those are kept that evidence tells of, and of the states those that are asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from django.db.models import QuerySet

from agent_sessions.audit.events import CREATED
from agent_sessions.domain.migrations import migrate
from agent_sessions.domain.patch import apply_patch
from agent_sessions.exceptions import SessionDamaged
from agent_sessions.models import AuditEvent, SessionVersion
from agent_sessions.selectors import _rows
from agent_sessions.selectors._heads import SessionHead
from agent_sessions.selectors._keys import PATCH
from agent_sessions.selectors._states import PERSONAL_PATCH, open_document, with_personal
from agent_sessions.store.policies import DEFAULT
from agent_sessions.types import Patch, State

Place = tuple[str, ...]
"""Slice, field and, of a map, the key: ``("shopping", "discounts", "d1")``."""
_MAPS: Final = (("shopping", "discounts"), ("inventory", "stock"))
_FEW: Final = 25
"""Versions that are read at once: what one says can be long."""
_WIDTH: Final = 27
"""Characters of an event's time."""
_MEMBERS: Final = {"at": "timestamp", "result": "policy_result", "rule": "policy_rule", "status": "response_status"}


class Happened(msgspec.Struct, frozen=True, rename=_MEMBERS):
    """One event, with what evidence needs of it. ``code`` is the error that was answered, empty without one."""

    seq: int
    at: str
    kind: str
    actor: str
    capability: str
    result: str
    status: int
    params: dict[str, Any]
    rule: str = ""
    version: int | None = None
    header: dict[str, Any] | None = None

    @property
    def code(self) -> str:
        return str(self.params.get("code", "")) if self.status >= 400 else ""


_decode = msgspec.json.Decoder(Happened).decode


class Made(NamedTuple):
    """When a version was made, and by which event."""

    at: str
    event: int
    version: int


class Told:
    """What the events of a session say, as far as evidence needs it: those that decided something, ``most`` of them,
    and those that name one of ``named``, pairs of a parameter and its value.

    Of all others there are a few bytes: which were allowed by default, and when versions were made.
    """

    def __init__(self, named: Collection[tuple[str, str]], most: int | None) -> None:
        self._most = most
        self.header: Mapping[str, Any] = {}
        self.decided: list[Happened] = []
        self.last: Happened
        self._named: dict[tuple[str, Any], list[Happened]] = {one: [] for one in named}
        self._by_default = array("Q")
        self._made, self._times = array("Q"), bytearray()

    def add(self, event: Happened) -> None:
        """Take in the next event. Raises ValueError for a version that cannot be the next one."""
        self.last = event
        if event.kind == CREATED:
            self.header = event.header or {}
        if event.result != "allow" or event.rule not in ("", DEFAULT):
            if self._most is None or len(self.decided) < self._most:
                self.decided.append(event)
        elif event.rule:
            self._by_default.append(event.seq)
        for name in ("approval", "order"):
            value = event.params.get(name)
            if type(value) is str and (name, value) in self._named:
                self._named[name, value].append(event)
        if event.version:
            if event.version != len(self._made) + 1 or len(event.at) != _WIDTH:
                raise ValueError("is out of place")
            self._made.append(event.seq)
            self._times += event.at.encode("ascii")

    def naming(self, name: str, value: str) -> list[Happened]:
        """Return the events whose parameter ``name`` (``approval`` or ``order``) is ``value``."""
        return self._named.get((name, value), [])

    def made(self, version: int) -> Made:
        """Return when a version was made. Raises IndexError for one that was not."""
        start = (version - 1) * _WIDTH
        return Made(self._times[start : start + _WIDTH].decode(), self._made[version - 1], version)

    def made_by(self, version: int, seq: int) -> bool:
        """Tell whether a version was made by event ``seq``."""
        return 1 <= version <= len(self._made) and self._made[version - 1] <= seq

    def version_by(self, seq: int) -> int:
        """Return the version that the session had after event ``seq``."""
        return bisect_right(self._made, seq)

    def by_default(self, seq: int) -> int:
        """Return how many calls were allowed by event ``seq`` because no rule was about them."""
        return bisect_right(self._by_default, seq)


class Then(NamedTuple):
    """In which versions what stands in the state at one version was last written; in the first if it is not here."""

    last: Mapping[Place, int]
    priced: Mapping[str, int]


_NOTHING: Final = Then({}, {})


@dataclass(slots=True)
class Trail:
    """Where versions have touched what evidence tells of: by place, and by line of the cart, the last version.

    ``began`` and ``moved`` are, for each attempt to pay, the first version and the last that it is in.
    """

    last: dict[Place, int] = field(default_factory=dict)
    priced: dict[str, int] = field(default_factory=dict)
    """By line the last version in which the store gave another price for it."""
    began: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    then: Then = _NOTHING

    def note(self, number: int, patch: Patch) -> None:
        for key, entry in _entries(patch, "shopping", "lines"):
            if entry is None:
                self.priced.pop(key, None)
            elif "unit_price" in entry:
                self.priced[key] = number
        for place in _MAPS:
            for key, entry in _entries(patch, *place):
                if entry is None:
                    self.last.pop((*place, key), None)
                else:
                    self.last[*place, key] = number
        if "quote" in _map(patch.get("shopping")):
            self.last["shopping", "quote"] = number
        for key, _entry in _entries(patch, "decisions", "payments"):
            self.began.setdefault(key, number)
            self.moved[key] = number


def read_events(head: SessionHead, *, named: Collection[tuple[str, str]] = (), most: int | None = None) -> Told:
    """Return what the events say up to where the head stands.

    Raises SessionDamaged if one is missing or unreadable.
    """
    told, count = Told(named, most), 0
    for count, canonical in enumerate(_canonical(head).iterator(chunk_size=200), start=1):
        try:
            event = _decode(canonical)
            told.add(event)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise SessionDamaged(head.session_id, f"event {count} is unreadable") from None
        if event.seq != count:
            raise SessionDamaged(head.session_id, f"event {count} is missing")
    if count != head.head_seq:
        raise SessionDamaged(head.session_id, f"event {count + 1} is missing")
    return told


def some_events(head: SessionHead, *seqs: int) -> tuple[Happened, ...]:
    """Return some of the events that ``read_events`` has read, in order."""
    return tuple(_decode(canonical) for canonical in _canonical(head).filter(seq__in=seqs))


def read_versions(head: SessionHead, *, keep: Collection[int] = (), at: int = 0, payment: str = "") -> Trail:
    """Go through the versions up to where the head stands; keep the states of those that ``keep`` numbers.

    The trail's ``then`` is that of version ``at``. Kept too is the state in which the attempt ``payment`` to pay began,
    and then it is that one's. Without what is personal once that was erased.

    Raises SessionDamaged if a version is missing or does not open, ContentErased, SchemaUnknown, KeyProblem.
    """
    keys, trail, state = head.data_keys(), Trail(), State()
    for number, schema, patch, personal in _versions(head):
        change = open_document(keys, head.session_id, PATCH, number, patch)
        trail.note(number, change)
        state = apply_patch(state, change)
        state = with_personal(state, keys, head.session_id, PERSONAL_PATCH, number, personal)
        if begins := trail.began.get(payment) == number:
            at = number
        if number in keep or begins:
            trail.states[number] = migrate(state, schema, head.session_id)
        if number == at:
            trail.then = Then(trail.last.copy(), trail.priced.copy())
    return trail


def _entries(patch: Patch, slice_name: str, member: str) -> Iterator[tuple[str, Any]]:
    """Yield what a patch does to the entries of a map: the key, and the change or None."""
    for key, entry in _map(_map(patch.get(slice_name)).get(member)).items():
        yield key, entry if entry is None else _map(entry)


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _versions(head: SessionHead) -> Iterator[tuple[int, int, bytes | None, bytes | None]]:
    rows = SessionVersion.objects.using(_alias()).filter(session_id=head.session_id, number__lte=head.version)
    columns = ("number", "schema", "patch", "personal_patch")
    expected = 1
    for row in rows.order_by("number").values_list(*columns).iterator(chunk_size=_FEW):
        if row[0] != expected:
            break
        yield row
        expected += 1
    if expected != head.version + 1:
        raise SessionDamaged(head.session_id, f"version {expected} is missing")


def _canonical(head: SessionHead) -> QuerySet[Any]:
    rows = AuditEvent.objects.using(_alias()).filter(session_id=head.session_id, seq__lte=head.head_seq)
    return rows.order_by("seq").values_list("canonical", flat=True)


def _alias() -> str:
    return _rows.write_connection().alias
