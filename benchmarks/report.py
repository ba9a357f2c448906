"""The tables: targets first, then every measurement, then the peers and where the time goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.http import CART_ADD, FROM_MEMORY, WORKING
from benchmarks.measure import TOTAL, Result, Side

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
CHANGE_AT_LEAST = {2: 0.8, 256: 2.0}
CART_ADD_AT_LEAST = 0.4
SIZES_WITHIN, LATE_WITHIN, BYTES_WITHIN = 1.2, 1.1, 2.0


class Target:
    """One thing to reach. ``at_least`` says on which side of the limit the good values are."""

    def __init__(self, what: str, options: str, value: float, limit: float, *, at_least: bool = False) -> None:
        self.what, self.options, self.value, self.limit, self.at_least = what, options, value, limit, at_least

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def targets(results: Iterable[Result]) -> Iterator[Target]:
    """Judge the medians of the results that have a target."""
    for result in results:
        if result.bench == "change" and result.kb in CHANGE_AT_LEAST:
            what = f"a change at {result.kb} kB, {clients(result)}: rate against hand-written"
            yield Target(what, result.options, result.sides[1].ratio[0], CHANGE_AT_LEAST[result.kb], at_least=True)
        elif result.bench == "flat":
            for each in result.sides[1:]:
                what = f"a change at {each.name}: time against {result.sides[0].name}"
                yield Target(what, result.options, each.ratio[0], SIZES_WITHIN)
        elif result.bench == "late":
            late = result.sides[1]
            what = f"a change at {late.name}: time against {result.sides[0].name}"
            yield Target(what, result.options, late.ratio[0], LATE_WITHIN)
        elif result.bench == "stored":
            what = f"bytes per change at {result.kb} kB: against the event's own JSON"
            yield Target(what, result.options, result.facts["change"] / result.facts["event"], BYTES_WITHIN)
        elif result.bench == "http" and result.note == FROM_MEMORY:
            what = f"{CART_ADD} over HTTP, {result.clients} worker(s): rate against an empty view"
            yield Target(what, result.options, 1 / result.side(CART_ADD).ratio[0], CART_ADD_AT_LEAST, at_least=True)


def render(results: Sequence[Result], machine: Sequence[tuple[str, str]], peers: dict[str, str]) -> str:
    """Write everything as Markdown. ``peers`` says what each peer does, or that it is not installed."""
    parts = [
        table(("machine", ""), machine),
        "Rates are medians over the rounds; ratios are median (least to greatest) over the rounds, each the "
        "rates of two blocks that ran one after the other. Times are in milliseconds; processors' time over HTTP is "
        "that of workers + database + clients for one call.",
        section("Targets", ("what", "options", "measured", "to reach", ""), map(target_row, targets(results))),
        section("A change", CHANGE_HEADER, pair_rows(results, "change")),
        section(
            "The same change at other sizes and late in a session's life",
            ("options", "at", "changes/s", "p50", "p99", "time against the first"),
            side_rows(results, ("flat", "late")),
        ),
        section("Reading", READ_HEADER, side_rows(results, ("read", "past"), sized=True)),
        section("Bytes stored per change", STORED_HEADER, stored_rows(results)),
        section("Over HTTP, behind gunicorn", HTTP_HEADER, http_rows(results)),
        section("Eight clients on one session (2 kB)", CONTENTION_HEADER, contention_rows(results)),
        section("Other ways to write it by hand", READ_HEADER, side_rows(results, ("variants",), sized=True)),
        section("Beside other session stores: a write", PEER_HEADER, peer_rows(results, "peers: write")),
        section("Beside other session stores: a read", PEER_HEADER[:-1], peer_rows(results, "peers: read")),
        "\n".join(f"- **{name}**: {what}" for name, what in peers.items()) if peers else "",
        section("Where the time of a change goes", *breakdown_table(results)),
    ]
    return "\n\n".join(part for part in parts if part)


CHANGE_HEADER = (
    "clients",
    "state",
    "options",
    "ours/s",
    "p50",
    "p99",
    "hand-written/s",
    "p50",
    "p99",
    "ours / theirs",
)
HTTP_HEADER = (
    "workers",
    "options",
    "store",
    "",
    "per second",
    "p50",
    "p99",
    "rate against the empty view",
    "processors",
)
READ_HEADER = ("state", "options", "", "per second", "p50", "p99", "ours / this")
STORED_HEADER = (
    *("state", "options", "bytes per change", "event's JSON", "ratio", "event rows", "version rows"),
    *("of that: patch", "of that: snapshots", "hand-written"),
)
STORED_FACTS = ("events", "versions", "patch", "snapshot", "hand-written")
CONTENTION_HEADER = (
    "options",
    "",
    "acknowledged/s",
    "p50",
    "p99",
    "refused per acknowledged",
    "lost",
    "ours / this",
)
PEER_HEADER = ("state", "options", "", "per second", "p50", "p99", "ours / this", "bytes per write")


def clients(result: Result) -> str:
    return f"{result.clients} client" + "s" * (result.clients > 1)


def ratio(side: Side) -> str:
    median, least, greatest = side.ratio
    return f"{median:.2f} ({least:.2f} to {greatest:.2f})"


def speed(side: Side) -> tuple[str, str, str]:
    return f"{side.rate:,.0f}", f"{side.p50:.2f}", f"{side.p99:.2f}"


def target_row(target: Target) -> tuple[str, ...]:
    wanted = f"{'at least' if target.at_least else 'at most'} {target.limit:.1f}"
    return (
        target.what,
        target.options,
        f"{target.value:.2f}",
        wanted,
        "reached" if target.reached else "**MISSED**",
    )


def pair_rows(results: Iterable[Result], bench: str) -> Iterator[tuple[str, ...]]:
    for result in ordered(results, bench):
        ours, theirs = result.sides
        size = f"{result.kb} kB"
        yield str(result.clients), size, result.options, *speed(ours), *speed(theirs), ratio(theirs)


def side_rows(results: Sequence[Result], benches: Sequence[str], *, sized: bool = False) -> Iterator[tuple[str, ...]]:
    for bench in benches:
        for result in ordered(results, bench):
            for side in result.sides:
                compared = "1" if side is result.sides[0] else ratio(side)
                start = (f"{result.kb} kB", result.options) if sized else (result.options,)
                yield *start, side.name, *speed(side), compared


def stored_rows(results: Iterable[Result]) -> Iterator[tuple[str, ...]]:
    for result in ordered(results, "stored"):
        facts = result.facts
        compared = f"{facts['change'] / facts['event']:.2f}"
        parts = (f"{facts[name]:,.0f}" for name in STORED_FACTS)
        start = (f"{result.kb} kB", result.options, f"{facts['change']:,.0f}", f"{facts['event']:,.0f}")
        yield *start, compared, *parts


def http_rows(results: Iterable[Result]) -> Iterator[tuple[str, ...]]:
    for result in ordered(results, "http"):
        for side in result.sides:
            compared = "1" if side is result.sides[0] else f"{1 / side.ratio[0]:.2f}"
            worked = " + ".join(f"{result.facts[f'{side.name}: {who}']:.1f}" for who in WORKING)
            yield str(result.clients), result.options, result.note, side.name, *speed(side), compared, worked


def contention_rows(results: Iterable[Result]) -> Iterator[tuple[str, ...]]:
    for result in ordered(results, "contention"):
        for side in result.sides:
            refused = f"{result.facts[f'refused: {side.name}']:.2f}"
            compared = "1" if side is result.sides[0] else ratio(side)
            # The benchmark stops when the session's version is not one plus what was acknowledged.
            yield result.options, side.name, *speed(side), refused, "0", compared


def peer_rows(results: Iterable[Result], bench: str) -> Iterator[tuple[str, ...]]:
    for result in ordered(results, bench):
        for side in result.sides:
            compared = "1" if side is result.sides[0] else ratio(side)
            row = (f"{result.kb} kB", result.options, side.name, *speed(side), compared)
            stored = result.facts.get(side.name)
            yield row if bench == "peers: read" else (*row, "" if stored is None else f"{stored:,.0f}")


def breakdown_table(results: Iterable[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    columns = ordered(results, "breakdown")
    names = list(dict.fromkeys(name for column in columns for name in column.facts))
    names.sort(key=lambda name: (name != TOTAL, name.startswith("floor")))
    header = ("microseconds", *(f"{column.kb} kB, {column.options}" for column in columns))
    rows = [
        (name, *(f"{column.facts[name]:,.0f}" if name in column.facts else "" for column in columns)) for name in names
    ]
    return header, rows


def ordered(results: Iterable[Result], bench: str) -> list[Result]:
    """The bench's results with both sets of options next to each other."""
    return sorted((r for r in results if r.bench == bench), key=lambda r: (r.clients, r.kb))


def section(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    return f"### {title}\n\n{table(header, rows)}" if rows else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table that also reads well in a terminal: numbers to the right."""
    rows = [tuple(row) for row in rows]
    widths = [max(3, *(len(row[i]) for row in [tuple(header), *rows])) for i in range(len(header))]
    numeric = [all(is_number(row[i]) for row in rows) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * (w - 1)}{':' if n else '-'}" for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit()


def write(text: str, path: Path) -> None:
    """Put ``text`` between the markers in the file, which is made if it is missing."""
    old = path.read_text() if path.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    if BEGIN not in old or END not in old:
        raise SystemExit(f"{path.name} has no {BEGIN} and {END} to write between.")
    before, after = old.split(BEGIN)[0], old.split(END)[1]
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
