"""The benchmark's own database: made for one run and dropped after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import django
import psycopg
from django.conf import settings
from psycopg import sql


@contextmanager
def fresh_database() -> Iterator[None]:
    """Set Django up on a new database with the package's tables and the hand-written ones."""
    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from benchmarks import handwritten

    name = settings.DATABASES["default"]["NAME"]
    assert name.endswith("_bench"), "the benchmark drops its database; it never touches another one"
    _recreate(name)
    call_command("migrate", run_syncdb=True, verbosity=0)
    handwritten.create_tables()
    try:
        yield
    finally:
        connections.close_all()
        _drop(name)


def _recreate(name: str) -> None:
    _drop(name)
    with _maintenance() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _drop(name: str) -> None:
    with _maintenance() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _maintenance() -> psycopg.Connection:
    from benchmarks import handwritten

    return psycopg.connect(**handwritten.connection_parameters("postgres"), autocommit=True)
