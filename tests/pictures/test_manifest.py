from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from trainshed.errors import InvalidInput
from trainshed.pictures import manifest
from trainshed.schemas import ManifestRow

FIRST = ManifestRow(
    image_id="i1",
    sha256="a" * 64,
    name="猫/😺.png",
    width=3,
    height=2,
    class_id="k1",
    group="g",
    split="test",
)
SECOND = ManifestRow(image_id="i2", sha256="b" * 64, name="b.png", width=60000, height=1, class_id="k2")


def test_rows_come_back_as_they_were_written_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    for rows in ([SECOND, FIRST], []):
        manifest.write(path, rows)
        assert manifest.read(path) == rows


def test_the_digest_is_for_ever() -> None:
    """Versions and caches are named by it."""
    known = "334b957fd618c11312c32222ee995680b17536b92c63672c34a9ad41c096f68f"
    assert manifest.digest([FIRST, SECOND]) == known


def test_the_digest_ignores_order_names_and_image_ids() -> None:
    renamed = [FIRST.model_copy(update={"name": "x", "image_id": "y"}), SECOND]
    assert manifest.digest(renamed[::-1]) == manifest.digest([FIRST, SECOND])


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "c" * 64},
        {"width": 4},
        {"height": 4},
        {"split": "train"},
        {"class_id": "k2"},
        {"group": ""},
    ],
)
def test_the_digest_tells_every_change_of_content(change: dict[str, object]) -> None:
    changed = [FIRST.model_copy(update=change), SECOND]
    assert manifest.digest(changed) != manifest.digest([FIRST, SECOND])
    assert manifest.digest([FIRST, FIRST, SECOND]) != manifest.digest([FIRST, SECOND])


def test_a_hundred_thousand_rows_are_read_in_seconds(tmp_path: Path) -> None:
    hashes = [sha256(b"%d" % number).hexdigest() for number in range(20_000)]
    rows = [FIRST.model_copy(update={"sha256": each}) for each in hashes]
    manifest.write(tmp_path / "manifest.parquet", rows)
    begin = time.process_time()
    assert len(manifest.read(tmp_path / "manifest.parquet")) == 20_000
    assert time.process_time() - begin < 2  # 100,000 in less than 10


def test_a_file_that_is_no_manifest_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    path.write_bytes(b"hello")
    with pytest.raises(InvalidInput, match="is no Parquet file"):
        manifest.read(path)
    pyarrow.parquet.write_table(pyarrow.table({"image_id": ["a"]}), path)
    with pytest.raises(InvalidInput, match="is a manifest of version none; version 1 is read here"):
        manifest.read(path)
