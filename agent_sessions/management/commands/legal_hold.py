"""Place, lift, review and list legal holds."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent_sessions import selectors, services
from agent_sessions.domain.identity import Actor
from agent_sessions.management.base import SessionsCommand, read_customer, read_moment
from agent_sessions.selectors import HoldView


class Command(SessionsCommand):
    help = (
        "Place, lift, review and list legal holds. What is under hold is erased by no retention rule and at nobody's "
        "request, until every hold on it has been lifted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        place = actions.add_parser("place", help="place a hold on a session, a consumer, an order or a period")
        place.add_argument("--session", type=uuid.UUID, help="id of the session")
        place.add_argument(
            "--consumer", action="store_true", help="a customer, whose id is asked for, or read from stdin"
        )
        place.add_argument("--order", default="", help="the shop's reference of the order")
        place.add_argument("--from", dest="start", help="sessions opened from this day or time on (UTC)")
        place.add_argument("--until", dest="end", help="... to before this day or time (UTC)")
        place.add_argument("--merchant", default="", help="of this merchant only")
        place.add_argument("--matter", required=True, help="what for, 1 to 200 characters: kept for good, so no names")
        place.add_argument("--review", help="day on which to ask whether it is still needed (UTC)")
        lift = actions.add_parser("lift", help="lift a hold")
        lift.add_argument("hold", type=uuid.UUID)
        lift.add_argument("--reason", required=True, help="why, 1 to 200 characters")
        review = actions.add_parser("review", help="keep a hold, and set the next day for its review")
        review.add_argument("hold", type=uuid.UUID)
        review.add_argument("--review", required=True, help="day on which to ask again (UTC)")
        for one in (place, lift, review):
            one.add_argument("--by", default="", help="who you are: a user's primary key or another pseudonym")
        listing = actions.add_parser("list", help="list the holds in force")
        listing.add_argument("--all", action="store_true", help="also those that were lifted")
        actions.add_parser("remind", help="remind of holds whose review is due")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['action']}")(**options)

    def _place(self, **options: Any) -> None:
        scopes = {
            "session": options["session"],
            "consumer": options["consumer"],
            "order": options["order"],
            "period": options["start"] or options["end"],
        }
        chosen = [name for name, value in scopes.items() if value]
        if len(chosen) != 1:
            raise CommandError("Name one of --session, --consumer, --order, or --from with --until.")
        self._show(
            services.place_legal_hold(
                scope=chosen[0],
                matter=options["matter"],
                actor=Actor("staff", options["by"]),
                session_id=options["session"],
                consumer=read_customer() if options["consumer"] else "",
                order_ref=options["order"],
                period_start=read_moment(options["start"], "--from"),
                period_end=read_moment(options["end"], "--until"),
                merchant=options["merchant"],
                review_at=read_moment(options["review"], "--review"),
            )
        )

    def _lift(self, **options: Any) -> None:
        actor = Actor("staff", options["by"])
        self._show(services.lift_legal_hold(options["hold"], reason=options["reason"], actor=actor))

    def _review(self, **options: Any) -> None:
        moment = read_moment(options["review"], "--review")
        assert moment is not None  # noqa: S101 - the parser requires it
        actor = Actor("staff", options["by"])
        self._show(services.review_legal_hold(options["hold"], review_at=moment, actor=actor))

    def _list(self, **options: Any) -> None:
        for hold in selectors.legal_holds(lifted=options["all"]):
            self._show(hold)

    def _remind(self, **options: Any) -> None:
        self.stdout.write(f"{services.remind_of_reviews()} reminded")

    def _show(self, hold: HoldView) -> None:
        state = f"review {hold.review_at:%Y-%m-%d}" if hold.in_force else f"lifted {hold.lifted_at:%Y-%m-%d}"
        self.stdout.write(f"{hold.hold_id}  {hold.scope:<8}  {_target(hold)}  {state}  {hold.matter}")


def _target(hold: HoldView) -> str:
    merchant = f" of {hold.merchant}" if hold.merchant else ""
    if hold.period_start is not None and hold.period_end is not None:
        return f"{hold.period_start:%Y-%m-%d %H:%M} to {hold.period_end:%Y-%m-%d %H:%M} UTC{merchant}"
    return f"{hold.session_id or hold.order_ref or hold.consumer or '-'}{merchant}"
