"""Pictures and archives made for the tests, good and hostile; the hostile ones byte by byte."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from trainshed.pictures.decode import Limits

LIMITS = Limits(max_pixels=50_000_000, max_bytes=100 << 20)
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 40), (20, 40, 210), (230, 220, 20)
ORIENTATION_TAG = 274


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Red | green over blue | yellow: no turn or mirror image of it is itself."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth blots with some grain: codes about like a photograph."""
    generator = np.random.default_rng(seed)
    blots = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(blots.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + generator.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, format: str, *, orientation: int | None = None, **options: Any) -> bytes:
    if format == "HEIF":
        pillow_heif.register_heif_opener(thumbnails=False)
    if orientation is not None:
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        options["exif"] = exif.tobytes() if format != "TIFF" else exif
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, depth: int = 8, color: int = 0, rows: bytes | None = None) -> bytes:
    """A PNG with any header; without `rows`, of as many zero bytes as the header promises."""
    if rows is None:
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        row_bytes = 1 + (width * depth * samples + 7) // 8
        packer = zlib.compressobj(1)
        zeros = bytes(row_bytes)
        packed = b"".join(packer.compress(zeros) for _ in range(height)) + packer.flush()
    else:
        packed = zlib.compress(rows)
    header = struct.pack(">2I5B", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def png_with_header_only(width: int, height: int) -> bytes:
    """A few bytes that claim any size."""
    return png(width, height, color=2, rows=b"\0")


def gif_with_huge_frame() -> bytes:
    """A screen of 10 x 10 with a first frame of 60,000 x 60,000 (3.6 gigapixels)."""
    screen = b"GIF89a" + struct.pack("<2H3B", 10, 10, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<4HB", 0, 0, 60_000, 60_000, 0)
    return screen + frame + b"\x02\x02\x4c\x01\x00;"


def jpeg_of_many_scans(num_scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encode(photo(64, 64), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * num_scans + b"\xff\xd9"


def zip_of(*entries: RawEntry, comment: bytes = b"") -> bytes:
    """A zip file in which every entry may lie."""
    body, directory = b"", b""
    for entry in entries:
        position = len(body)
        body += entry.local()
        directory += entry.central(position)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(directory), len(body), len(comment))
    return body + directory + end + comment


class RawEntry:
    """One zip entry, told as one likes."""

    def __init__(
        self,
        name: str | bytes,
        content: bytes = b"x",
        *,
        claimed_bytes: int | None = None,
        flags: int = 0,
        method: int = 8,
        mode: int = 0,
        checksum: int | None = None,
        extra: bytes = b"",
        packed: bytes | None = None,
    ) -> None:
        self.name = name if isinstance(name, bytes) else name.encode()
        self.extra = extra
        if packed is None:
            packed = content if method != 8 else zlib.compress(content, 9, wbits=-15)
        self.packed = packed
        self.flags = flags
        self.method = method
        self.attributes = mode << 16
        self.checksum = zlib.crc32(content) if checksum is None else checksum
        self.size_bytes = len(content) if claimed_bytes is None else claimed_bytes

    def _shared(self) -> bytes:
        return struct.pack(
            "<5H3L2H", 20, self.flags, self.method, 0, 0, self.checksum, len(self.packed), self.size_bytes,
            len(self.name), len(self.extra),
        )  # fmt: skip

    def local(self) -> bytes:
        return b"PK\3\4" + self._shared() + self.name + self.extra + self.packed

    def central(self, position: int) -> bytes:
        made_by = struct.pack("<H", 3 << 8 | 20)
        tail = struct.pack("<3H2L", 0, 0, 0, self.attributes, position)
        return b"PK\1\2" + made_by + self._shared() + tail + self.name + self.extra


def zeros_deflated(num_mebibytes: int) -> tuple[bytes, int]:
    """(deflated zeros, their CRC), made without holding them: after a full flush a block can be repeated."""
    zeros = bytes(1 << 20)
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(num_mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    return block * num_mebibytes + packer.flush(), checksum


def bomb(name: str, num_bytes: int, *, claimed_bytes: int | None = None) -> RawEntry:
    packed, checksum = zeros_deflated(num_bytes >> 20)
    claimed_bytes = num_bytes if claimed_bytes is None else claimed_bytes
    return RawEntry(name, claimed_bytes=claimed_bytes, packed=packed, checksum=checksum)
