"""Where models come from: web tells a model's files, which are read from the shared disk or downloaded once.

Every file is verified by its sha256 each time it is read. What is in the files is `models`' business.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from trainshed.client.transport import Transport
from trainshed.errors import Forbidden, NotFound, NotSignedIn, TrainshedError
from trainshed.schemas import BlobRef, ServedModel
from trainshed.serving.models import NEEDED_FILES, ModelFiles, parse, require_files

_MODEL_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


class WebSource:
    """Fetches models from web with the service's own token. Safe to use from several threads."""

    def __init__(self, url: str, token: str, cache: BlobCache) -> None:
        self._cache = cache
        self._web = Transport(url, token, timeout=10.0)

    def fetch(self, model_id: str) -> ModelFiles:
        """The model's files, verified.

        Raises `NotFound`, `ServerUnreachable`, `InvalidInput`, and `TrainshedError` if a file is corrupt.
        """
        if not _MODEL_ID.fullmatch(model_id):
            raise NotFound(f"There is no model {model_id[:80]!r}.")
        model = ServedModel.model_validate_json(self._get(f"/serving/models/{model_id}"))
        require_files(model)
        return parse(model.id, {name: self._read(name, model.files[name]) for name in NEEDED_FILES})

    def close(self) -> None:
        """End the connections."""
        self._web.close()

    def _read(self, name: str, blob: BlobRef) -> bytes:
        if blob.path and Path(blob.path).is_file():
            return _verified(name, blob, Path(blob.path).read_bytes())
        data = self._cache.get(blob.sha256)
        if data is None:
            data = _verified(name, blob, self._get(f"/serving/blobs/{blob.sha256}", blob.size_bytes))
            self._cache.put(blob.sha256, data)
        return data

    def _get(self, path: str, most_bytes: int = 1 << 20) -> bytes:
        """The answer's body, of which no more than `most_bytes` and a little are read."""
        data = bytearray()
        try:
            with self._web.stream("GET", path) as answer:
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > most_bytes:
                        break
        except (NotSignedIn, Forbidden) as refusal:
            # The asker is signed in; it is the service that is not.
            raise TrainshedError(f"Web refuses the model server's own token: {refusal.message}") from refusal
        return bytes(data)


class BlobCache:
    """A folder of downloaded blobs by sha256 within a budget; the longest unused go first."""

    def __init__(self, folder: Path, *, budget_bytes: int) -> None:
        self._folder = folder
        self._budget_bytes = budget_bytes

    def get(self, sha256: str) -> bytes | None:
        """The blob, or `None` if it is not here or no longer what it was."""
        try:
            data = (self._folder / sha256).read_bytes()
            os.utime(self._folder / sha256)
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def put(self, sha256: str, data: bytes) -> None:
        """Keep a verified blob. It appears whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".new-", delete=False) as file:
            file.write(data)
        Path(file.name).replace(self._folder / sha256)
        self._shrink(keep=sha256)

    def _shrink(self, keep: str) -> None:
        blobs = sorted(self._folder.glob("[0-9a-f]*"), key=lambda blob: blob.stat().st_mtime)
        total_bytes = sum(blob.stat().st_size for blob in blobs)
        for blob in blobs:
            if total_bytes <= self._budget_bytes:
                return
            if blob.name != keep:
                total_bytes -= blob.stat().st_size
                blob.unlink(missing_ok=True)


def _verified(name: str, blob: BlobRef, data: bytes) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != blob.sha256:
        raise TrainshedError(
            f"The file {name!r} is corrupt: its sha256 is {found[:12]}... ({len(data)} bytes), expected "
            f"{blob.sha256[:12]}... ({blob.size_bytes} bytes). It was not opened.",
            hint="Restore the blob from a backup, or train the model again.",
        )
    return data
