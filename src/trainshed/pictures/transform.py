"""From a picture file to a network's input: the one decode and resize of training, evaluation and serving.

Normalisation is not here: it is part of the exported network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainshed.pictures.decode import Limits, Picture

if TYPE_CHECKING:  # not at run time: a decoding child does without pydantic
    from trainshed.schemas.pictures import Transform

GREY = (128, 128, 128)
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def load(data: bytes, transform: Transform, *, name: str = "", limits: Limits | None = None) -> NDArray[np.uint8]:
    """Decode and resize a picture to uint8 RGB, `(size, size, 3)`. Raises `PictureRefused`.

    `squash` stretches to the square, `crop` cuts out the middle square, `fill` keeps all and pads with grey.
    The filter is antialiased and computed in whole numbers, so that the same bytes give the same pixels
    everywhere.
    """
    picture = Picture(data, name=name, limits=limits)
    return np.array(_RESIZE[transform.resize](picture, transform.size, _FILTERS[transform.interpolation]))


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """The size of a picture shrunk or grown so that its longer side is `side`; no side becomes 0."""
    longest = max(width, height)
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


def _squash(picture: Picture, size: int, filter: Image.Resampling) -> Image.Image:
    return picture.pixels((size, size)).resize((size, size), filter)


def _crop(picture: Picture, size: int, filter: Image.Resampling) -> Image.Image:
    image = picture.pixels((size, size))
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), filter, box=(left, top, left + side, top + side))


def _fill(picture: Picture, size: int, filter: Image.Resampling) -> Image.Image:
    inner = fitted(picture.width, picture.height, size)
    square = Image.new("RGB", (size, size), GREY)
    square.paste(picture.pixels(inner).resize(inner, filter), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square


_RESIZE: dict[str, Callable[[Picture, int, Image.Resampling], Image.Image]] = {
    "squash": _squash,
    "crop": _crop,
    "fill": _fill,
}
