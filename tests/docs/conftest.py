"""A running service, and the pictures that the pages speak of."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from journeys.service import running

_CLASSES = {0: "daisy", 1: "rose", 2: "tulip"}
_PICTURES_OF_A_CLASS = 20


@dataclass(frozen=True)
class Reader:
    """Somebody who follows the pages: signed in, in a folder with pictures."""

    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="package")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    write_pictures(folder / "flowers")
    shutil.copy(folder / "flowers" / "rose" / "0.jpg", folder / "rose.jpg")
    (folder / "flowers" / "rose" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    shutil.make_archive(str(folder / "flowers"), "zip", folder, "flowers")
    with running() as service:
        service.wait_for_shelf()
        service.client.jobs.wait(service.client.datasets.import_folder(folder / "flowers").job, must_succeed=True)
        yield Reader(
            folder,
            {
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "TRAINSHED_URL": service.url,
                "TRAINSHED_TOKEN": service.client.transport.token,
            },
        )


def write_pictures(folder: Path) -> None:
    """Digits that stand for flowers: small, and easy to tell apart."""
    digits = load_digits()
    for label, name in _CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:_PICTURES_OF_A_CLASS]):
            grey = Image.fromarray((image * (255 / 16)).astype(np.uint8))
            grey.resize((48, 48)).convert("RGB").save(folder / name / f"{number}.jpg")
