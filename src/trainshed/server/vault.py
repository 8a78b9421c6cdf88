"""Secrets at rest: sealed under keys that the database does not hold.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. What a secret belongs to is authenticated with it, so a sealed
text that is copied to another row does not open there. A sealed text names its key: `name.nonce.ciphertext`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trainshed.errors import StartRefused, TrainshedError
from trainshed.schemas import settings

_KEY_BYTES = 32
_NONCE_BYTES = 12


def seal(secret: str, *, belongs_to: str) -> str:
    """The secret, sealed under the newest key and bound to what it belongs to."""
    name, key = next(iter(keys().items()))
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, secret.encode(), belongs_to.encode())
    return f"{name}.{_text(nonce)}.{_text(sealed)}"


def unseal(sealed: str, *, belongs_to: str) -> str:
    """The secret again. Raises `TrainshedError` if it is not ours, was changed, or belongs to something else."""
    name, _, rest = sealed.partition(".")
    nonce, _, ciphertext = rest.partition(".")
    key = keys().get(name)
    if key is None:
        raise TrainshedError(
            f"A secret in the database is sealed under the key {name[:40]!r}, which is not here.",
            hint="Put the key back into TRAINSHED_ENCRYPTION_KEYS or the file `encryption_keys` in TRAINSHED_HOME.",
        )
    try:
        return AESGCM(key).decrypt(_bytes(nonce), _bytes(ciphertext), belongs_to.encode()).decode()
    except (InvalidTag, ValueError):
        raise TrainshedError("A secret in the database does not open: it was changed or moved.") from None


def is_sealed_under_newest(sealed: str) -> bool:
    return sealed.partition(".")[0] == next(iter(keys()))


def keys() -> dict[str, bytes]:
    """The keys by name, the newest first: from the setting, or from the home, where the first one is made."""
    given = settings.text("TRAINSHED_ENCRYPTION_KEYS")
    source = "TRAINSHED_ENCRYPTION_KEYS" if given else str(_file())
    if not given:
        _write_once(_file(), new_key)
        given = _file().read_text()
    return _proved(given, source)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else changes the keys of this home while the block lasts. Raises `StartRefused` if somebody does."""
    with (settings.home() / "run" / "rotation.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartRefused("The keys are being changed already.", hint="Wait until that is done.") from None
        yield


def add_key() -> str:
    """Put a new key before the others in the home; returns its name. Raises `StartRefused` where a setting has them."""
    if settings.text("TRAINSHED_ENCRYPTION_KEYS"):
        raise StartRefused(
            "The keys come from TRAINSHED_ENCRYPTION_KEYS.", hint=f"Put a new one before them, such as `{new_key()}`."
        )
    before, made = keys(), new_key()
    _replace([made, *(f"{name}:{_text(key)}" for name, key in before.items())])
    return made.partition(":")[0]


def drop_old_keys() -> None:
    """Keep only the newest key, once nothing is sealed under an older one."""
    if not settings.text("TRAINSHED_ENCRYPTION_KEYS"):
        name, key = next(iter(keys().items()))
        _replace([f"{name}:{_text(key)}"])


def new_key() -> str:
    return f"k{secrets.token_hex(4)}:{_text(secrets.token_bytes(_KEY_BYTES))}"


def signing_key() -> str:
    """The RSA key, in PEM, that signs what we say of people as an OpenID provider; made at the first need."""
    path = settings.home() / "oidc_signing_key.pem"
    _write_once(path, _new_signing_key)
    return path.read_text()


def _new_signing_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind, cipher = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, cipher).decode()


def _file() -> Path:
    return settings.home() / "encryption_keys"


def _write_once(path: Path, make: object) -> None:
    """Write a file that nobody has, readable by its owner alone; whole, or not at all."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    _write(draft, make() if callable(make) else "")
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    _sync_folder(path)


def _replace(lines: list[str]) -> None:
    draft = _file().with_name(f".encryption_keys-{os.getpid()}-{secrets.token_hex(4)}")
    _write(draft, ",\n".join(lines) + "\n")
    draft.replace(_file())
    _sync_folder(_file())


def _sync_folder(path: Path) -> None:
    """A key is on the disk before anything is sealed under it: a power cut must not take it and leave what it opens."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _proved(text: str, source: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = entry.partition(":")
        try:
            found[name] = _bytes(value)
        except ValueError:
            found[name] = b""
        if not name or "." in name or len(found[name]) != _KEY_BYTES:
            raise StartRefused(
                f"The key {name[:40]!r} from {source} is not `name:` and {_KEY_BYTES} bytes in base64.",
                hint=f"A good one is `{new_key()}`.",
            )
    if not found:
        raise StartRefused(f"{source} holds no key.", hint="Put the key back from a backup.")
    return found


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
