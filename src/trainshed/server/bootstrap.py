"""The step before the processes start: migrate the database and prepare the installation.

Run as `python -m trainshed.server.bootstrap`; prints one JSON object. It is a process of its own so that the
supervisor never loads Django.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from trainshed.errors import StartRefused, TrainshedError


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "trainshed.server.settings"
    try:
        print(json.dumps({"prepared": _prepare()}))
    except TrainshedError as error:
        print(json.dumps({"problem": error.to_problem()}))
        sys.exit(1)


def _prepare() -> dict[str, object]:
    import django
    from django.core.management import call_command
    from django.db import DatabaseError

    django.setup()
    logging.getLogger().setLevel(logging.WARNING)
    try:
        _refuse_newer_database()
        call_command("migrate", verbosity=0, interactive=False)
        from trainshed.server.services import installation

        return installation.prepare()
    except DatabaseError as error:
        raise StartRefused(
            f"The database cannot be used: {str(error).strip()}",
            hint="Check TRAINSHED_DATABASE_URL and that the database is running, or the free space of TRAINSHED_HOME.",
        ) from error


def _refuse_newer_database() -> None:
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    known = {key for key in loader.disk_migrations if key[0] == "records"}
    unknown = sorted(key[1] for key in loader.applied_migrations if key[0] == "records" and key not in known)
    if unknown:
        raise StartRefused(
            f"The database was made by a newer release of Trainshed (it has {unknown[-1]}).",
            hint="Upgrade Trainshed, or set TRAINSHED_HOME to another folder.",
        )


if __name__ == "__main__":
    main()
