"""Every setting in one table: its name, default and help. A setting is an environment variable.

Nothing else in Trainshed reads the environment for settings; `docs/settings.md` is tested against this table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainshed.errors import StartRefused


@dataclass(frozen=True)
class Setting:
    """One environment variable. `kind` is `text`, `int`, `float`, `bytes` or `secret`."""

    name: str
    default: str
    help: str
    kind: str = "text"


_TABLE = [
    Setting("TRAINSHED_HOME", "~/.trainshed", "Folder that holds the database, the pictures, the models and the secrets."),
    Setting("TRAINSHED_HOST", "127.0.0.1", "Address to listen on. Anything but loopback needs TRAINSHED_PUBLIC_URL."),
    Setting("TRAINSHED_PORT", "8765", "Port of the web process.", "int"),
    Setting("TRAINSHED_PUBLIC_URL", "", "Address that people use, `https://...`, when a TLS proxy stands in front."),
    Setting("TRAINSHED_DATABASE_URL", "", "`postgresql://user:password@host:port/name`; empty: SQLite in TRAINSHED_HOME."),
    Setting("TRAINSHED_STORAGE_URL", "", "Where blobs live; empty: the folder `blobs` in TRAINSHED_HOME."),
    Setting("TRAINSHED_ENGINE", "process://", "Where jobs run: `process://` runs them as child processes of this machine."),
    Setting("TRAINSHED_SECRET_KEY", "", "Signing key of at least 50 characters; empty: made at first start and kept in TRAINSHED_HOME.", "secret"),
    Setting("TRAINSHED_ENCRYPTION_KEYS", "", "Keys that secrets in the database are sealed under, `name:base64` of 32 bytes each, the newest first; empty: kept in TRAINSHED_HOME.", "secret"),
    Setting("TRAINSHED_TRUSTED_PROXIES", "", "Addresses or networks of proxies, with commas between, whose X-Forwarded-For and X-Forwarded-Proto are believed."),
    Setting("TRAINSHED_SIGN_UP", "closed", "Who may make an account: `closed` (people with an invite), `open`, or e-mail domains with commas between."),
    Setting("TRAINSHED_EMAIL_URL", "", "`smtp://user:password@host:587` (STARTTLS) or `smtps://...`; empty: mails are written to the log.", "secret"),
    Setting("TRAINSHED_EMAIL_FROM", "trainshed@localhost", "Sender of mails."),
    Setting("TRAINSHED_GOOGLE_CLIENT_ID", "", "Client id of this installation at Google; with it people may sign in with Google."),
    Setting("TRAINSHED_GOOGLE_CLIENT_SECRET", "", "Its client secret.", "secret"),
    Setting("TRAINSHED_DROPBOX_CLIENT_ID", "", "App key of this installation at Dropbox; with it people may sign in with Dropbox."),
    Setting("TRAINSHED_DROPBOX_CLIENT_SECRET", "", "Its app secret.", "secret"),
    Setting("TRAINSHED_DROPBOX_URL", "https://{host}.dropbox.com", "Where Dropbox is; `{host}` becomes `www` or `api`."),
    Setting("TRAINSHED_OIDC_PROVIDERS", "", "OpenID Connect providers that people may sign in with: a JSON list of objects with `id`, `name`, `issuer`, `client_id`, `client_secret`.", "secret"),
    Setting("TRAINSHED_OIDC_CLIENTS", "", "Applications that sign people in with this server: a JSON list of objects with `id`, `name`, `secret`, `redirect_uris`.", "secret"),
    Setting("TRAINSHED_GRACE_DAYS", "14", "Days for which a deleted workspace can be taken back.", "float"),
    Setting("TRAINSHED_LEASE_SECONDS", "30", "A job whose guard is silent this long is given to another attempt.", "float"),
    Setting("TRAINSHED_CPU_SLOTS", "0", "Jobs without a GPU that one host runs at a time; 0: half the cores, at least 2.", "int"),
    Setting("TRAINSHED_WEB_THREADS", "8", "Threads that answer REST requests.", "int"),
    Setting("TRAINSHED_MAX_IMAGE_PIXELS", "50000000", "Largest picture that is taken, in pixels.", "int"),
    Setting("TRAINSHED_MAX_IMAGE_BYTES", "104857600", "Largest picture file that is taken, in bytes.", "bytes"),
    Setting("TRAINSHED_MAX_UPLOAD_BYTES", "53687091200", "Largest upload that is taken, in bytes.", "bytes"),
    Setting("TRAINSHED_MAX_ARCHIVE_BYTES", "107374182400", "Largest sum of unpacked files of one archive, in bytes.", "bytes"),
    Setting("TRAINSHED_CACHE_BYTES", "21474836480", "Disk budget of each runner cache (decoded pictures; fetched blobs), in bytes.", "bytes"),
    Setting("TRAINSHED_SERVING_MEMORY_BYTES", "2147483648", "Memory budget of loaded models in the model server, in bytes.", "bytes"),
    Setting("TRAINSHED_SERVING_BACKEND", "auto", "Inference engine: `auto` (measured at load), `onnxruntime` or `openvino`."),
    Setting("TRAINSHED_LOG_LEVEL", "info", "`debug`, `info`, `warning` or `error`."),
    Setting("TRAINSHED_URL", "", "Server that the SDK and the command line speak to; empty: the one last signed in to."),
    Setting("TRAINSHED_TOKEN", "", "Personal access token of the SDK and the command line.", "secret"),
]  # fmt: skip

TABLE: dict[str, Setting] = {setting.name: setting for setting in _TABLE}


def text(name: str) -> str:
    """The setting's value: the environment's if it is set and not empty, else the default."""
    return os.environ.get(name) or TABLE[name].default


def number(name: str) -> float:
    """The setting as a number. Raises `StartRefused` with the name and the value if it is none."""
    value = text(name)
    try:
        result = float(value)
    except ValueError:
        raise StartRefused(f"{name} is {value!r}; it must be a number.", hint=TABLE[name].help) from None
    if not 0 <= result < 1e18:
        raise StartRefused(f"{name} is {value!r}; it must be 0 or more.", hint=TABLE[name].help)
    return result


def whole(name: str) -> int:
    """The setting as a whole number. Raises `StartRefused` if it is none."""
    result = number(name)
    if result != int(result):
        raise StartRefused(f"{name} is {text(name)!r}; it must be a whole number.", hint=TABLE[name].help)
    return int(result)


def home() -> Path:
    """`TRAINSHED_HOME` as an absolute path; nothing is created."""
    return Path(text("TRAINSHED_HOME")).expanduser().absolute()
