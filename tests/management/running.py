"""Running a command as a shell would."""

from __future__ import annotations

from io import StringIO
from typing import NamedTuple

from django.core.management import call_command


class Ran(NamedTuple):
    """Exit status, what was printed, and what went to standard error."""

    status: int
    out: str
    err: str


def run(command: str, *arguments: str) -> Ran:
    out, err, status = StringIO(), StringIO(), 0
    try:
        call_command(command, *arguments, stdout=out, stderr=err)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    return Ran(status, out.getvalue(), err.getvalue())
