"""The one decoder: bytes in, an EXIF-oriented RGB picture out, refused in words where that is not possible.

Formats are allowed by their first bytes, never by name; SVG never. The header's size is checked before
anything is decoded. Colour profiles are ignored, in training as in serving. Resizing is in `transform`,
isolation in `limited`.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import NoReturn

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL import __version__ as _pillow_version

from trainshed.errors import PictureRefused

WHITE = (255, 255, 255)
_VERSION = 1  # raise it when the same bytes decode to other pixels: caches are keyed by it

# format -> (Pillow's name of it, the module that brings it)
_PLUGINS = {
    "jpeg": ("JPEG", "PIL.JpegImagePlugin"),
    "png": ("PNG", "PIL.PngImagePlugin"),
    "webp": ("WEBP", "PIL.WebPImagePlugin"),
    "gif": ("GIF", "PIL.GifImagePlugin"),
    "bmp": ("BMP", "PIL.BmpImagePlugin"),
    "tiff": ("TIFF", "PIL.TiffImagePlugin"),
    "ppm": ("PPM", "PIL.PpmImagePlugin"),
    "heic": ("HEIF", "pillow_heif"),
    "avif": ("AVIF", "PIL.AvifImagePlugin"),
}
FORMATS = tuple(_PLUGINS)
_FORMATS_IN_WORDS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, HEIC and AVIF"
_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
_BMP_HEADER_BYTES = {12, 40, 52, 56, 64, 108, 124}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

# Pillow decodes these in Python, byte by byte: small files only, or one request could keep a core for
# minutes.
_SLOW_DECODERS = {"ppm", "ppm_plain", "bmp_rle"}
_MAX_SLOW_BYTES = 4 << 20
# A progressive JPEG of a few kilobytes can hold thousands of empty scans, each a pass over every pixel.
_MAX_JPEG_SCANS = 100
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")

# What the decoders raise on files that lie. Anything else is a fault of ours and must be seen.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, AttributeError,
    AssertionError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Broken metadata around a sound picture is no news; a picture that outgrows its header's promise is.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Limits:
    """The largest picture that is taken."""

    max_pixels: int
    max_bytes: int

    @classmethod
    def of_settings(cls) -> Limits:
        """The limits that this machine's settings name."""
        from trainshed.schemas import settings  # here: it costs a decoding child a quarter of a second

        return cls(
            max_pixels=settings.whole("TRAINSHED_MAX_IMAGE_PIXELS"),
            max_bytes=settings.whole("TRAINSHED_MAX_IMAGE_BYTES"),
        )


def decoder_version() -> str:
    """Names the decoders: the same bytes give the same pixels as long as this stays the same."""
    return f"{_VERSION}-pillow{_pillow_version}-simplejpeg{simplejpeg.__version__}"


def decode(
    data: bytes, *, min_side: int | None = None, name: str = "", limits: Limits | None = None
) -> NDArray[np.uint8]:
    """Decode a picture to EXIF-oriented RGB, uint8 `(height, width, 3)`.

    Transparency is laid over white; 16-bit samples lose their low byte; of an animation the first frame is
    taken. With `min_side`, a JPEG may come back scaled down by 2, 4 or 8, no side smaller than `min_side`
    (unless the picture itself is smaller). Raises `PictureRefused`.
    """
    picture = Picture(data, name=name, limits=limits)
    return np.array(picture.pixels((min_side, min_side) if min_side else None))


def sniff(data: bytes) -> str | None:
    """The picture format that the first bytes tell, one of `FORMATS`; `None` for anything else."""
    for magic, format in _MAGIC:
        if data.startswith(magic):
            return format
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "ppm"
    if data[4:8] == b"ftyp":
        return _sniff_brands(data)
    return None


def _sniff_brands(data: bytes) -> str | None:
    """HEIC or AVIF by the brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None


class Picture:
    """A picture whose header has been read and found within the limits; `pixels` decodes it.

    `format` is one of `FORMATS`, `width` and `height` are EXIF-oriented pixels, `orientation` is EXIF's 1..8.
    """

    def __init__(self, data: bytes, *, name: str = "", limits: Limits | None = None) -> None:
        """Read the header. Raises `PictureRefused`."""
        self.label = f"Image '{name}'" if name else "The image"
        self.data = data
        self.limits = limits or Limits.of_settings()
        self._refuse_size_bytes()
        self.format = sniff(data) or self._refuse_format()
        self._image = self._open()
        self.orientation = _orientation(self._image)
        self.width, self.height = self._image.size
        # Pillow tells a TIFF's size as oriented, all others' as stored.
        if self.orientation >= 5 and self.format != "tiff":
            self.width, self.height = self.height, self.width
        self._refuse_size_pixels()
        self._refuse_slow()

    def pixels(self, needed: tuple[int, int] | None = None) -> Image.Image:
        """Decode, to the last byte, to an oriented RGB image. Raises `PictureRefused`.

        With `needed`, an oriented `(width, height)`, a JPEG may be scaled down as far as neither side falls
        below.
        """
        try:
            if self.format == "jpeg" and (scaled := self._decode_jpeg(needed)):
                return self._turn(scaled)
            self._image.load()
            # A TIFF has been turned while it was loaded.
            return _to_rgb(self._image) if self.format == "tiff" else self._turn(_to_rgb(self._image))
        except MemoryError:
            raise PictureRefused(
                f"{self.label} needs more memory to decode than allowed.",
                hint="Save it as JPEG or PNG, or smaller.",
            ) from None
        except _Unsupported as error:
            raise PictureRefused(f"{self.label} {error}", hint="Save it as JPEG or PNG.") from None
        except DECODER_ERRORS as error:
            self._refuse_broken(error)

    def _decode_jpeg(self, needed: tuple[int, int] | None) -> Image.Image | None:
        """The stored picture by libjpeg-turbo, scaled inside its DCT; `None`: odd, left to Pillow."""
        width, height = self._image.size
        factor = 1
        if needed:
            if self.orientation >= 5:
                needed = needed[1], needed[0]
            # Only powers of two: the other scales that the library offers are slower than the next larger
            # one.
            factor = max(k for k in (1, 2, 4, 8) if k == 1 or (width >= needed[0] * k and height >= needed[1] * k))
        try:
            rows = simplejpeg.decode_jpeg(self.data, min_height=-(-height // factor), min_width=-(-width // factor))
        except ValueError:  # anything that libjpeg warns of: Pillow decides
            return None
        return Image.fromarray(rows)

    def _turn(self, image: Image.Image) -> Image.Image:
        return image.transpose(_TURNS[self.orientation]) if self.orientation > 1 else image

    def _open(self) -> ImageFile.ImageFile:
        pillow_name, module = _PLUGINS[self.format]
        plugin = import_module(module)
        # One thread for each: callers decode several pictures at once, and threads cost a limited child its
        # memory.
        if self.format == "heic":  # without its own thumbnail, which may show another picture than the file
            plugin.register_heif_opener(thumbnails=False, decode_threads=1)
        if self.format == "avif":
            plugin.DEFAULT_MAX_THREADS = 1  # type: ignore[attr-defined]
        # Pillow's own check comes on top of ours, for frames that outgrow the header's size.
        Image.MAX_IMAGE_PIXELS = self.limits.max_pixels
        try:
            return Image.OPEN[pillow_name][0](BytesIO(self.data), "")
        except DECODER_ERRORS as error:
            self._refuse_broken(error)

    def _refuse_size_bytes(self) -> None:
        if not self.data:
            raise PictureRefused(f"{self.label} is empty (0 bytes).", hint="Was its upload or copy cut off?")
        if len(self.data) > self.limits.max_bytes:
            raise PictureRefused(
                f"{self.label} has {len(self.data):,} bytes; at most {self.limits.max_bytes:,} are allowed. "
                "Save it smaller, or raise TRAINSHED_MAX_IMAGE_BYTES."
            )

    def _refuse_size_pixels(self) -> None:
        if self.width * self.height > self.limits.max_pixels:
            raise PictureRefused(
                f"{self.label} is {self.width} x {self.height} px; at most "
                f"{_in_megapixels(self.limits.max_pixels)} are allowed. "
                "Resize it, or raise TRAINSHED_MAX_IMAGE_PIXELS."
            )
        if self.width < 1 or self.height < 1:
            raise PictureRefused(f"{self.label} is {self.width} x {self.height} px: it has no pixels.")

    def _refuse_slow(self) -> None:
        if self.format == "jpeg" and _has_too_many_scans(self.data):
            raise PictureRefused(
                f"{self.label} is a JPEG of more than {_MAX_JPEG_SCANS} scans. Save it as an ordinary JPEG."
            )
        slow = any(tile[0] in _SLOW_DECODERS for tile in self._image.tile)
        if slow and len(self.data) > _MAX_SLOW_BYTES:
            raise PictureRefused(
                f"{self.label} is written in a rare variant of {self.format.upper()} of which at most "
                f"{_MAX_SLOW_BYTES >> 20} MiB are taken. Save it as PNG."
            )

    def _refuse_format(self) -> NoReturn:
        raise PictureRefused(
            f"{self.label} {_in_words(self.data)}; its content must be one of {_FORMATS_IN_WORDS}, whatever its name.",
            hint="Save it as JPEG or PNG.",
        )

    def _refuse_broken(self, error: Exception) -> NoReturn:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise PictureRefused(
            f"{self.label} begins like {self.format.upper()} but is broken or cut off ({reason[:200]}).",
            hint="Open and save it again in a picture program, or copy it again from its source.",
        ) from None


class _Unsupported(Exception):
    """The end of a sentence that begins with the picture's name."""


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode that the allowed formats can have, to RGB; transparency over white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG")):
        # The low byte goes, as Pillow does with 16-bit colour: white is 65,535 in both.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise _Unsupported(f"has samples of a kind ({image.mode}) whose black and white are not known.")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        over_white = Image.new("RGB", image.size, WHITE)
        over_white.paste(image, mask=image.getchannel("A"))
        return over_white
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1..8; 1 where there is none or it cannot be read.

    Read here and not by Pillow, which gives up on the whole table when another tag is broken.
    """
    if image.format == "TIFF":
        value = image.tag_v2.get(274, 1)  # type: ignore[attr-defined]
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    exif = image.info.get("exif")
    return _orientation_in(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else 1


def _orientation_in(exif: bytes) -> int:
    """Tag 274 of the first directory of a TIFF structure (EXIF 2.32, 4.6.4)."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    start = struct.unpack(order + "I", exif[4:8])[0]
    num_tags = struct.unpack(order + "H", exif[start : start + 2].rjust(2, b"\0"))[0]
    for at in range(start + 2, min(start + 2 + 12 * num_tags, len(exif) - 11), 12):
        tag, kind, count, value = struct.unpack(order + "HHIH", exif[at : at + 10])
        if tag == 274:
            return value if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    return 1


def _has_too_many_scans(data: bytes) -> bool:
    # The bytes of a scan's marker may stand in metadata too: count quickly first, walk the segments only if
    # many.
    if data.count(b"\xff\xda") <= _MAX_JPEG_SCANS:
        return False
    position, num_scans = 2, 0
    while (match := _JPEG_MARKER.search(data, position)) and num_scans <= _MAX_JPEG_SCANS:
        marker, end = data[match.end() - 1], match.end()
        if marker == 0xD9:
            break
        num_scans += marker == 0xDA
        position = end + int.from_bytes(data[end : end + 2], "big")
    return num_scans > _MAX_JPEG_SCANS


def _in_megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:g} megapixels" if pixels >= 1e6 else f"{pixels:,} pixels"


def _in_words(data: bytes) -> str:
    """What a file that is no picture seems to be."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<svg") or (head.startswith((b"<?xml", b"<!doctype svg")) and b"<svg" in head):
        return "is an SVG drawing, which is never taken"
    if head.startswith(b"%pdf"):
        return "is a PDF document"
    if head.startswith((b"<!doctype html", b"<html")):
        return "is a web page"
    if data[4:8] == b"ftyp":
        return "is a video or sound file"
    is_text = all(byte >= 32 or byte in b"\t\r\n\f" for byte in data[:1024])
    return "is a text file" if is_text else "is not a picture"
