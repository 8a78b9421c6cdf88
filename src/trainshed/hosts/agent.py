"""The loop that keeps the server told about this machine. How a reading travels is the caller's `send`."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from trainshed.errors import TrainshedError
from trainshed.hosts import readings
from trainshed.schemas import HostReading

LONGEST_PAUSE_SECONDS = 30.0
_log = logging.getLogger("trainshed.hosts.agent")


def run(
    send: Callable[[HostReading], None],
    every_seconds: float = 5.0,
    stop: threading.Event | None = None,
    nvml: Any = None,
) -> None:
    """Read this machine and `send` the reading, every `every_seconds`, until `stop` is set.

    Never raises: a failure is logged, and the next try waits longer, up to half a minute, so that a server
    that comes back is not met by every agent at once.
    """
    stop = stop or threading.Event()
    nvml = nvml or readings.installed_nvml()
    failures = 0
    with ExitStack() as held:
        while not stop.is_set():
            try:
                reading = readings.read(nvml)
                _hold_driver(held, nvml, reading)
                send(reading)
                failures = 0
            except Exception as error:  # the loop must not die
                failures += 1
                _log_failure(error, failures)
            stop.wait(pause_seconds(every_seconds, failures))


def pause_seconds(every_seconds: float, failures: int) -> float:
    """How long to wait after so many failures in a row: doubled each time, spread by up to a quarter."""
    if not failures:
        return every_seconds
    longest = max(LONGEST_PAUSE_SECONDS, every_seconds)
    doubled = min(every_seconds * 2.0 ** min(failures, 16), longest)
    return doubled * random.uniform(0.75, 1.0)


def _hold_driver(held: ExitStack, nvml: Any, reading: HostReading) -> None:
    """Keep a healthy driver open between readings; let a sick one go, so that the next starts afresh."""
    with held.pop_all():  # the former hold ends after the new one began, so the count never touches 0
        if reading.gpu_state == "ok" and not any(gpu.fault for gpu in reading.gpus):
            held.enter_context(readings.driver_open(nvml))


def _log_failure(error: Exception, failures: int) -> None:
    """The first of a row in full, the others in one line; our own errors never need a traceback."""
    is_news = failures == 1 and not isinstance(error, TrainshedError)
    traceback = error if is_news else None
    _log.warning("reading not delivered (%d in a row): %s", failures, error, exc_info=traceback)
