"""This machine's part of the installation: TRAINSHED_HOME, its secrets, its lock, and where web is reached.

Standard library only, so that the supervisor stays small.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

from trainshed.errors import StartRefused
from trainshed.schemas import settings

_MIN_SECRET_CHARACTERS = 50
_REFUSED_SECRETS = ("changeme", "secret", "insecure", "password")
# What only web and the scheduler may know.
_OURS_ALONE = {"TRAINSHED_DATABASE_URL", *(one.name for one in settings.TABLE.values() if one.kind == "secret")}


def prepare() -> Path:
    """Create the home and its folders, readable by the owner alone. Raises `StartRefused` if it cannot."""
    home = settings.home()
    try:
        for folder in (home, home / "run", home / "blobs", home / "cache", home / "work", home / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = home / "run" / f".probe-{os.getpid()}"
        probe.write_bytes(b"trainshed")
        probe.unlink()
    except OSError as error:
        raise StartRefused(
            f"The folder {home} cannot be used: {error.strerror or error}.",
            hint="Free some space or make it writable, or set TRAINSHED_HOME to another folder.",
        ) from error
    return home


def secret_key() -> str:
    """The signing key: from the setting, or made at first start and kept in the home (mode 0600)."""
    given = settings.text("TRAINSHED_SECRET_KEY")
    if given:
        return _proved(given, "TRAINSHED_SECRET_KEY")
    path = settings.home() / "secret_key"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
    return _proved(path.read_text().strip(), str(path))


def _proved(key: str, source: str) -> str:
    if len(key) < _MIN_SECRET_CHARACTERS or len(set(key)) < 10 or any(word in key for word in _REFUSED_SECRETS):
        raise StartRefused(
            f"The secret key from {source} is too short or too simple.",
            hint=f"Use at least {_MIN_SECRET_CHARACTERS} random characters, or unset it: one is made at first start.",
        )
    return key


def environment_of_others() -> dict[str, str]:
    """The environment for runners, the agent and the model server: they speak REST and hold no database password."""
    return {name: value for name, value in os.environ.items() if name not in _OURS_ALONE}


def lock(home: Path) -> IO[str]:
    """Hold the home for this process; the file must stay open. Raises `StartRefused` if another holds it."""
    file = (home / "run" / "up.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise StartRefused(
            f"Trainshed already runs on {home} (process {holder}).",
            hint="Use that one, stop it with Ctrl-C, or set TRAINSHED_HOME to another folder.",
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def loopback_host() -> str:
    """The address by which this machine reaches its own web process."""
    host = settings.text("TRAINSHED_HOST")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def local_url() -> str:
    """Where this machine's own processes reach web."""
    host = loopback_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.whole('TRAINSHED_PORT')}"
