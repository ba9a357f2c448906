"""Empty the tables after a test that commits: rows are deleted where there are some.

Django's own way (flush) truncates every table and makes all content types and permissions anew, which takes longer on
PostgreSQL than most tests.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connections, transaction

KEPT: Final = {"django_content_type", "auth_permission", "django_migrations"}
"""What the migrations filled."""


def empty_tables(test_case: Any) -> None:
    """Stand in for ``TransactionTestCase._fixture_teardown``."""
    for alias in test_case._databases_names(include_mirrors=False):
        connection = connections[alias]
        tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
        # All at once: foreign keys are looked at when it is committed.
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(f"SELECT '{one}' WHERE EXISTS (SELECT 1 FROM {one})" for one in tables))
            for (table,) in cursor.fetchall():
                cursor.execute(f"DELETE FROM {table}")
