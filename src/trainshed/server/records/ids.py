"""Random ids: 100 bits in 20 lower-case letters and digits, so that nobody can guess or count rows."""

import base64
import secrets
import time


def new_id() -> str:
    return base64.b32encode(secrets.token_bytes(13)).decode().lower()[:20]


def wall_clock() -> float:
    """Seconds since 1970 for rows outside the ledger; the ledger takes its time from the database."""
    return time.time()
