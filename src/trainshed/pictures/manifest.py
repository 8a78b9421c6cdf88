"""The manifest of a dataset version: its rows as a Parquet file, and the digest that names their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainshed.errors import InvalidInput
from trainshed.schemas.pictures import ManifestRow

if TYPE_CHECKING:
    import pyarrow

SCHEMA_VERSION = "1"
_VERSION_KEY = b"trainshed.manifest"
_COLUMNS = tuple(ManifestRow.model_fields)
_REPEATED = ["class_id", "group", "split"]


def write(path: Path | str, rows: Sequence[ManifestRow]) -> None:
    """Write the rows, in their order, as Parquet."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    parquet.write_table(arrow.table(columns, schema=_schema()), path, compression="zstd", use_dictionary=_REPEATED)


def read(path: Path | str) -> list[ManifestRow]:
    """The rows in their order. Raises `InvalidInput` if the file is no manifest of this version."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except arrow.ArrowInvalid as error:
        raise InvalidInput(f"'{path}' is no Parquet file ({error}). Make the dataset version again.") from None
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    if version != SCHEMA_VERSION or not table.schema.equals(_schema()):
        raise InvalidInput(
            f"'{path}' is a manifest of version {version}; version {SCHEMA_VERSION} is read here. "
            "Update Trainshed on this machine, or make the dataset version again."
        )
    columns = [table.column(name).to_pylist() for name in _COLUMNS]
    return [ManifestRow(**dict(zip(_COLUMNS, values, strict=True))) for values in zip(*columns, strict=True)]


def digest(rows: Sequence[ManifestRow]) -> str:
    """SHA-256, in hex, of what the rows say about pictures: hash, oriented size, split, class and group.

    Neither the order of rows nor names and ids of images count: the same content gives the same digest
    everywhere.
    """
    lines = sorted(json.dumps([row.sha256, row.width, row.height, row.split, row.class_id, row.group]) for row in rows)
    return hashlib.sha256("\n".join([f"trainshed manifest {SCHEMA_VERSION}", *lines]).encode()).hexdigest()


def _schema() -> pyarrow.Schema:
    import pyarrow as arrow

    kinds = {"width": arrow.int32(), "height": arrow.int32()}
    fields = [arrow.field(name, kinds.get(name, arrow.string()), nullable=False) for name in _COLUMNS]
    return arrow.schema(fields, metadata={_VERSION_KEY: SCHEMA_VERSION})
