"""``manage.py demo``: set up the demo shop, run it, and let an agent buy something in it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from agent_sessions import selectors, services
from agent_sessions.audit.inclusion import LogTrust
from agent_sessions.audit.notes import Policy
from agent_sessions.audit.verify import verify_artifact
from agent_sessions.audit.vkeys import read_vkey
from agent_sessions.crypto.signing import read_public_key
from shop_demo.agent import Refused
from shop_demo.jobs import running_jobs
from shop_demo.management.commands.seed_shop import CUSTOMERS
from shop_demo.serving import PortBusy, serving
from shop_demo.stories import STORIES, Stage
from shop_demo.web import Problem

DEFAULT_PASSWORD = "demo"  # noqa: S105 - for a shop that only this machine can reach
RECORD = Path("demo-record.json")

_STOPS = (signal.SIGINT, signal.SIGTERM)


class Command(BaseCommand):
    help = (
        "Set up the demo shop on this machine (database, goods, users), run it at the address of "
        "SITE_URL, and let an agent buy something in it. Ctrl-C ends it."
    )

    requires_system_checks: list[str] = []  # they are about going live

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="End when the agent has; exit with 0 if all worked.")
        parser.add_argument("--no-agent", action="store_true", help="Only run the shop.")
        parser.add_argument("--story", default="", help=f"Play {', '.join(STORIES)}, or all, and end; list lists.")

    def handle(self, *args: Any, **options: Any) -> None:
        stories = self._stories(options["story"])
        if options["story"] == "list":
            return
        if not settings.DEBUG:
            raise CommandError(
                "The demo is for one's own machine and makes users with a known password, so it needs DEBUG on. "
                "With DEBUG off, run shop_demo.wsgi with a server such as gunicorn."
            )
        site = settings.SITE_URL
        port = urlsplit(site).port or 80
        # The shop refuses the agent once, as it should, and the agent tells of it.
        logging.getLogger("django.request").setLevel(logging.ERROR)
        # A shell that starts it in the background has it ignore Ctrl-C's signal unless told otherwise.
        before = {number: signal.signal(number, signal.default_int_handler) for number in _STOPS}
        try:
            with serving(port):
                self._set_up()
                if stories:
                    self._play(site, stories)
                    return
                with running_jobs():
                    if not options["no_agent"]:
                        self._shop(site)
                    if options["once"]:
                        return
                    self._show(site)
                    threading.Event().wait()
        except PortBusy:
            raise CommandError(
                f"Port {port} is in use. Stop what listens there, or take another one: `make demo PORT={port + 1}`."
            ) from None
        except KeyboardInterrupt:
            self.stdout.write("\nThe shop is closed.")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stories(self, asked: str) -> list[str]:
        """Return which stories are to be played, none if none was asked for; list them for who asked for that."""
        if asked == "list":
            for name, story in STORIES.items():
                self._tell(f"  {name:12} {story.title}")
        if asked not in ("", "all", "list", *STORIES):
            raise CommandError(f"There is no story {asked!r}. Choose one of {', '.join(STORIES)}, all, or list.")
        return list(STORIES) if asked == "all" else [asked] if asked in STORIES else []

    def _play(self, site: str, stories: list[str]) -> None:
        """Play stories, each with the settings that make its waiting short."""
        usual: dict[str, Any] = settings.AGENT_SESSIONS
        for name in stories:
            story = STORIES[name]
            self._stock_up()
            ttl = {**usual.get("TTL", {}), **story.settings.get("TTL", {})}
            limits = {"MAX_REQUESTS_PER_MINUTE": 0, "MAX_SESSIONS": 0}
            settings.AGENT_SESSIONS = {**usual, **story.settings, **limits, "TTL": ttl, "END_ON_HANDOFF": False}
            self._tell(f"\n{story.title} (STORY={name})\n")
            try:
                story.play(Stage(site, lambda line: self._tell(f"  {line}")))
            except Refused as refusal:
                raise CommandError(f"The shop refused ({refusal.status}): {refusal.message}") from None
            except Problem as problem:
                raise CommandError(str(problem)) from None
            finally:
                settings.AGENT_SESSIONS = usual
        self._tell("\nAll of it worked.")

    def _set_up(self) -> None:
        self._tell("Setting up the shop: database, goods, users …")
        call_command("migrate", verbosity=0)
        if directory := getattr(settings, "LOG_DIRECTORY", ""):
            Path(directory).mkdir(exist_ok=True)
        for variable in ("DEMO_ADMIN_PASSWORD", "DEMO_CUSTOMER_PASSWORD"):
            os.environ.setdefault(variable, DEFAULT_PASSWORD)
        self._stock_up()

    def _stock_up(self) -> None:
        with Path(os.devnull).open("w") as nowhere:
            call_command("seed_shop", staff=True, customers=True, stdout=nowhere)

    def _shop(self, site: str) -> None:
        self._tell("An agent goes shopping. All it knows of the shop is its address.\n")
        RECORD.unlink(missing_ok=True)
        call_command("run_agent", site=site, pay=True, record=RECORD, stdout=self.stdout)
        if RECORD.exists():
            self._log()
        self._tell("\nAll of it worked.")

    def _log(self) -> None:
        """Put the session into the shop's log, and check the proof of that in its record as somebody else would."""
        services.sequence_log()
        run_id = json.loads(RECORD.read_bytes())["data"]["run_id"]
        record = services.get_artifact(uuid.UUID(run_id))
        keys = [read_public_key(key.public_key) for key in services.signing_keys()]
        log = Policy(tuple(read_vkey(key.vkey) for key in selectors.log_keys()))
        found = verify_artifact(record, keys, log=LogTrust(log, required=True))
        if not found.ok or found.logged is None:
            raise CommandError(f"The session is not in the log: {found.problems}")
        RECORD.write_bytes(record)
        self._tell(
            f"Log     The record holds the proof that it is leaf {found.logged.leaf_index} of the "
            f"{found.logged.tree_size} in the shop's log. Add to the line above:\n"
            f"        --require-inclusion --log-key {log.logs[0].text}"
        )

    def _show(self, site: str) -> None:
        staff = _password_of("admin", "DEMO_ADMIN_PASSWORD")
        first, second = CUSTOMERS
        customer = _password_of(first, "DEMO_CUSTOMER_PASSWORD")
        self._tell(f"""
The shop is open. Look at
  {site}/                          the shop
  {site}/admin/                    the admin: user admin, password {staff}
  {site}/account/agents            your agents, as a customer: {first} or {second}, password {customer}
  {site}/agents                    how agents use it
  {site}/.well-known/agents.json   what agents read first

Ctrl-C closes it. To send the agent again, from another terminal:
  {sys.executable} manage.py run_agent --site {site} --pay""")

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _password_of(name: str, variable: str) -> str:
    """Tell a user's password if it is the environment's, as it is for a user that this demo has made."""
    user = get_user_model()._default_manager.filter(username=name).first()
    known = os.environ[variable]
    return known if user is not None and user.check_password(known) else "the password it was made with"
