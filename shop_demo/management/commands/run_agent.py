"""``manage.py run_agent``: let the scripted agent buy something in a running shop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop_demo import errand
from shop_demo.agent import NAME, Refused
from shop_demo.web import Problem


class Command(BaseCommand):
    help = (
        "Let a scripted agent buy something in a running shop, over HTTP and knowing nothing but the shop's "
        "agents.json. Exits with 0 only if all of it worked."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", default=settings.SITE_URL, help="Address of the shop (%(default)s).")
        parser.add_argument("--pay", action="store_true", help="Play the human too: follow the link and pay.")
        parser.add_argument(
            "--want",
            action="append",
            metavar="WORDS",
            help=f"What to buy one of; can be given several times ({', '.join(errand.WANTS)}).",
        )
        parser.add_argument("--voucher", default=errand.VOUCHER, help="The voucher to use, '' for none (%(default)s).")
        parser.add_argument("--name", default=NAME, help="What the agent calls itself (%(default)s).")
        parser.add_argument(
            "--assertion",
            default="",
            metavar="TEXT",
            help="Whom it acts for: what the shop gives a signed-in customer.",
        )
        parser.add_argument("--record", type=Path, metavar="FILE", help="Where to write the session's signed record.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = errand.run(
                options["site"],
                tell=self._tell,
                wants=options["want"] or errand.WANTS,
                voucher=options["voucher"],
                pay=options["pay"],
                name=options["name"],
                assertion=options["assertion"],
            )
        except Refused as refusal:
            raise CommandError(f"The shop refused ({refusal.status}): {refusal.message}") from None
        except Problem as problem:
            raise CommandError(str(problem)) from None
        if report.order_url:
            self._tell(f"The order: {report.order_url}")
        if options["record"] and report.record:
            options["record"].write_bytes(report.record)
            self._tell(f"The record is in {options['record']}. Verify it anywhere, without the shop:")
            self._tell(f"        python -m agent_sessions.audit.verify {options['record']} --key {report.public_key}")

    def _tell(self, line: str) -> None:
        # At once, so that one can follow it through a pipe as well.
        self.stdout.write(line if line.startswith(("[", "  ")) else f"      {line}")
        self.stdout.flush()
