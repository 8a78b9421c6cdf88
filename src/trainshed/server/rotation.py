"""Seal every secret of the database under a new key, and forget the old ones.

Run as `python -m trainshed.server.rotation`; prints one JSON object. It can be stopped at any moment and run again: a
key is dropped only when nothing is sealed under it.
"""

from __future__ import annotations

import json
import os
import sys
import time

from trainshed.errors import TrainshedError
from trainshed.schemas import settings
from trainshed.server import vault

# A request that read the keys before the new one stood there has written what it sealed within this time.
_WRITTEN_WITHIN_SECONDS = 1.0


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "trainshed.server.settings"
    import django

    django.setup()
    try:
        with vault.alone():
            print(json.dumps(_rotate()))
    except TrainshedError as error:
        print(json.dumps({"problem": error.to_problem()}))
        sys.exit(1)


def _rotate() -> dict[str, object]:
    from trainshed.server.services import accounts

    is_ours = not settings.text("TRAINSHED_ENCRYPTION_KEYS")
    if is_ours:
        vault.add_key()
    num_sealed = accounts.reseal()
    if is_ours:
        time.sleep(_WRITTEN_WITHIN_SECONDS)
        num_sealed += accounts.reseal()
        vault.drop_old_keys()
    return {"num_sealed": num_sealed, "key": next(iter(vault.keys())), "old_keys_dropped": is_ours}


if __name__ == "__main__":
    main()
