"""The records of processing (GDPR Art. 30)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from agent_sessions.management.base import SessionsCommand
from agent_sessions.selectors.processing import processing_records


class Command(SessionsCommand):
    help = (
        "Write the records of processing (GDPR Art. 30): what is kept of whom, what for, how long, who is given it, "
        "where it is and how it is protected, with numbers of sessions by retention rule. Changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one document for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        records = processing_records()
        self.stdout.write(json.dumps(records, indent=2) if options["json"] else "\n".join(_text(records)))


def _text(records: dict[str, Any]) -> Iterator[str]:
    controller = records["controller"]
    yield f"Records of processing, {records['made_at'][:10]}"
    yield f"Controller: {', '.join(filter(None, (controller['name'], controller['site'], controller['contact'])))}"
    for one in records["categories"]:
        yield ""
        yield f"{one['name']}: {one['what']}"
        parts = ", ".join(one["parts_of_the_state"])
        facts = {
            "of": one["data_subjects"] or "nobody", "for": one["purpose"], "ground": one["legal_ground"],
            "kept": one["kept"], "protection": one["protection"], "columns": ", ".join(one["columns"]), "state": parts,
        }  # fmt: skip
        yield from (f"  {name}: {fact}" for name, fact in facts.items() if fact)
    yield from _section("Time limits", (_limit(one) for one in records["retention"]))
    yield from (f"  at the end: {ending}" for ending in sorted({one["at_the_end"] for one in records["retention"]}))
    asked, holds = records["erasure"], records["legal_holds"]
    yield (
        f"  requests to be erased: {asked['requests']}, {asked['unfinished']} unfinished, {asked['overdue']} overdue, "
        f"{asked['partly_refused']} refused in part; in copies of the database gone after {asked['horizon_days']} days"
    )
    yield f"  legal holds: {holds['in_force']} in force, {holds['review_due']} due for review"
    yield from _section("Recipients", (_recipient(one) for one in records["recipients"]))
    yield from _section("Where it is", (f"{one['what']}: {one['where']}" for one in records["stored_in"]))
    yield from _section("Security", iter(records["security"]))
    yield from _section("For the controller to add or confirm", iter(records["to_complete"]))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield from ("", title, *(f"  {line}" for line in lines))


def _limit(one: dict[str, Any]) -> str:
    least = f", at least {one['minimum_days']}" if one["minimum_days"] else ""
    return (
        f"{one['name']}: {one['class']}, {one['maximum_days']} days after the {one['starts']}{least} ({one['basis']}, "
        f"{one['jurisdiction']}): {one['sessions']} sessions, {one['due']} due, {one['held']} held, "
        f"{one['quarantined']} in quarantine; next due: {(one['next_due'] or 'none')[:10]}"
    )


def _recipient(one: dict[str, Any]) -> str:
    sessions = f", {one['sessions']} sessions" if "sessions" in one else ""
    return f"{one['who']}: {one['gets']}{sessions}"
