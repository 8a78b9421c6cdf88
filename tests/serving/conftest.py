"""Fixtures of the model server's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .material import archive_of, colour_network, convolution_network
from .processes import Process, Web


@pytest.fixture
def web() -> Iterator[Web]:
    """A fresh web with the models `colour` and `convolution`."""
    web = Web()
    web.add("colour", archive_of(colour_network()))
    web.add("convolution", archive_of(convolution_network()))
    with web.serving():
        yield web


@pytest.fixture
def start(web: Web, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts model servers with settings, and ends them after the test."""
    with ExitStack() as closing:

        def start(*options: str, port: int = 0, **environment: str) -> Process:
            process = Process(web.url, tmp_path, *options, port=port, **environment)
            closing.callback(process.close)
            process.wait_until_ready()
            return process

        yield start
