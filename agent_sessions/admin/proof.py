"""What shows that a session's history is what was written, in words for who has to answer for it (A3, A4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agent_sessions import selectors
from agent_sessions.admin import wording
from agent_sessions.admin.evidence import MAY_EXPORT, MAY_VIEW
from agent_sessions.audit.shapes import Problem
from agent_sessions.domain.text import clipped
from agent_sessions.selectors import proofs
from agent_sessions.selectors.proofs import ChainCheck, LogCheck, SealCheck, SessionProof

if TYPE_CHECKING:
    from agent_sessions.admin.reading import Reading

MOST_READ: Final = 5000
"""Events of the longest session whose content a page compares with its chain: about a second's work."""
Facts = Sequence[tuple[str, SafeString | str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what came of it, in a mark and a sentence, and the facts that it rests on.

    ``term`` is where on the page its word is explained.
    """

    name: str
    term: str
    mark: SafeString
    said: str
    facts: Facts = ()
    problems: Sequence[str] = ()


def proof_page(page: Reading, request: HttpRequest) -> HttpResponse:
    """Check the chain, the artifact and the place in the log now; with ``?content=1`` the content as well."""
    found = proofs.proof_of(page.head, seconds=proofs.SECONDS)
    checks = [_chain(found.chain, found, page), _seal(found, page), _log(found, page)]
    may_check = page.head.head_seq <= MOST_READ
    content = _content(page) if may_check and request.GET.get("content") == "1" else None
    if content is not None:
        checks.append(content)
    return page.shown(
        "proof",
        checks=checks,
        verdict=_verdict(found, content),
        checked=wording.moment(found.checked_at),
        took=wording.length(found.took),
        offers_content=may_check and content is None,
        command=_command(page),
        evidence_url=page.url("evidence") if request.user.has_perm(MAY_VIEW) else "",
        bundle_url=page.export_url if request.user.has_perm(MAY_EXPORT) else "",
    )


def _verdict(found: SessionProof, content: Check | None) -> dict[str, str]:
    if not found.ok or (content is not None and content.problems):
        return {
            "tone": wording.BAD,
            "title": _("Something is wrong"),
            "text": _(
                "What is stored is not what was written. Below it says where. Show this page to who runs the site."
            ),
        }
    if not found.chain.whole:
        return {
            "tone": wording.WARNING,
            "title": _("Nothing is wrong with what was checked"),
            "text": _("The session is too long for a page to check all of it. Below it says how far it came."),
        }
    return {
        "tone": wording.GOOD,
        "title": _("All that was checked is as it was written"),
        "text": _("Nothing was changed, moved or left out since."),
    }


def _chain(one: ChainCheck, found: SessionProof, page: Reading) -> Check:
    facts: list[tuple[str, SafeString | str]] = [
        (_("Checked"), _("events 1 to %(checked)s of %(length)s") % {"checked": one.checked, "length": one.length}),
        (_("When"), format_html("{} ({})", wording.moment(found.checked_at), wording.length(found.took))),
        (_("How"), _("Each event was hashed again (SHA-256) and compared with the hash that the next one names; "
                     "the last one with the hash that the session’s row keeps.")),
        (_("Hash of the last event"), _code(one.head_hash)),
    ]  # fmt: skip
    name, term = _("Chain of events"), "chain"
    if one.problems:
        return Check(name, term, _wrong(), _("The chain is broken."), facts, _told(one.problems))
    if not one.whole:
        said = _(
            "The first %(checked)s of %(length)s events are in order and unchanged. The rest was not checked, since a "
            "page may not take that long. To check all of it, run: %(command)s"
        )
        told = {"checked": one.checked, "length": one.length, "command": _command(page)}
        return Check(name, term, wording.mark(wording.WARNING, _("checked in part")), said % told, facts)
    said = ngettext(
        "The one event is there, unchanged since it was written.",
        "All %(count)s events are there, in their order, unchanged since they were written.",
        one.length,
    ) % {"count": one.length}
    return Check(name, term, _good(), said, facts)


def _seal(found: SessionProof, page: Reading) -> Check:
    name, term = _("Signed record"), "artifact"
    if found.seal is None:
        if found.seal_missing:
            said = _("The session says that its record was signed, but the signatures are missing.")
            return Check(name, term, _wrong(), said, problems=[said])
        if page.session.ended_at is None:
            return Check(name, term, _not_yet(), _("It is made and signed when the session ends."))
        said = _(
            "The session has ended. The next run of expire_sessions signs its record, or whoever downloads it first."
        )
        return Check(name, term, _not_yet(), said)
    one = found.seal
    facts = _seal_facts(one)
    if one.problems:
        return Check(name, term, _wrong(), _("The signed record does not fit the events."), facts, _told(one.problems))
    if not one.compared:
        said = _("Its signatures are good. They could not be compared with the events, which were not all checked.")
        return Check(name, term, wording.mark(wording.WARNING, _("checked in part")), said, facts)
    said = _("Both signatures are good, and they are over the events that are stored: 1 to %(count)s.")
    return Check(name, term, _good(), said % {"count": one.events}, facts)


def _seal_facts(one: SealCheck) -> Facts:
    key: SafeString | str = _code(one.key_id)
    if one.retired_at is not None:
        key = format_html("{}, {} {}", key, _("replaced by a newer key"), wording.moment(one.retired_at))
    return [
        (_("Signed"), wording.moment(one.signed_at)),
        (_("Signed with key"), key),
        (_("Covers"), _("events 1 to %(count)s") % {"count": one.events}),
        (_("Root hash"), _code(one.root_hash)),
        (_("How"), _("The root hash was made again from the events; both signatures (Ed25519) were checked with the "
                     "site’s own key.")),
    ]  # fmt: skip


_UNLOGGED: Final = {
    "no log": gettext_lazy("This site keeps no log yet. It begins with the first run of sequence_log."),
    "no leaf": gettext_lazy("The session is not in the log yet. The next run of sequence_log puts it there."),
    "no head": gettext_lazy(
        "The session is in the log, but no tree head that covers it was exported yet. It waits for the next run of "
        "sequence_log, and for the places that keep tree heads to take it."
    ),
}


def _log(found: SessionProof, page: Reading) -> Check:
    name, term = _("Place in the log"), "log"
    if found.log_problem:
        return Check(name, term, _wrong(), _("The log cannot be trusted."), problems=[clipped(found.log_problem, 400)])
    if found.log is None:
        return Check(name, term, _not_yet(), str(_UNLOGGED[found.unlogged]))
    one = found.log
    facts = _log_facts(one)
    if one.problems:
        return Check(name, term, _wrong(), _("The log says something else."), facts, _told(one.problems))
    if not one.compared:
        said = _(
            "The log leads to a signed tree head. Its event could not be compared: the check did not come that far."
        )
        return Check(name, term, wording.mark(wording.WARNING, _("checked in part")), said, facts)
    if one.seq == page.head.head_seq:
        said = _("The session is in the log as it is stored here, up to its last event.")
    else:
        said = _(
            "The session is in the log as it is stored here, up to event %(seq)s of %(length)s; later events follow."
        )
    return Check(name, term, _good(), said % {"seq": one.seq, "length": page.head.head_seq}, facts)


def _log_facts(one: LogCheck) -> Facts:
    generation = _("generation %(number)s") % {"number": one.generation}
    facts: list[tuple[str, SafeString | str]] = [
        (_("Log"), format_html("<code>{}</code>, {}", clipped(one.log), generation)),
        (_("Leaf"), _("%(leaf)s (counted from 0), for event %(seq)s") % {"leaf": one.leaf, "seq": one.seq}),
        (_("Tree head"), _("of %(size)s leaves") % {"size": one.size}),
    ]  # fmt: skip
    if one.signed_at is not None:
        facts.append((_("Signed"), wording.moment(one.signed_at)))
    if one.keys:
        facts.append((_("Signed with key"), format_html_join(", ", "<code>{}</code>", ((key,) for key in one.keys))))
    if one.exported_at is not None:
        named = ", ".join(clipped(name, 60) for name in one.exported_to)
        where = _("to %(sinks)s") % {"sinks": named} if named else _("to nowhere: no sink is set up")
        facts.append((_("Exported"), format_html("{} {}", wording.moment(one.exported_at), where)))
    how = _(
        "The hashes lead from the leaf to the tree head, whose signature was checked with the log’s own keys; the leaf "
        "was compared with the event. Witnesses’ signatures were checked with the keys that LOG_SINKS names for them."
    )
    return [*facts, (_("Co-signed"), _cosigners(one)), (_("How"), how)]


def _cosigners(one: LogCheck) -> SafeString | str:
    if not one.cosigned:
        return _("by no witness")
    marks = {
        "verified": _good(),
        "unknown": wording.mark(wording.WARNING, _("not checked: its key is not known here")),
        "wrong": wording.mark(wording.BAD, _("does not verify")),
    }
    return format_html_join(
        ", ",
        "{} {} {}",
        (
            (clipped(each.witness, 80), "" if each.at is None else wording.moment(each.at), marks[each.standing])
            for each in one.cosigned
        ),
    )


def _content(page: Reading) -> Check | None:
    """Compare the content with the chain; None if that cannot be done now, which the page says then."""
    report = page.read(lambda: selectors.verify_session(page.session.pk))
    if report is None:
        return None
    facts = [(_("Checked"), _("%(versions)s versions, %(events)s events") % {
        "versions": report.versions, "events": report.events})]  # fmt: skip
    name, term = _("Content"), "content"
    if report.problems:
        said = _("What is stored beside the chain does not fit it.")
        return Check(name, term, _wrong(), said, facts, _told(report.problems))
    if not report.content_checked:
        said = _("All that is left fits the chain. What was erased cannot be compared any more.")
        return Check(name, term, _good(), said, facts)
    return Check(name, term, _good(), _("Every version, message and snapshot is what the chain commits to."), facts)


def _told(problems: Sequence[Problem]) -> list[str]:
    return [clipped(f"{problem.where} {problem.message}", 400) for problem in problems[:20]]


def _command(page: Reading) -> str:
    return f"manage.py verify_sessions --session {page.session.pk}"


def _code(value: str) -> SafeString:
    return format_html('<code class="ags-whole">{}</code>', value)


def _good() -> SafeString:
    return wording.mark(wording.GOOD, _("verified"))


def _wrong() -> SafeString:
    return wording.mark(wording.BAD, _("wrong"))


def _not_yet() -> SafeString:
    return wording.mark(wording.PLAIN, _("not yet"))
