"""``python -m benchmarks``: measure, print the tables, judge the targets.

Each set of database options runs in a process of its own, in a fresh database, because Django reads its
options once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
BUSY = 0.1
"""Share of the processors' time from which other work makes the numbers worthless: clients and server then
wait for a processor, which takes the same time for every contestant and moves all ratios towards 1.
"""
ROOT = Path(__file__).absolute().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks. Returns 1 when a target is missed, unless told not to, and 2 when a benchmark
    failed.
    """
    wanted = parse(arguments)
    if wanted.results:
        return measure(wanted)
    if wanted.profile:
        return profile(wanted)
    return compare(wanted)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure agent_sessions on PostgreSQL.")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/performance.md")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: shows that it runs, proves nothing")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this benchmark (repeatable)")
    parser.add_argument("--options", choices=["default", "prepared"], help="only these database options")
    parser.add_argument("--no-fail", action="store_true", help="exit with 0 even when a target is missed")
    parser.add_argument("--profile", action="store_true", help="profile a change instead of measuring")
    parser.add_argument("--results", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def compare(wanted: argparse.Namespace) -> int:
    """Measure under each set of options in a child process, then report and judge."""
    from benchmarks import report
    from benchmarks.measure import Result

    results: list[Result] = []
    machine: list[tuple[str, str]] = []
    peers: dict[str, str] = {}
    busiest = 0.0
    started = time.monotonic()
    for options in [wanted.options] if wanted.options else ["default", "prepared"]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "results.json"
            arguments = [
                *(["--quick"] if wanted.quick else []),
                *(f"--only={name}" for name in wanted.only or []),
            ]
            child = subprocess.run(
                [sys.executable, "-m", "benchmarks", f"--options={options}", f"--results={file}", *arguments],
                check=False,
                env={**os.environ, "BENCH_DB_OPTIONS": options},
            )
            if child.returncode:
                return 2
            machine, busy, peers, found = msgspec.json.decode(
                file.read_bytes(), type=tuple[list[tuple[str, str]], float, dict[str, str], list[Result]]
            )
            results += found
            busiest = max(busiest, busy)
    machine.append(("other load", f"processors up to {busiest:.0%} busy with other work around the run"))
    if wanted.quick:
        machine.append(("note", "**quick run: a tenth of the work, not to be cited**"))
    text = report.render(results, machine, peers)
    print(f"\n{text}\n\nTook {time.monotonic() - started:.0f} s.")
    if wanted.write:
        report.write(text, ROOT / "docs" / "performance.md")
    missed = [target for target in report.targets(results) if not target.reached]
    for target in missed:
        print(f"MISSED ({target.options}) {target.what}: {target.value:.2f}, limit {target.limit:.1f}")
    return 1 if missed and not wanted.no_fail else 0


def measure(wanted: argparse.Namespace) -> int:
    """Child process: run the suite with the options in force and leave the results in a file."""
    from benchmarks import machine
    from benchmarks.database import fresh_database

    busy = machine.busy_share()
    with fresh_database():
        from benchmarks import handwritten, peers, suite
        from benchmarks.measure import Scale

        names = wanted.only or [n for n in suite.SUITE if n != "peers" or wanted.options == "prepared"]
        if unknown := set(names) - set(suite.SUITE):
            raise SystemExit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(suite.SUITE)}.")
        results = []
        for name in names:
            start = time.monotonic()
            print(f"{wanted.options}: {name}", end=" ", flush=True)
            results += list(suite.SUITE[name](wanted.options, Scale(quick=wanted.quick)))
            print(f"({time.monotonic() - start:.0f} s)", flush=True)
        installed = peers.installed()
        with handwritten.connect() as connection:
            described = machine.describe(connection, installed)
    said = (
        {name: peers.WHAT_THEY_DO[name] if found else "not installed" for name, found in installed.items()}
        if "peers" in names
        else {}
    )
    busy = max(busy, machine.busy_share())
    if busy > BUSY:
        print(f"The processors are {busy:.0%} busy with other work: do not cite these numbers.")
    Path(wanted.results).write_bytes(msgspec.json.encode((described, busy, said, results)))
    return 0


def profile(wanted: argparse.Namespace) -> int:
    """Profile a change with the chosen options (default: Django's)."""
    os.environ["BENCH_DB_OPTIONS"] = options = wanted.options or "default"
    from benchmarks import report
    from benchmarks.database import fresh_database

    with fresh_database():
        from benchmarks import profiling
        from benchmarks.measure import Scale

        scale = Scale(quick=wanted.quick)
        profiling.print_profile(scale)
        print(report.table(*report.breakdown_table(list(profiling.breakdown(options, scale)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
