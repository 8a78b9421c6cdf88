from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from trainshed import pictures
from trainshed.errors import PictureRefused
from trainshed.pictures.decode import decode
from trainshed.pictures.transform import GREY
from trainshed.schemas import Transform

from .material import BLUE, GREEN, LIMITS, RED, YELLOW, encode, photo, quarters

MODES = ("squash", "crop", "fill")


def stripes() -> Image.Image:
    """60 x 20: a red, a green and a blue square side by side."""
    image = Image.new("RGB", (60, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    image.paste(BLUE, (40, 0, 60, 20))
    return image


def test_squash_shows_all_of_the_picture_stretched() -> None:
    rows = pictures.load(encode(stripes(), "PNG"), Transform(size=30, resize="squash"))
    assert [tuple(rows[15, x]) for x in (4, 15, 25)] == [RED, GREEN, BLUE]


def test_crop_cuts_out_the_middle_square() -> None:
    rows = pictures.load(encode(stripes(), "PNG"), Transform(size=30, resize="crop"))
    assert (rows[:, 2:-2] == GREEN).all()
    tall = encode(stripes().transpose(Image.Transpose.ROTATE_90), "PNG")
    assert (pictures.load(tall, Transform(size=10, resize="crop"))[2:-2] == GREEN).all()


def test_fill_shows_all_of_the_picture_and_pads_with_grey() -> None:
    rows = pictures.load(encode(stripes(), "PNG"), Transform(size=30, resize="fill"))
    assert (rows[:10] == GREY).all() and (rows[20:] == GREY).all()
    assert [tuple(rows[15, x]) for x in (4, 15, 25)] == [RED, GREEN, BLUE]


def test_a_picture_of_the_right_size_is_not_changed() -> None:
    image = photo(24, 24)
    for mode in MODES:
        rows = pictures.load(encode(image, "PNG"), Transform(size=24, resize=mode))
        assert np.array_equal(rows, np.asarray(image))


def test_shrinking_is_antialiased() -> None:
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    data = encode(Image.fromarray(checks.astype(np.uint8)), "PNG")
    for interpolation in ("bilinear", "bicubic"):
        rows = pictures.load(data, Transform(size=8, interpolation=interpolation))
        assert np.abs(rows.astype(int) - 127.5).max() < 12


def test_bilinear_and_bicubic_differ() -> None:
    data = encode(photo(50, 40), "PNG")
    bilinear = pictures.load(data, Transform(size=32, interpolation="bilinear"))
    bicubic = pictures.load(data, Transform(size=32, interpolation="bicubic"))
    assert not np.array_equal(bilinear, bicubic)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1000, 30), (1, 500), (3, 3)])
def test_every_shape_gives_the_square(mode: str, size: tuple[int, int]) -> None:
    rows = pictures.load(encode(photo(*size), "JPEG"), Transform(size=56, resize=mode))
    assert rows.shape == (56, 56, 3) and rows.dtype == np.uint8
    assert rows.flags.writeable and rows.flags.c_contiguous


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_jpeg_scaled_while_decoding_is_near_the_whole_picture(mode: str, orientation: int) -> None:
    image = photo(480, 320, seed=3)
    jpeg = encode(image, "JPEG", quality=95, orientation=orientation)
    whole = encode(Image.fromarray(decode(jpeg, limits=LIMITS)), "PNG")
    transform = Transform(size=40, resize=mode)
    difference = pictures.load(jpeg, transform).astype(int) - pictures.load(whole, transform)
    assert np.abs(difference).max() <= 12


def test_orientation_is_applied_before_the_crop() -> None:
    data = encode(quarters(400, 100), "JPEG", orientation=6, quality=95)
    rows = pictures.load(data, Transform(size=64, resize="fill"))
    assert rows[4, 28].tolist() == pytest.approx(BLUE, abs=12)
    assert rows[4, 35].tolist() == pytest.approx(RED, abs=12)
    assert rows[60, 28].tolist() == pytest.approx(YELLOW, abs=12)


def test_another_process_loads_the_same_pixels() -> None:
    """Training, evaluation and serving are processes of their own and must see the same."""
    script = (
        "import hashlib, sys; from trainshed import pictures; from trainshed.schemas import Transform;"
        "rows = pictures.load(sys.stdin.buffer.read(), Transform(size=64));"
        "print(hashlib.sha256(rows.tobytes()).hexdigest())"
    )
    data = encode(photo(800, 600), "JPEG")
    there = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True).stdout
    here = hashlib.sha256(pictures.load(data, Transform(size=64)).tobytes()).hexdigest()
    assert there.decode().strip() == here


def test_a_bad_picture_is_refused_by_name() -> None:
    with pytest.raises(PictureRefused, match=r"Image 'a.png' is a text file"):
        pictures.load(b"hello", Transform(size=8), name="a.png")


def test_importing_the_room_is_quick_and_brings_neither_torch_nor_django() -> None:
    script = (
        "import sys, time; begin = time.process_time(); import trainshed.pictures as p;"
        "seconds = time.process_time() - begin; [getattr(p, name) for name in p.__all__];"
        "print(seconds, any(name in sys.modules for name in ('torch', 'django', 'trainshed.server')))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    seconds, heavy = run.stdout.split()
    assert float(seconds) < 0.3 and heavy == "False"
