"""What the tests of vision share: a shelf of originals, a story, and one cache folder for the traced graphs."""

from __future__ import annotations

import os
from pathlib import Path

from trainshed.vision.environment import training_environment

os.environ.update(training_environment())  # OpenMP reads it when torch is imported

import pytest
import torch

from trainshed.vision.story import SilentStory

from .material import Shelf


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    """The same arithmetic on every machine that runs the tests."""
    torch.set_num_threads(2)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "originals"
    folder.mkdir()
    return Shelf(folder)


@pytest.fixture
def story(tmp_path: Path) -> SilentStory:
    folder = tmp_path / "work"
    folder.mkdir()
    return SilentStory(folder)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")
