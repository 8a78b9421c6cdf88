"""One JSON object per line over a pipe: how a guard and its child, and an executor and a guard, speak."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any


class LineWriter:
    """Writes whole lines, from any thread. A reader that has gone is not an error: it no longer needs to know."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def write(self, message: dict[str, Any]) -> None:
        data = memoryview(json.dumps(message, ensure_ascii=False).encode() + b"\n")
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                return


def read_lines(descriptor: int) -> Iterator[dict[str, Any]]:
    """Messages until the other side closes; a torn last line (its writer was killed) is dropped.

    JSON has no word for a float that is no number (a loss may become one): it arrives as `None`.
    """
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line, parse_constant=lambda _: None)
