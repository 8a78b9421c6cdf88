"""What an import must know of a picture: proof that it decodes, its hash, its size and a thumbnail.

Runs inside the limited children of `limited`; nothing here trusts the bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from trainshed.pictures.decode import Limits, Picture
from trainshed.pictures.transform import fitted

THUMBNAIL_SIDE = 256
THUMBNAIL_MAX_BYTES = 64 << 10
_SHOWN_BY_BROWSERS = {"jpeg", "png", "webp"}


@dataclass(frozen=True)
class Inspection:
    """A picture that has been decoded whole. Width and height are EXIF-oriented pixels.

    `thumbnail` is a JPEG of at most 256 px a side; `None`: the file is small enough to be its own thumbnail.
    """

    sha256: str
    format: str
    width: int
    height: int
    thumbnail: bytes | None


def inspect(data: bytes, name: str = "", *, limits: Limits | None = None) -> Inspection:
    """Decode a picture for proof, hash it, make its thumbnail. Raises `PictureRefused`.

    A JPEG is decoded scaled down: every coded bit is read and checked all the same, in half the time.
    """
    picture = Picture(data, name=name, limits=limits)
    size = fitted(picture.width, picture.height, min(THUMBNAIL_SIDE, max(picture.width, picture.height)))
    image = picture.pixels(size)
    return Inspection(
        sha256=hashlib.sha256(data).hexdigest(),
        format=picture.format,
        width=picture.width,
        height=picture.height,
        thumbnail=None if _is_its_own_thumbnail(picture) else _thumbnail(image, size),
    )


def _is_its_own_thumbnail(picture: Picture) -> bool:
    return (
        picture.format in _SHOWN_BY_BROWSERS
        and max(picture.width, picture.height) <= THUMBNAIL_SIDE
        and len(picture.data) <= THUMBNAIL_MAX_BYTES
        and picture.orientation == 1
    )


def _thumbnail(image: Image.Image, size: tuple[int, int]) -> bytes:
    small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = BytesIO()
    small.save(out, "JPEG", quality=80)
    return out.getvalue()
