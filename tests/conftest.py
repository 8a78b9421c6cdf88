"""What every test stands on: a TRAINSHED_HOME of its own, and the database that this run is about.

`TRAINSHED_TEST_DATABASE=postgresql` runs on a private PostgreSQL, otherwise on SQLite.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import postgresql

# Before anything reads the settings: a short path (sockets live in it), and no setting of the person's own.
for _name in [name for name in os.environ if name.startswith("TRAINSHED_") and name != "TRAINSHED_TEST_DATABASE"]:
    del os.environ[_name]
_HOME = Path(tempfile.mkdtemp(prefix="ts-"))
os.environ["TRAINSHED_HOME"] = str(_HOME)
os.environ["XDG_CONFIG_HOME"] = str(_HOME / "config")
ON_POSTGRESQL = os.environ.get("TRAINSHED_TEST_DATABASE") == "postgresql"


@pytest.fixture(scope="session", autouse=True)
def _clean_home() -> Iterator[None]:
    yield
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def database_server() -> Iterator[postgresql.Server | None]:
    """The private PostgreSQL of this run, or `None` on SQLite."""
    with ExitStack() as stack:
        running = stack.enter_context(postgresql.server()) if ON_POSTGRESQL else None
        if running:
            os.environ["TRAINSHED_DATABASE_URL"] = running.url
        yield running


@pytest.fixture(scope="session")
def django(database_server: postgresql.Server | None) -> None:
    """Django, set up on this run's database, migrated."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "trainshed.server.settings"
    import django as library
    from django.core.management import call_command
    from django.db import connections

    library.setup()
    options = connections.databases["default"]["OPTIONS"]
    if "init_command" in options:
        # A test is no power cut: do not wait for the disk.
        options["init_command"] += "; PRAGMA synchronous=OFF"
    call_command("migrate", verbosity=0, interactive=False)


@pytest.fixture
def database(django: None) -> Iterator[None]:
    """An empty database, emptied again afterwards, with the ledger's clock given back."""
    yield
    from django.apps import apps
    from django.db import connection, transaction

    from trainshed.server.queue import dialect

    dialect.set_clock(None)
    # SQLite lets nobody empty the audit log, tests included: what stays in it is of workspaces that are gone.
    kept = {"audit"} if connection.vendor == "sqlite" else set()
    tables = [f'"{name}"' for name in {model._meta.db_table for model in apps.get_models()} - kept]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Without its foreign keys' triggers a DELETE takes 1 ms; TRUNCATE waits half a second for the disk.
            deletes = "; ".join(f"DELETE FROM {table}" for table in tables)
            cursor.execute(f"BEGIN; SET LOCAL session_replication_role = 'replica'; {deletes}; COMMIT")
        else:
            cursor.execute("PRAGMA foreign_keys=OFF")
            with transaction.atomic():
                for table in tables:
                    cursor.execute(f"DELETE FROM {table}")
            cursor.execute("PRAGMA foreign_keys=ON")
