"""The tokens of this person, one per server, in a file only they can read; `trainshed login` writes it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainshed.client.transport import normal_url
from trainshed.errors import InvalidInput


@dataclass(frozen=True)
class Credential:
    """A token and whom it stands for; `token_id` is empty for a token that was pasted."""

    token: str
    email: str = ""
    token_id: str = ""


@dataclass(frozen=True)
class Credentials:
    """All servers this person has signed in to; `last_url` is the one used when none is named."""

    servers: dict[str, Credential] = field(default_factory=dict)
    last_url: str = ""


def path() -> Path:
    """Where the file stands; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_config_dir("trainshed")) / "credentials.json"


def read() -> Credentials:
    """The file's content, empty when there is none. Raises `InvalidInput` when it cannot be understood."""
    try:
        content = json.loads(path().read_text(encoding="utf-8"))
        servers = {url: _credential(entry) for url, entry in content["servers"].items()}
        return Credentials(servers, content.get("last_url", ""))
    except FileNotFoundError:
        return Credentials()
    except OSError as error:
        raise InvalidInput(f"{path()} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{path()} is not a credentials file of Trainshed ({type(error).__name__}: {error}).",
            hint="Delete it and run `trainshed login` again.",
        ) from error


def _credential(entry: dict[str, str]) -> Credential:
    return Credential(entry["token"], entry.get("email", ""), entry.get("token_id", ""))


def save(url: str, credential: Credential) -> None:
    """Keep the token of `url` and make it the server used when none is named."""
    url, known = normal_url(url), read()
    _write(Credentials({**known.servers, url: credential}, url))


def forget(url: str) -> bool:
    """Drop the token of `url`; False when there was none."""
    url, known = normal_url(url), read()
    servers = {other: entry for other, entry in known.servers.items() if other != url}
    last_url = next(iter(servers), "") if known.last_url == url else known.last_url
    if url in known.servers:
        _write(Credentials(servers, last_url))
    return url in known.servers


def _write(credentials: Credentials) -> None:
    """Write beside and rename: the file is whole at any moment, and never readable by others."""
    content: dict[str, Any] = {
        "version": 1,
        "last_url": credentials.last_url,
        "servers": {url: asdict(credential) for url, credential in credentials.servers.items()},
    }
    try:
        _replace(path(), json.dumps(content, indent=2))
    except OSError as error:
        raise InvalidInput(
            f"The token cannot be kept in {path()}: {error.strerror}.",
            hint="Make the folder writable, or set TRAINSHED_TOKEN instead.",
        ) from error


def _replace(target: Path, text: str) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".credentials-")  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
