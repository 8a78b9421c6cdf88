from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from trainshed.errors import PictureRefused
from trainshed.pictures.decode import Limits, Picture, decode, sniff

from .material import (
    BLUE,
    GREEN,
    LIMITS,
    ORIENTATION_TAG,
    RED,
    YELLOW,
    encode,
    gif_with_huge_frame,
    jpeg_of_many_scans,
    photo,
    png,
    png_chunk,
    png_with_header_only,
    quarters,
)

# In production `decode` silences them itself; pytest undoes that.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 95}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 95}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "ppm": ("PPM", {}),
    "heic": ("HEIF", {"quality": 95}),
    "avif": ("AVIF", {"quality": 95}),
}
EXACT = {"png", "gif", "bmp", "tiff", "ppm"}
HAVE_EXIF = ("jpeg", "png", "webp", "tiff", "heic", "avif")


def corners(rows: np.ndarray) -> list[tuple[int, ...]]:
    """The colours of the four quarters, from the top left, row by row."""
    height, width = rows.shape[:2]
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [tuple(int(value) for value in rows[place]) for place in places]


def assert_near(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], most: int = 10) -> None:
    assert np.abs(np.array(found) - np.array(expected)).max() <= most, (found, expected)


def refusal(data: bytes, name: str = "cat.jpg", limits: Limits = LIMITS) -> str:
    with pytest.raises(PictureRefused) as caught:
        decode(data, name=name, limits=limits)
    return caught.value.message


@pytest.mark.parametrize("format", FORMATS)
def test_every_allowed_format_is_known_by_its_bytes_and_decodes(format: str) -> None:
    pillow_name, options = FORMATS[format]
    data = encode(quarters(), pillow_name, **options)
    rows = decode(data, name="no-such-ending", limits=LIMITS)
    assert sniff(data) == format
    assert rows.shape == (32, 48, 3) and rows.dtype == np.uint8 and rows.flags.writeable
    assert_near(corners(rows), [RED, GREEN, BLUE, YELLOW], most=0 if format in EXACT else 10)


@pytest.mark.parametrize("format", HAVE_EXIF)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    pillow_name, options = FORMATS[format]
    options = {"compression": "raw"} if format == "tiff" and orientation % 2 else options
    data = encode(quarters(), pillow_name, orientation=orientation, **options)
    tagged = quarters()
    tagged.getexif()[ORIENTATION_TAG] = orientation
    expected = np.asarray(ImageOps.exif_transpose(tagged))
    picture = Picture(data, limits=LIMITS)
    rows = np.asarray(picture.pixels())
    assert (picture.height, picture.width) == rows.shape[:2] == expected.shape[:2]
    assert_near(corners(rows), corners(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_a_jpeg_scaled_while_decoding(orientation: int) -> None:
    data = encode(quarters(480, 320), "JPEG", orientation=orientation)
    whole, scaled = decode(data, limits=LIMITS), decode(data, min_side=100, limits=LIMITS)
    assert (scaled.shape[0] * 2, scaled.shape[1] * 2) == whole.shape[:2]
    assert_near(corners(scaled), corners(whole))


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((400, 300), 38, (75, 100)),
        ((400, 300), 37, (38, 50)),
        ((400, 300), 75, (75, 100)),
        ((400, 300), 76, (150, 200)),
        ((401, 299), 151, (299, 401)),
        ((31, 33), 224, (33, 31)),
        ((7, 9), 1, (3, 2)),
    ],
)
def test_a_scaled_jpeg_is_never_smaller_than_needed(
    size: tuple[int, int], min_side: int, expected: tuple[int, int]
) -> None:
    rows = decode(encode(photo(*size), "JPEG"), min_side=min_side, limits=LIMITS)
    assert rows.shape[:2] == expected
    assert min(rows.shape[:2]) >= min(min_side, *size)


@pytest.mark.parametrize(("orientation", "expected"), [(1, (200, 50)), (6, (25, 100))])
def test_what_a_scaled_jpeg_needs_is_meant_as_oriented(orientation: int, expected: tuple[int, int]) -> None:
    data = encode(photo(400, 100), "JPEG", orientation=orientation)
    needed = (120, 30) if orientation == 1 else (25, 100)
    assert Picture(data, limits=LIMITS).pixels(needed).size == expected


def test_decoding_is_deterministic() -> None:
    data = encode(photo(640, 480), "JPEG")
    one, other = (decode(data, min_side=100, limits=LIMITS) for _ in range(2))
    assert np.array_equal(one, other)


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    rows = decode(encode(quarters().convert("CMYK"), "JPEG", quality=95), limits=LIMITS)
    assert_near(corners(rows), [RED, GREEN, BLUE, YELLOW], most=14)
    progressive = encode(quarters(480, 320).convert("CMYK"), "JPEG", quality=95, progressive=True)
    assert_near(corners(decode(progressive, min_side=64, limits=LIMITS)), [RED, GREEN, BLUE, YELLOW], most=14)


def test_a_grey_jpeg_becomes_rgb() -> None:
    rows = decode(encode(Image.new("L", (20, 10), 77), "JPEG"), limits=LIMITS)
    assert rows.shape == (10, 20, 3) and np.abs(rows.astype(int) - 77).max() <= 1


def test_sixteen_bit_grey_loses_its_low_byte() -> None:
    values = np.array([[0, 255, 256, 32768, 65279, 65535]], np.uint16)
    expected = [0, 0, 1, 128, 254, 255]
    for format in ("PNG", "TIFF"):
        rows = decode(encode(Image.fromarray(values), format), limits=LIMITS)
        assert rows[0, :, 0].tolist() == expected and np.ptp(rows, axis=2).max() == 0


def test_sixteen_bit_colour_and_netpbm_agree_with_sixteen_bit_grey() -> None:
    color = png(2, 1, depth=16, color=2, rows=b"\0" + struct.pack(">6H", 0, 32768, 65535, 256, 255, 65279))
    assert decode(color, limits=LIMITS)[0].tolist() == [[0, 128, 255], [1, 0, 254]]
    grey = b"P5\n3 1\n65535\n" + struct.pack(">3H", 255, 32768, 65535)
    assert decode(grey, limits=LIMITS)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    grey = Image.new("RGBA", (3, 1), (100, 100, 100, 255))
    grey.putpixel((1, 0), (100, 100, 100, 0))
    if mode == "RGBA":
        grey.putpixel((2, 0), (100, 100, 100, 128))
        data, expected = encode(grey, "PNG"), [100, 255, 177]
    elif mode == "LA":
        grey.putpixel((2, 0), (100, 100, 100, 128))
        data, expected = encode(grey.convert("LA"), "PNG"), [100, 255, 177]
    else:
        indexed = Image.new("P", (3, 1), 0)
        indexed.putpalette([100, 100, 100, 9, 9, 9, 50, 50, 50])
        indexed.putdata([0, 1, 2])
        transparency = bytes([255, 0, 255]) if mode == "PA" else 1
        data, expected = encode(indexed, "PNG", transparency=transparency), [100, 255, 50]
    rows = decode(data, limits=LIMITS)
    assert rows[0, :, 0].tolist() == expected and np.ptp(rows, axis=2).max() == 0


def test_one_bit_and_colour_key_pictures_are_decoded() -> None:
    bits = png(8, 1, depth=1, rows=b"\0\xa5")
    assert decode(bits, limits=LIMITS)[0, :, 0].tolist() == [255, 0, 255, 0, 0, 255, 0, 255]
    keyed = encode(Image.new("RGB", (2, 2), RED), "PNG", transparency=RED)
    assert decode(keyed, limits=LIMITS)[0, 0].tolist() == [255, 255, 255]


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE)]
    for format in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert decode(data, limits=LIMITS)[4, 4].tolist() == list(RED)


def test_a_plain_text_netpbm_is_taken_when_small_only() -> None:
    assert decode(b"P2\n2 1\n255\n0 255\n", limits=LIMITS)[0, :, 0].tolist() == [0, 255]
    assert "rare variant of PPM" in refusal(b"P3\n1000 1000\n255\n" + b"12 " * 3_000_000)


def test_broken_metadata_does_not_cost_the_picture() -> None:
    junk = b"MM\0*\0\0\0\x08\0\x05" + struct.pack(">2HII", 0x112, 3, 1, 6 << 16) + b"\xff" * 40
    clean = encode(quarters(), "JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(junk) + 8) + b"Exif\0\0" + junk
    rows = decode(clean[:2] + segment + clean[2:], limits=LIMITS)
    assert rows.shape == (48, 32, 3)
    assert_near(corners(rows), [BLUE, RED, YELLOW, GREEN])


@pytest.mark.parametrize("junk", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(30)])
def test_unreadable_exif_means_upright(junk: bytes) -> None:
    clean = encode(quarters(), "PNG")
    data = clean[:33] + png_chunk(b"eXIf", junk) + clean[33:]
    assert Picture(data, limits=LIMITS).orientation == 1


def test_bytes_behind_the_picture_are_allowed() -> None:
    """Phones append films and second pictures."""
    data = encode(quarters(), "JPEG", quality=95) + b"\x00\x02" + b"\xff\xda\x00\x02" * 500
    assert_near(corners(decode(data, limits=LIMITS)), [RED, GREEN, BLUE, YELLOW])


def test_a_text_file_called_jpg_is_refused_in_words() -> None:
    message = refusal(b"Katzen sind keine Hunde.\n")
    assert message == (
        "Image 'cat.jpg' is a text file; its content must be one of JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, "
        "HEIC and AVIF, whatever its name."
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing, which is never taken"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x --><svg/>", "SVG drawing"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "is a video or sound file"),
        (b"\x7fELF\x02\x01\x01\0\0", "is not a picture"),
        (b"BMW is a maker of cars", "is a text file"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_refused(format: str) -> None:
    pillow_name, options = FORMATS[format]
    data = encode(photo(96, 80), pillow_name, **options)
    for length in (len(data) // 2, len(data) * 9 // 10, 20):
        assert "broken or cut off" in refusal(data[:length])


def test_a_truncated_jpeg_is_refused_when_scaled_and_when_progressive() -> None:
    for progressive in (False, True):
        data = encode(photo(640, 480), "JPEG", progressive=progressive)
        with pytest.raises(PictureRefused, match=r"cut off"):
            decode(data[: len(data) // 2], min_side=64, limits=LIMITS)


def test_too_many_pixels_are_refused_with_a_message_to_act_on() -> None:
    tiff = encode(Image.new("1", (14000, 9000)), "TIFF", compression="group4")
    assert refusal(tiff, name="cat.tiff") == (
        "Image 'cat.tiff' is 14000 x 9000 px; at most 50 megapixels are allowed. "
        "Resize it, or raise TRAINSHED_MAX_IMAGE_PIXELS."
    )


def test_the_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_MAX_IMAGE_PIXELS", "1000")
    with pytest.raises(PictureRefused, match=r"48 x 32 px; at most 1,000 pixels are allowed"):
        decode(encode(quarters(), "PNG"))
    monkeypatch.setenv("TRAINSHED_MAX_IMAGE_PIXELS", "200000000")
    monkeypatch.setenv("TRAINSHED_MAX_IMAGE_BYTES", "50")
    with pytest.raises(PictureRefused, match=r"at most 50 are allowed.*TRAINSHED_MAX_IMAGE_BYTES"):
        decode(encode(quarters(), "PNG"))


def test_a_raised_pixel_limit_is_obeyed_above_pillows_own() -> None:
    data = png(16_000, 12_000, depth=1)
    assert Picture(data, limits=Limits(200_000_000, 1 << 30)).width == 16_000
    assert "16000 x 12000 px; at most 190 megapixels" in refusal(data, limits=Limits(190_000_000, 1 << 30))


def test_a_png_bomb_is_refused_by_its_header() -> None:
    assert "50000 x 50000 px" in refusal(png_with_header_only(50_000, 50_000))


def test_a_genuine_png_bomb_of_three_gigapixels_is_refused_before_it_unpacks() -> None:
    data = png(60_000, 50_000, depth=1)
    assert len(data) < 2_000_000
    assert "60000 x 50000 px" in refusal(data)


def test_a_png_that_holds_more_than_its_header_says_unpacks_no_further() -> None:
    rows = decode(png(8, 8, rows=bytes(50_000_000)), limits=LIMITS)
    assert rows.shape == (8, 8, 3)


def test_a_gif_frame_larger_than_its_screen_is_refused() -> None:
    assert "gif" in refusal(gif_with_huge_frame()).lower()


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    assert "more than 100 scans" in refusal(jpeg_of_many_scans(1000))
    assert decode(jpeg_of_many_scans(20), limits=LIMITS).shape == (64, 64, 3)


def test_samples_without_a_known_white_are_refused() -> None:
    floats = encode(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    assert "black and white are not known" in refusal(floats)


@pytest.mark.parametrize("format", FORMATS)
def test_flipped_bits_give_a_picture_or_a_refusal_and_nothing_else(format: str) -> None:
    pillow_name, options = FORMATS[format]
    data = encode(photo(40, 30), pillow_name, **options)
    generator = np.random.default_rng(7)
    for _ in range(60):
        broken = bytearray(data)
        for place in generator.integers(0, len(data), 4):
            broken[place] ^= 1 << int(generator.integers(8))
        try:
            assert decode(bytes(broken), limits=Limits(1_000_000, 1 << 20)).shape[2] == 3
        except PictureRefused as refused:
            assert refused.message.startswith("The image ")
