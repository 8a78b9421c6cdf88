"""Models: trained networks that answer. The shelf holds pretrained ones for everyone."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

from trainshed.client.answers import pages, parse, segment
from trainshed.client.folders import CHUNK_BYTES
from trainshed.client.names import pick
from trainshed.client.place import Place, id_of
from trainshed.client.transport import Transport
from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import ModelView, Prediction, ProjectView

PREDICT_TIMEOUT_SECONDS = 120.0  # the first question loads the model
_PREDICT_RETRIES = 4


class Models:
    """`client.models`"""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def list(self) -> Iterator[ModelView]:
        """The models of this project."""
        return pages(self._transport, f"{self._place.path()}/models", ModelView)

    def shelf(self) -> Iterator[ModelView]:
        """The pretrained models that everyone may use."""
        return chain.from_iterable(pages(self._transport, f"{path}/models", ModelView) for path in self._place.shelf())

    def get(self, model: ModelView | str) -> ModelView:
        """The model by its view or its id, in this project or on the shelf."""
        if not isinstance(model, str):
            return parse(ModelView, self._transport.request("GET", self._path(model)))
        for path in (self._place.path(), *self._place.shelf()):
            try:
                return parse(ModelView, self._transport.request("GET", f"{path}/models/{segment(model)}"))
            except NotFound:
                continue
        raise NotFound(f"There is no model {model!r} in this project or on the shelf.")

    def find(self, wanted: str) -> ModelView:
        """By id, name, or a beginning of one; this project's before the shelf's.

        Raises `NotFound`, or `InvalidInput` naming the candidates.
        """
        own = list(self.list())
        try:
            return pick(own, wanted, "model")
        except NotFound:
            return pick([*own, *self.shelf()], wanted, "model")

    def rename(self, model: ModelView | str, name: str) -> ModelView:
        return parse(ModelView, self._transport.request("PATCH", self._path(self._placed(model)), json={"name": name}))

    def move(self, model: ModelView | str, to: ProjectView) -> ModelView:
        """Put it with the job that trained it into another project; out of a workspace only as an owner of it."""
        target = {"workspace_id": to.workspace_id, "project_id": to.id}
        path = f"{self._path(self._placed(model))}/move"
        return parse(ModelView, self._transport.request("POST", path, json=target))

    def delete(self, model: ModelView | str) -> None:
        self._transport.request("DELETE", self._path(self._placed(model)))

    def predict(self, model: ModelView | str, image: bytes | str | os.PathLike[str], top: int = 5) -> Prediction:
        """What the model says about one picture (the file at a path, or its bytes): its `top` best classes.

        A model given by its name is looked up each time; for many pictures give what `find` returned.
        """
        data = image if isinstance(image, bytes) else _read_picture(Path(image))
        answer = self._transport.request(
            "POST",
            f"{self._path(self._placed(model))}/predict",
            content=data,
            headers={"Content-Type": "application/octet-stream"},
            params={"top": top} if isinstance(image, bytes) else {"top": top, "name": Path(image).name},
            retries=_PREDICT_RETRIES,  # asking again changes nothing
            timeout=PREDICT_TIMEOUT_SECONDS,
        )
        return parse(Prediction, answer)

    def load(self, model: ModelView | str) -> None:
        """Have the model loaded; returns at once. Its first answer is then as fast as the next ones."""
        self._transport.request("POST", f"{self._path(self._placed(model))}/load")

    def download(
        self,
        model: ModelView | str,
        path: str | os.PathLike[str] = ".",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Path:
        """Save the model's archive (safetensors, ONNX, classes, transform, card) and return where.

        `path` is a folder, where it is called after the model, or the file itself. The file appears when it
        is whole. `progress` is called with `download`, the bytes done and the bytes in all (0: unknown).
        """
        view = self._placed(model)
        target = Path(path).expanduser()
        if target.is_dir():
            target = target / f"{_file_name(view.name) or view.id}.zip"
        with self._transport.stream("GET", f"{self._path(view)}/archive", timeout=PREDICT_TIMEOUT_SECONDS) as answer:
            total_bytes = int(answer.headers.get("content-length", 0))
            done_bytes = 0
            with _whole_file(target) as file:
                for chunk in answer.iter_bytes(CHUNK_BYTES):
                    done_bytes += file.write(chunk)
                    if progress:
                        progress("download", done_bytes, total_bytes)
        return target

    def _placed(self, model: ModelView | str) -> ModelView:
        """A name or an id alone does not say whether the model is ours or on the shelf."""
        return self.find(model) if isinstance(model, str) else model

    def _path(self, model: ModelView) -> str:
        return f"{self._place.path(model)}/models/{id_of(model)}"


def _read_picture(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise InvalidInput(f"The picture {str(path)!r} cannot be read: {error.strerror}.") from error


def _file_name(name: str) -> str:
    """A model's name as a file's: letters of any script, digits, and nothing that a file system minds."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:80]


@contextmanager
def _whole_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write that gets its name only when the block ended well."""
    part = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex[:8]}.part")
    try:
        file = part.open("xb")
    except OSError as error:
        raise InvalidInput(f"{str(target)!r} cannot be written: {error.strerror}.") from error
    try:
        with file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
