"""Whether what is stored agrees, for the overview: what does not, since when, and how far the last checks went."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agent_sessions.admin import wording
from agent_sessions.domain.lifecycle import Status
from agent_sessions.domain.text import clipped
from agent_sessions.selectors.divergence import (
    CHECKED,
    LOG_CHECKED,
    MOST_COUNTED,
    Agreement,
    Check,
    Divergence,
    agreement,
)

if TYPE_CHECKING:
    from agent_sessions.admin.sessions import SessionAdmin

MAY_REPAIR: Final = "agent_sessions.repair_session"
MOST_SHOWN: Final = 20
OVERDUE: Final = timedelta(days=2)
"""A check that was recorded once and has not come to its end again for so long is told as an alarm."""
_CHECKS: Final = {
    CHECKED: ("verify_sessions", gettext_lazy("Every session against its history")),
    LOG_CHECKED: ("audit_fsck", gettext_lazy("The log against the heads outside and every history")),
}
_PARTS: Final = {
    gettext_lazy("cached state"): {"cached_state"},
    gettext_lazy("snapshot"): {"snapshot"},
    gettext_lazy("row"): {"snapshot_pointer", "wrong_head", "wrong_status", "wrong_column", "session_missing"},
    gettext_lazy("data key"): {"key_missing", "key_unusable", "not_erased"},
    gettext_lazy("signature"): {"artifact_missing", "wrong_root", "bad_signature"},
    gettext_lazy("log"): {
        "unsequenced", "unexported", "unwitnessed", "leaf_missing", "leaf_changed", "node_missing", "node_changed",
        "node_extra", "frontier_changed", "head_changed", "head_differs", "head_unsigned", "head_missing", "head_lost",
        "log_truncated", "log_missing", "former_wrong", "unknown_key", "sink_unreadable", "head_unreadable",
    },
}  # fmt: skip
"""What a finding's code is about; a code that is not here is about the history."""


class Agreeing:
    """What the overview says of it to somebody: on top as alarms, and with the reasons below."""

    def __init__(self, model_admin: SessionAdmin, request: HttpRequest, now: datetime) -> None:
        self._admin = model_admin
        self._may_repair = request.user.has_perm(MAY_REPAIR)
        self._now = now
        self._quarantined_url = f"{self._url('changelist')}?status={Status.QUARANTINED.value}"
        self._found: Agreement = agreement()

    def alarms(self) -> list[dict[str, Any]]:
        """What of it somebody has to look at."""
        found = self._found
        loose = sum(not one.quarantined for one in found.divergences)
        cut = any(check is not None and check.run.unlisted for check in found.checks.values())
        here = "#ags-agreement"
        told = [
            (found.quarantined, found.quarantined == MOST_COUNTED,
             _("quarantined: what is stored differs from their history"), self._quarantined_url),
            (loose, cut, _("found not to agree with what is stored beside them"), here),
        ]  # fmt: skip
        for kind, check in found.checks.items():
            age = timedelta() if check is None else self._now - check.ended_at
            words = _("days since %(command)s was last recorded") % {"command": _CHECKS[kind][0]}
            told.append((age.days if age >= OVERDUE else 0, False, words, here))
        return [
            {"count": wording.at_least(count, cut=bool(cut)), "text": text, "href": href}
            for count, cut, text, href in told
            if count
        ]

    def told(self) -> dict[str, Any]:
        found = self._found.divergences
        return {
            "divergences": [self._row(one) for one in found[:MOST_SHOWN]],
            "more": max(len(found) - MOST_SHOWN, 0),
            "checks": [self._check(kind, check) for kind, check in self._found.checks.items()],
        }

    def _row(self, one: Divergence) -> dict[str, Any]:
        by = ", ".join(_CHECKS[kind][0] for kind in one.found_by)
        shown: dict[str, Any] = {
            "about": clipped(one.about),
            "parts": ", ".join(_parts(one.codes)) or _("not told: check it"),
            "codes": ", ".join(clipped(code, 40) for code in one.codes),
            "since": wording.moment(one.since),
            "by": by or _("whoever read or wrote it"),
            "quarantined": one.quarantined,
        }
        if one.session is not None:
            shown |= {"about": wording.short_id(one.session), "url": self._url("change", one.session)}
            if one.found_by == (LOG_CHECKED,):  # nothing is wrong with it by itself
                shown |= {"next": _("Look at its proof"), "next_url": self._url("proof", one.session)}
            elif self._may_repair:
                shown |= {"next": _("Check and repair"), "next_url": self._url("act", one.session, "repair")}
        return shown

    def _check(self, kind: str, check: Check | None) -> dict[str, Any]:
        command, what = _CHECKS[kind]
        shown: dict[str, Any] = {"what": what, "command": command}
        if check is not None:
            read = ", ".join(_read(check)) or _("nothing")
            shown |= {"ended": wording.moment(check.ended_at), "read": read, "found": _told(check)}
        return shown

    def _url(self, page: str, *args: object) -> str:
        return reverse(f"{self._admin.admin_site.name}:agent_sessions_session_{page}", args=args)


def _parts(codes: tuple[str, ...]) -> list[str]:
    """Name what does not agree, each once, the history last."""
    named = [str(part) for part, of_it in _PARTS.items() if of_it.intersection(codes)]
    return named if set().union(*_PARTS.values()).issuperset(codes) else [*named, _("history")]


def _read(check: Check) -> list[str]:
    run = check.run
    told = [
        (run.sessions, ngettext("%(number)s session", "%(number)s sessions", run.sessions)),
        (run.events, ngettext("%(number)s event", "%(number)s events", run.events)),
        (run.leaves, ngettext("%(number)s leaf", "%(number)s leaves", run.leaves)),
        (run.heads, ngettext("%(number)s head from outside", "%(number)s heads from outside", run.heads)),
        (run.unread, ngettext("%(number)s could not be opened", "%(number)s could not be opened", run.unread)),
    ]
    return [words % {"number": wording.at_least(number, cut=False)} for number, words in told if number]


def _told(check: Check) -> str:
    run = check.run
    if not run.findings:
        return _("nothing")
    told = ngettext("%(number)s finding", "%(number)s findings", run.findings)
    return told % {"number": wording.at_least(run.findings, cut=False)}
