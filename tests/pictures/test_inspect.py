from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from trainshed.errors import PictureRefused
from trainshed.pictures.inspect import inspect

from .material import BLUE, LIMITS, RED, encode, photo, quarters


def opened(thumbnail: bytes | None) -> Image.Image:
    assert thumbnail is not None
    return Image.open(BytesIO(thumbnail))


def test_an_inspection_tells_hash_format_oriented_size_and_thumbnail() -> None:
    data = encode(quarters(1200, 800), "JPEG", orientation=6)
    found = inspect(data, "cat.jpg", limits=LIMITS)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.format, found.width, found.height) == ("jpeg", 800, 1200)
    thumbnail = opened(found.thumbnail).convert("RGB")
    assert (thumbnail.format, thumbnail.size) == (None, (171, 256))
    corners = np.asarray(thumbnail)[[8, 8], [8, -8]].astype(int)
    assert np.abs(corners - [BLUE, RED]).max() < 12


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_small_picture_is_its_own_thumbnail(format: str) -> None:
    assert inspect(encode(quarters(256, 200), format), limits=LIMITS).thumbnail is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (encode(photo(257, 20), "PNG"), "too wide"),
        (encode(photo(256, 256), "PNG"), "more than 64 KiB"),
        (encode(photo(60, 40), "JPEG", orientation=6), "needs turning"),
        (encode(quarters(), "GIF"), "moves"),
        (encode(quarters(), "BMP"), "browsers"),
        (encode(quarters(), "TIFF"), "browsers"),
    ],
)
def test_others_get_a_small_jpeg(data: bytes, why: str) -> None:
    found = inspect(data, limits=LIMITS)
    thumbnail = opened(found.thumbnail)
    assert thumbnail.format == "JPEG", why
    assert max(thumbnail.size) <= 256 and max(thumbnail.size) == min(256, max(found.width, found.height))
    assert len(found.thumbnail or b"") < 64 << 10


def test_a_thumbnail_of_a_sliver_keeps_one_pixel() -> None:
    assert opened(inspect(encode(photo(3000, 2), "PNG"), limits=LIMITS).thumbnail).size == (256, 1)


def test_damage_behind_the_header_is_found_even_where_the_file_is_its_own_thumbnail() -> None:
    for format in ("JPEG", "PNG", "WEBP"):
        data = encode(photo(200, 200), format, quality=60)
        with pytest.raises(PictureRefused, match=r"'x' begins like .* but is broken or cut off"):
            inspect(data[: len(data) * 2 // 3], "x", limits=LIMITS)


def test_damage_in_the_last_part_of_a_large_jpeg_is_found_though_it_is_decoded_small() -> None:
    for progressive in (False, True):
        data = encode(photo(2000, 1500), "JPEG", progressive=progressive)
        with pytest.raises(PictureRefused, match=r"cut off"):
            inspect(data[: len(data) - 3000], "x", limits=LIMITS)
